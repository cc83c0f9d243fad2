/* The table of the CUDA backend, and the plug-in's one exported function. */
#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"

extern "C" {
#include "kernels/cuda/host.h"
}

/* Rows of an operation are tried from top to bottom. The rows of cuDNN's convolutions are not here:
 * whether they serve a call is a choice of its own (choose.cuh). */
static const struct {
    enum ddpm_op op;
    const struct ddpm_kernel *kernel;
} rows[] = {
    {DDPM_OP_CONV2D, &ddpm_cuda_conv2d_mma},
    {DDPM_OP_CONV2D, &ddpm_cuda_conv2d_simt},
    {DDPM_OP_CONV2D_BACKWARD_DATA, &ddpm_cuda_conv2d_backward_data_mma},
    {DDPM_OP_CONV2D_BACKWARD_DATA, &ddpm_cuda_conv2d_backward_data_simt},
    {DDPM_OP_CONV2D_BACKWARD_WEIGHT, &ddpm_cuda_conv2d_backward_weight_mma},
    {DDPM_OP_CONV2D_BACKWARD_WEIGHT, &ddpm_cuda_conv2d_backward_weight_simt},
    {DDPM_OP_DEPTHWISE_CONV2D, &ddpm_cuda_depthwise7},
    {DDPM_OP_DEPTHWISE_CONV2D, &ddpm_cuda_depthwise},
    {DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA, &ddpm_cuda_depthwise7_backward_data},
    {DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA, &ddpm_cuda_depthwise_backward_data},
    {DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT, &ddpm_cuda_depthwise7_backward_weight},
    {DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT, &ddpm_cuda_depthwise_backward_weight},
    {DDPM_OP_GROUP_NORM, &ddpm_cuda_group_norm},
    {DDPM_OP_GROUP_NORM_BACKWARD, &ddpm_cuda_group_norm_backward},
    {DDPM_OP_ACTIVATION, &ddpm_cuda_activation},
    {DDPM_OP_ACTIVATION_BACKWARD, &ddpm_cuda_activation_backward},
    {DDPM_OP_ADD, &ddpm_cuda_add},
    {DDPM_OP_ADD_CHANNELS, &ddpm_cuda_add_channels},
    {DDPM_OP_SUM_PIXELS, &ddpm_cuda_sum_pixels},
    {DDPM_OP_CONCAT, &ddpm_cuda_concat},
    {DDPM_OP_UPSAMPLE, &ddpm_cuda_upsample},
    {DDPM_OP_UPSAMPLE_BACKWARD, &ddpm_cuda_upsample_backward},
    {DDPM_OP_SCALE_PIXELS, &ddpm_cuda_scale_pixels},
    {DDPM_OP_SCALE_PIXELS_BACKWARD, &ddpm_cuda_scale_pixels_backward},
    {DDPM_OP_TIMESTEP_EMBEDDING, &ddpm_cuda_timestep_embedding},
    {DDPM_OP_NORMALIZE_PICTURES, &ddpm_cuda_normalize_pictures},
    {DDPM_OP_DRAW_TIMESTEPS, &ddpm_cuda_draw_timesteps},
    {DDPM_OP_DRAW_NORMAL, &ddpm_cuda_draw_normal},
    {DDPM_OP_CONVERT, &ddpm_cuda_convert},
    {DDPM_OP_Q_SAMPLE, &ddpm_cuda_q_sample},
    {DDPM_OP_GATHER_ROWS, &ddpm_cuda_gather_rows},
    {DDPM_OP_COMBINE, &ddpm_cuda_combine},
    {DDPM_OP_LOSS, &ddpm_cuda_loss},
    {DDPM_OP_LOSS_BACKWARD, &ddpm_cuda_loss_backward},
    {DDPM_OP_REVERSE_STEP, &ddpm_cuda_reverse_step},
    {DDPM_OP_GRADIENT_NORM, &ddpm_cuda_gradient_norm},
    {DDPM_OP_ADAMW, &ddpm_cuda_adamw},
};

static const struct ddpm_kernel *find_kernel(struct ddpm_device *device,
                                             const struct ddpm_call *call)
{
    const bool convolution = call->op == DDPM_OP_CONV2D ||
                             call->op == DDPM_OP_CONV2D_BACKWARD_DATA ||
                             call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        const struct ddpm_kernel *kernel = rows[i].kernel;
        if (rows[i].op == call->op && (!kernel->supports || kernel->supports(call)))
            return convolution
                       ? ddpm_cuda_choose((struct ddpm_cuda_device *)device, call, kernel)
                       : kernel;
    }
    return NULL;
}

static const struct ddpm_backend *backend(void);

static ddpm_status open_device(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    DDPM_TRY(ddpm_cuda_open(options, out));
    (*out)->backend = backend();
    return DDPM_OK;
}

static struct ddpm_backend make_backend(void)
{
    struct ddpm_backend table = {};
    table.reads_bf16_weights = true;
    table.name = "cuda";
    table.help = "NVIDIA GPUs from compute capability 8.0";
    table.open = open_device;
    table.close = ddpm_cuda_close;
    table.allocate = ddpm_cuda_allocate;
    table.release = ddpm_cuda_release;
    table.available = ddpm_cuda_available;
    table.upload = ddpm_cuda_upload;
    table.download = ddpm_cuda_download;
    table.download_begin = ddpm_cuda_download_begin;
    table.download_end = ddpm_cuda_download_end;
    table.snapshot_begin = ddpm_cuda_snapshot_begin;
    table.snapshot_end = ddpm_cuda_snapshot_end;
    table.copy = ddpm_cuda_copy;
    table.zero = ddpm_cuda_zero;
    table.synchronize = ddpm_cuda_synchronize;
    table.find_kernel = find_kernel;
    table.record_begin = ddpm_cuda_record_begin;
    table.record_end = ddpm_cuda_record_end;
    table.replay = ddpm_cuda_replay;
    table.release_recording = ddpm_cuda_release_recording;
    table.allocate_host = ddpm_cuda_allocate_host;
    table.release_host = ddpm_cuda_release_host;
    return table;
}

static const struct ddpm_backend *backend(void)
{
    static const struct ddpm_backend table = make_backend();
    return &table;
}

extern "C" DDPM_API const struct ddpm_backend *ddpm_cuda_backend(unsigned abi,
                                                                 const struct ddpm_host *host)
{
    if (abi != DDPM_PLUGIN_ABI || !host)
        return NULL;
    ddpm_cuda_set_host(host);
    return backend();
}
