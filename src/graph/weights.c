/* Weight sets: memory, versions, single parameters. */
#include "graph/weights.h"

#include <stdlib.h>

#include "core/memory.h"

size_t ddpm_weight_set_bytes(const struct ddpm_weight_set *set)
{
    return (size_t)set->parameters.slab_count * ddpm_dtype_size(set->dtype);
}

size_t ddpm_weight_set_copies_bytes(const struct ddpm_weight_set *set)
{
    return set->keeps_copies ? (size_t)set->parameters.slab_count * ddpm_dtype_size(DDPM_BF16) : 0;
}

ddpm_status ddpm_weight_set_allocate(struct ddpm_weight_set *set, struct ddpm_device *device,
                                     int averages)
{
    set->device = device;
    set->slab_count = 1 + averages;
    for (int i = 0; i < set->slab_count; ++i)
        DDPM_TRY(device->backend->allocate(device, ddpm_weight_set_bytes(set), "weights",
                                           &set->slabs[i]));
    return DDPM_OK;
}

static void free_gradients(struct ddpm_weight_set *set)
{
    set->device->backend->release(set->device, set->gradients);
    set->device->backend->release(set->device, set->copies);
    set->gradients = set->copies = NULL;
    set->copies_version = 0;
}

ddpm_status ddpm_weight_set_acquire_gradients(struct ddpm_weight_set *set)
{
    struct ddpm_device *device = set->device;
    if (set->optimizers++ > 0)
        return DDPM_OK;
    ddpm_status status =
        device->backend->allocate(device, ddpm_weight_set_bytes(set), "gradients", &set->gradients);
    if (status == DDPM_OK && set->keeps_copies)
        status = device->backend->allocate(device, ddpm_weight_set_copies_bytes(set),
                                           "weights in bf16", &set->copies);
    if (status != DDPM_OK)
        ddpm_weight_set_release_gradients(set);
    return status;
}

void ddpm_weight_set_release_gradients(struct ddpm_weight_set *set)
{
    if (set->optimizers > 0 && --set->optimizers == 0)
        free_gradients(set);
}

void ddpm_weight_set_release(struct ddpm_weight_set *set)
{
    if (set->device)
        free_gradients(set);
    set->optimizers = 0;
    for (int i = 0; set->device && i < set->slab_count; ++i) {
        set->device->backend->release(set->device, set->slabs[i]);
        set->slabs[i] = NULL;
    }
    set->device = NULL;
}

void ddpm_weight_set_clear(struct ddpm_weight_set *set)
{
    ddpm_weight_set_release(set);
    ddpm_parameters_clear(&set->parameters);
    *set = DDPM_EMPTY_WEIGHT_SET;
}

ddpm_status ddpm_weight_set_initialize(struct ddpm_weight_set *set, uint64_t seed)
{
    const struct ddpm_backend *backend = set->device->backend;
    const size_t bytes = ddpm_weight_set_bytes(set);
    void *host = NULL;
    if (!backend->host_memory)
        DDPM_TRY(ddpm_new_aligned(&host, bytes, "initial weights"));
    float *first = host ? host : set->slabs[0];
    ddpm_parameters_initialize(&set->parameters, seed, first);
    ddpm_status status = DDPM_OK;
    for (int i = host ? 0 : 1; i < set->slab_count && status == DDPM_OK; ++i)
        status = backend->upload(set->device, set->slabs[i], first, bytes);
    ddpm_free_aligned(host);
    ddpm_weight_set_changed(set);
    return status;
}

void ddpm_weight_set_changed(struct ddpm_weight_set *set)
{
    ++set->version;
}

void ddpm_weight_set_updated(struct ddpm_weight_set *set)
{
    set->copies_version = ++set->version;
}

static ddpm_status find(const struct ddpm_weight_set *set, const char *name, size_t count,
                        struct ddpm_parameter *out)
{
    const size_t index = ddpm_parameters_find(&set->parameters, name);
    if (index == set->parameters.count)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the network has no parameter %s", name);
    *out = set->parameters.items[index];
    if ((int64_t)count != ddpm_parameter_count(out))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "parameter %s: got %zu values, want %lld", name,
                          count, (long long)ddpm_parameter_count(out));
    return DDPM_OK;
}

ddpm_status ddpm_weight_set_read(const struct ddpm_weight_set *set, const void *slab,
                                 const char *name, float *values, size_t count)
{
    struct ddpm_parameter parameter;
    float *place; /* the parameter in the slab */
    DDPM_TRY(find(set, name, count, &parameter));
    DDPM_TRY(ddpm_new_array((void **)&place, count, sizeof *place, "a parameter"));
    const float *from = (const float *)slab + parameter.offset;
    ddpm_status status =
        set->device->backend->download(set->device, place, from, count * sizeof *place);
    parameter.offset = 0;
    if (status == DDPM_OK)
        ddpm_parameter_from_slab(&parameter, place, values);
    free(place);
    return status;
}

ddpm_status ddpm_weight_set_write(struct ddpm_weight_set *set, void *slab, const char *name,
                                  const float *values, size_t count)
{
    struct ddpm_parameter parameter;
    float *place;
    DDPM_TRY(find(set, name, count, &parameter));
    DDPM_TRY(ddpm_new_array((void **)&place, count, sizeof *place, "a parameter"));
    float *to = (float *)slab + parameter.offset;
    parameter.offset = 0;
    ddpm_parameter_to_slab(&parameter, values, place);
    ddpm_status status =
        set->device->backend->upload(set->device, to, place, count * sizeof *place);
    free(place);
    ddpm_weight_set_changed(set);
    return status;
}
