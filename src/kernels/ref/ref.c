/* The reference backend: one row for every operation, plain host memory, no preparation. */
#include "kernels/ref/ref.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/processors.h"
#include "kernels/host_memory.h"

static const struct ddpm_kernel kernels[DDPM_OP_COUNT] = {
#define OP(id, op, ...) [DDPM_OP_##id] = {.name = #op "_ref", .run = ddpm_ref_##op},
#include "kernels/ops.inc"
#undef OP
};

static ddpm_status ref_open(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    DDPM_TRY(DDPM_NEW(out, "the reference device"));
    struct ddpm_device *device = *out;
    device->backend = &ddpm_backend_ref;
    device->threads = options->threads > 0 ? options->threads : ddpm_processor_count();
    device->direct = true;
    snprintf(device->description, sizeof device->description, "reference kernels, %d thread%s",
             device->threads, device->threads == 1 ? "" : "s");
    return DDPM_OK;
}

static void ref_close(struct ddpm_device *device)
{
    free(device);
}

static const struct ddpm_kernel *ref_find_kernel(struct ddpm_device *device,
                                                 const struct ddpm_call *call)
{
    (void)device;
    return &kernels[call->op];
}

const struct ddpm_backend ddpm_backend_ref = {
    .name = "ref",
    .open = ref_open,
    .close = ref_close,
    DDPM_HOST_MEMORY_ROWS,
    .find_kernel = ref_find_kernel,
};
