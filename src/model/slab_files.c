/* Slabs in safetensors files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "model/model.h"
#include "model/wrapped_names.h"

#define NAME_BYTES 256

/* What the producer of one tensor needs. */
struct piece {
    const struct ddpm_parameter *parameter;
    const float *slab;
    char name[NAME_BYTES];
};

static ddpm_status produce(void *context, const struct ddpm_safetensors_entry *entry,
                           struct ddpm_file *file)
{
    const struct piece *piece = context;
    (void)entry;
    size_t count = (size_t)ddpm_parameter_count(piece->parameter);
    float *dense;
    DDPM_TRY(ddpm_new_array((void **)&dense, count, sizeof *dense, "a tensor to write"));
    ddpm_parameter_from_slab(piece->parameter, piece->slab, dense);
    ddpm_status status = ddpm_file_write(file, dense, count * sizeof *dense);
    free(dense);
    return status;
}

ddpm_status ddpm_slabs_write(const struct ddpm_parameters *parameters,
                             const struct ddpm_named_slab *slabs, size_t count, const char *path,
                             const struct ddpm_safetensors_text *metadata, size_t metadata_count)
{
    const size_t total = count * parameters->count;
    struct ddpm_safetensors_entry *entries = NULL;
    struct piece *pieces = NULL;
    ddpm_status status =
        ddpm_new_array((void **)&entries, total, sizeof *entries, "a file's index");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&pieces, total, sizeof *pieces, "a file's index");
    for (size_t i = 0; status == DDPM_OK && i < total; ++i) {
        const struct ddpm_named_slab *slab = &slabs[i / parameters->count];
        const struct ddpm_parameter *p = &parameters->items[i % parameters->count];
        pieces[i].parameter = p;
        pieces[i].slab = slab->slab;
        snprintf(pieces[i].name, NAME_BYTES, "%s%s", slab->prefix, p->name);
        entries[i] = (struct ddpm_safetensors_entry){.name = pieces[i].name,
                                                     .dtype = DDPM_SAFETENSORS_F32,
                                                     .rank = p->rank,
                                                     .produce = produce,
                                                     .context = &pieces[i]};
        memcpy(entries[i].shape, p->shape, sizeof p->shape);
    }
    if (status == DDPM_OK)
        status = ddpm_safetensors_write(path, entries, total, metadata, metadata_count);
    free(entries);
    free(pieces);
    return status;
}

static void format_shape(int rank, const int64_t *shape, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < rank && used < bytes; ++i)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i ? "," : "",
                                 (long long)shape[i]);
    if (used < bytes)
        snprintf(text + used, bytes - used, "]");
}

static ddpm_status check_tensor(const struct ddpm_parameter *p,
                                const struct ddpm_safetensors_tensor *tensor, const char *path,
                                const char *name)
{
    if (!tensor)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: tensor %s is missing; the file is for another network", path, name);
    bool same = tensor->rank == p->rank;
    for (int i = 0; same && i < p->rank; ++i)
        same = tensor->shape[i] == p->shape[i];
    if (same)
        return DDPM_OK;
    char got[96], want[96];
    format_shape(tensor->rank, tensor->shape, got, sizeof got);
    format_shape(p->rank, p->shape, want, sizeof want);
    return ddpm_raise(DDPM_ERROR_MISMATCH, "%s: tensor %s: got shape %s, want %s", path, name, got,
                      want);
}

static ddpm_status read_one(const struct ddpm_parameter *p, const struct ddpm_safetensors *file,
                            const char *path, const struct ddpm_naming *naming, float *slab)
{
    char name[2 * NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", naming->prefix, p->name);
    const struct ddpm_safetensors_tensor *tensor = ddpm_naming_tensor(naming, file, p->name);
    DDPM_TRY(check_tensor(p, tensor, path, name));
    int64_t count = ddpm_parameter_count(p);
    float *dense;
    DDPM_TRY(ddpm_new_array((void **)&dense, (size_t)count, sizeof *dense, "a tensor to read"));
    ddpm_status status = ddpm_safetensors_read_f32(tensor, dense, count);
    for (int64_t i = 0; status == DDPM_OK && i < count; ++i)
        if (!isfinite(dense[i]))
            status = ddpm_raise(DDPM_ERROR_NOT_FINITE,
                                "%s: tensor %s holds a value that is not finite", path, name);
    if (status == DDPM_OK)
        ddpm_parameter_to_slab(p, dense, slab);
    free(dense);
    ddpm_safetensors_forget(file, tensor);
    return status;
}

/* Every expected tensor is present, so if the count differs there is an unexpected one: name the
 * first. */
static ddpm_status refuse_strangers(const struct ddpm_parameters *parameters,
                                    const struct ddpm_naming *namings, size_t count,
                                    const struct ddpm_safetensors *file, const char *path)
{
    const char *prefix = namings[0].prefix;
    for (size_t i = 0; i < ddpm_safetensors_count(file); ++i) {
        const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_at(file, i);
        const char *name = tensor->name;
        bool known = *prefix && ddpm_naming_is_counter(tensor);
        for (size_t k = 0; k < count && !known; ++k)
            known = ddpm_naming_knows(&namings[k], parameters, name);
        if (!known && count == 1 && *prefix && strncmp(name, prefix, strlen(prefix)) != 0)
            return ddpm_raise(DDPM_ERROR_MISMATCH,
                              "%s: tensor %s lacks the prefix %s of the network's tensors; want a "
                              "file that holds these alone",
                              path, name, prefix);
        if (!known)
            return ddpm_raise(
                DDPM_ERROR_MISMATCH,
                "%s: tensor %s does not belong to this network; is this the right configuration?",
                path, name);
    }
    return DDPM_OK;
}

/* A file with only weights may come from another program; one with several slabs is ours. */
static ddpm_status choose_namings(const struct ddpm_parameters *parameters,
                                  const struct ddpm_named_target *targets, size_t count,
                                  const struct ddpm_safetensors *file, const char *path,
                                  struct ddpm_naming *out)
{
    if (count == 1 && !*targets[0].prefix)
        return ddpm_naming_find(parameters, file, path, out);
    for (size_t k = 0; k < count; ++k)
        snprintf(out[k].prefix, sizeof out[k].prefix, "%s", targets[k].prefix);
    return DDPM_OK;
}

ddpm_status ddpm_slabs_read(const struct ddpm_parameters *parameters,
                            const struct ddpm_named_target *targets, size_t count, const char *path)
{
    struct ddpm_safetensors *file;
    struct ddpm_naming *namings;
    DDPM_TRY(ddpm_new_array((void **)&namings, count, sizeof *namings, "names of tensors"));
    ddpm_status status = ddpm_safetensors_open(&file, path);
    if (status == DDPM_OK)
        status = choose_namings(parameters, targets, count, file, path, namings);
    for (size_t k = 0; k < count; ++k)
        for (size_t i = 0; status == DDPM_OK && i < parameters->count; ++i)
            status = read_one(&parameters->items[i], file, path, &namings[k], targets[k].slab);
    if (status == DDPM_OK && ddpm_safetensors_count(file) != count * parameters->count)
        status = refuse_strangers(parameters, namings, count, file, path);
    ddpm_safetensors_close(&file);
    free(namings);
    return status;
}

static ddpm_status compare_one(const struct ddpm_parameter *p, const struct ddpm_safetensors *file,
                               const char *path, const struct ddpm_named_slab *slab)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", slab->prefix, p->name);
    const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_find(file, name);
    DDPM_TRY(check_tensor(p, tensor, path, name));
    size_t count = (size_t)ddpm_parameter_count(p);
    float *dense;
    DDPM_TRY(ddpm_new_array((void **)&dense, count, sizeof *dense, "a tensor to compare"));
    ddpm_parameter_from_slab(p, slab->slab, dense);
    bool same = memcmp(dense, tensor->data, count * sizeof *dense) == 0;
    free(dense);
    ddpm_safetensors_forget(file, tensor);
    return same ? DDPM_OK
                : ddpm_raise(DDPM_ERROR_IO, "%s: tensor %s does not read back as it was written",
                             path, name);
}

ddpm_status ddpm_slabs_compare(const struct ddpm_parameters *parameters,
                               const struct ddpm_named_slab *slabs, size_t count, const char *path)
{
    struct ddpm_safetensors *file;
    DDPM_TRY(ddpm_safetensors_open(&file, path));
    ddpm_status status = DDPM_OK;
    for (size_t k = 0; k < count; ++k)
        for (size_t i = 0; status == DDPM_OK && i < parameters->count; ++i)
            status = compare_one(&parameters->items[i], file, path, &slabs[k]);
    ddpm_safetensors_close(&file);
    return status;
}
