/* The reference backend: one row for every operation, plain host memory, no preparation. */
#include "kernels/ref/ref.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "kernels/host_memory.h"

#define ROW(id, function) [DDPM_OP_##id] = {.name = #function "_ref", .run = ddpm_ref_##function}

static const struct ddpm_kernel kernels[DDPM_OP_COUNT] = {
    ROW(CONV2D, conv2d),
    ROW(CONV2D_BACKWARD_DATA, conv2d_backward_data),
    ROW(CONV2D_BACKWARD_WEIGHT, conv2d_backward_weight),
    ROW(DEPTHWISE_CONV2D, depthwise_conv2d),
    ROW(DEPTHWISE_CONV2D_BACKWARD_DATA, depthwise_conv2d_backward_data),
    ROW(DEPTHWISE_CONV2D_BACKWARD_WEIGHT, depthwise_conv2d_backward_weight),
    ROW(GROUP_NORM, group_norm),
    ROW(GROUP_NORM_BACKWARD, group_norm_backward),
    ROW(ACTIVATION, activation),
    ROW(ACTIVATION_BACKWARD, activation_backward),
    ROW(ADD, add),
    ROW(ADD_CHANNELS, add_channels),
    ROW(SUM_PIXELS, sum_pixels),
    ROW(CONCAT, concat),
    ROW(UPSAMPLE, upsample),
    ROW(UPSAMPLE_BACKWARD, upsample_backward),
    ROW(SCALE_PIXELS, scale_pixels),
    ROW(SCALE_PIXELS_BACKWARD, scale_pixels_backward),
    ROW(TIMESTEP_EMBEDDING, timestep_embedding),
    ROW(NORMALIZE_PICTURES, normalize_pictures),
    ROW(DRAW_TIMESTEPS, draw_timesteps),
    [DDPM_OP_DRAW_NORMAL] = {.name = "draw_normal_ref",
                             .prepare = ddpm_ref_draw_normal_prepare,
                             .run = ddpm_ref_draw_normal},
    ROW(CONVERT, convert),
    ROW(Q_SAMPLE, q_sample),
    ROW(GATHER_ROWS, gather_rows),
    ROW(COMBINE, combine),
    ROW(LOSS, loss),
    ROW(LOSS_BACKWARD, loss_backward),
    ROW(REVERSE_STEP, reverse_step),
    ROW(GRADIENT_NORM, gradient_norm),
    ROW(ADAMW, adamw),
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
    const struct ddpm_kernel *kernel = &kernels[call->op];
    return kernel->run ? kernel : NULL;
}

const struct ddpm_backend ddpm_backend_ref = {
    .name = "ref",
    .help = "scalar C in double precision, slow: what the others are tested against",
    .open = ref_open,
    .close = ref_close,
    DDPM_HOST_MEMORY_ROWS,
    .find_kernel = ref_find_kernel,
};
