/* Writing safetensors files: first the header, which needs only the entries, then the values as a
 * stream. */
#include "formats/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/json.h"

/* An entry and its place among the values. */
struct placed {
    const struct ddpm_safetensors_entry *entry;
    int64_t begin;
    int64_t bytes;
};

static int compare_placed(const void *a, const void *b)
{
    const struct ddpm_safetensors_entry *left = ((const struct placed *)a)->entry;
    const struct ddpm_safetensors_entry *right = ((const struct placed *)b)->entry;
    if (left->dtype != right->dtype)
        return left->dtype > right->dtype ? -1 : 1;
    return strcmp(left->name, right->name);
}

static ddpm_status measure(struct placed *placed)
{
    const struct ddpm_safetensors_entry *entry = placed->entry;
    int64_t bytes = (int64_t)ddpm_safetensors_dtype_bytes(entry->dtype);
    if (!entry->name || !*entry->name || strcmp(entry->name, "__metadata__") == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got \"%s\" as the name of a tensor",
                          entry->name ? entry->name : "");
    if (entry->rank < 0 || entry->rank > DDPM_SAFETENSORS_MAX_RANK)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "tensor \"%s\": got rank %d, want 0 to %d",
                          entry->name, entry->rank, DDPM_SAFETENSORS_MAX_RANK);
    for (int i = 0; i < entry->rank; ++i)
        if (entry->shape[i] < 0 || __builtin_mul_overflow(bytes, entry->shape[i], &bytes))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "tensor \"%s\": got %" PRId64 " as dimension %d, want 0 or more and "
                              "less than 2^63 bytes in all",
                              entry->name, entry->shape[i], i);
    if (bytes && !entry->data && !entry->produce)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "tensor \"%s\": got no values", entry->name);
    placed->bytes = bytes;
    return DDPM_OK;
}

/* Sort the entries and give each its place. */
static ddpm_status place(struct placed *placed, const struct ddpm_safetensors_entry *entries,
                         size_t count)
{
    int64_t end = 0;
    for (size_t i = 0; i < count; ++i) {
        placed[i].entry = &entries[i];
        DDPM_TRY(measure(&placed[i]));
    }
    if (count)
        qsort(placed, count, sizeof *placed, compare_placed);
    for (size_t i = 0; i < count; ++i) {
        placed[i].begin = end;
        if (__builtin_add_overflow(end, placed[i].bytes, &end))
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "got more than 2^63 bytes of tensors");
    }
    return DDPM_OK;
}

/* Set a member that must not exist yet. Takes ownership of `value`. */
static ddpm_status set_new(json_t *object, const char *key, json_t *value, const char *what)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %s \"%s\" twice", what, key);
    }
    return ddpm_json_put(object, key, value);
}

static ddpm_status add_metadata(json_t *header, const struct ddpm_safetensors_text *metadata,
                                size_t count)
{
    bool has_format = false;
    json_t *object = json_object();
    DDPM_TRY(set_new(header, "__metadata__", object, "key"));
    for (size_t i = 0; i < count; ++i)
        has_format |= strcmp(metadata[i].key, "format") == 0;
    if (!has_format)
        DDPM_TRY(set_new(object, "format", json_string("pt"), "metadata"));
    for (size_t i = 0; i < count; ++i) {
        if (!ddpm_json_is_text(metadata[i].value))
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "metadata \"%s\": want valid UTF-8",
                              metadata[i].key);
        DDPM_TRY(set_new(object, metadata[i].key, json_string(metadata[i].value), "metadata"));
    }
    return DDPM_OK;
}

static ddpm_status add_tensor(json_t *header, const struct placed *placed)
{
    const struct ddpm_safetensors_entry *entry = placed->entry;
    json_t *shape = json_array();
    for (int i = 0; i < entry->rank; ++i)
        if (json_array_append_new(shape, json_integer(entry->shape[i])) != 0) {
            json_decref(shape);
            return ddpm_raise_memory(sizeof *entry, "a file's header");
        }
    json_t *info = json_pack(
        "{s:s, s:o, s:[I, I]}", "dtype", ddpm_safetensors_dtype_name(entry->dtype), "shape", shape,
        "data_offsets", (json_int_t)placed->begin, (json_int_t)(placed->begin + placed->bytes));
    if (!info)
        return ddpm_raise_memory(sizeof *entry, "a file's header");
    return set_new(header, entry->name, info, "tensor");
}

/* The JSON text of the header, without padding. Free with free(). */
static ddpm_status make_header(char **text, const struct placed *placed, size_t count,
                               const struct ddpm_safetensors_text *metadata, size_t metadata_count)
{
    ddpm_status status;
    *text = NULL;
    json_t *header = json_object();
    if (!header)
        return ddpm_raise_memory(sizeof *placed, "a file's header");
    DDPM_TRY_GOTO(done, add_metadata(header, metadata, metadata_count));
    for (size_t i = 0; i < count; ++i)
        DDPM_TRY_GOTO(done, add_tensor(header, &placed[i]));
    *text = json_dumps(header, JSON_COMPACT);
    if (!*text)
        status = ddpm_raise_memory(count * sizeof *placed, "a file's header");
done:
    json_decref(header);
    return status;
}

static ddpm_status write_header(struct ddpm_file *file, const char *text)
{
    static const char spaces[] = "       ";
    size_t length = strlen(text);
    size_t padding = (8 - length % 8) % 8;
    uint64_t stated = length + padding;
    if (stated > DDPM_SAFETENSORS_MAX_HEADER)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a header of %zu bytes, want at most %zu",
                          length, DDPM_SAFETENSORS_MAX_HEADER);
    DDPM_TRY(ddpm_file_write(file, &stated, sizeof stated));
    DDPM_TRY(ddpm_file_write(file, text, length));
    return ddpm_file_write(file, spaces, padding);
}

static ddpm_status write_values(struct ddpm_file *file, const struct placed *placed)
{
    const struct ddpm_safetensors_entry *entry = placed->entry;
    uint64_t before = ddpm_file_size(file);
    if (entry->data)
        return ddpm_file_write(file, entry->data, (size_t)placed->bytes);
    if (entry->produce)
        DDPM_TRY(entry->produce(entry->context, entry, file));
    if (ddpm_file_size(file) - before != (uint64_t)placed->bytes)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "tensor \"%s\": got %" PRIu64 " bytes written, want %" PRId64,
                          entry->name, ddpm_file_size(file) - before, placed->bytes);
    return DDPM_OK;
}

ddpm_status ddpm_safetensors_write(const char *path, const struct ddpm_safetensors_entry *entries,
                                   size_t count, const struct ddpm_safetensors_text *metadata,
                                   size_t metadata_count)
{
    struct ddpm_file *file = NULL;
    struct placed *placed;
    char *header = NULL;
    ddpm_status status;
    DDPM_TRY(ddpm_new_array((void **)&placed, count, sizeof *placed, "a file's tensors"));
    DDPM_TRY_GOTO(done, place(placed, entries, count));
    DDPM_TRY_GOTO(done, make_header(&header, placed, count, metadata, metadata_count));
    DDPM_TRY_GOTO(done, ddpm_file_create(&file, path));
    DDPM_TRY_GOTO(done, write_header(file, header));
    for (size_t i = 0; i < count; ++i)
        DDPM_TRY_GOTO(done, write_values(file, &placed[i]));
    status = ddpm_file_commit(&file);
done:
    ddpm_file_abandon(&file);
    free(header);
    free(placed);
    return status;
}
