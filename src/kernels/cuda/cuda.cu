/* The table of the CUDA backend, and the plug-in's one exported function. */
#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"

extern "C" {
#include "kernels/cuda/host.h"
}

/* The rows of cuDNN's convolutions are not here: whether they serve a call is decided separately
 * (choose.cuh). */
CUDA_KERNELS_OF(conv2d, &ddpm_cuda_conv2d_wgmma, &ddpm_cuda_conv2d_mma, &ddpm_cuda_conv2d_simt);
CUDA_KERNELS_OF(conv2d_backward_data, &ddpm_cuda_conv2d_backward_data_wgmma,
                &ddpm_cuda_conv2d_backward_data_mma, &ddpm_cuda_conv2d_backward_data_simt);
CUDA_KERNELS_OF(conv2d_backward_weight, &ddpm_cuda_conv2d_backward_weight_wgmma,
                &ddpm_cuda_conv2d_backward_weight_mma, &ddpm_cuda_conv2d_backward_weight_simt);
CUDA_KERNELS_OF(depthwise_conv2d, &ddpm_cuda_depthwise7, &ddpm_cuda_depthwise);
CUDA_KERNELS_OF(depthwise_conv2d_backward_data, &ddpm_cuda_depthwise7_backward_data,
                &ddpm_cuda_depthwise_backward_data);
CUDA_KERNELS_OF(depthwise_conv2d_backward_weight, &ddpm_cuda_depthwise7_backward_weight,
                &ddpm_cuda_depthwise_backward_weight);

/* In the order of enum ddpm_op, which is made from the same list. */
static const struct ddpm_kernel *const *const rows[DDPM_OP_COUNT] = {
#define OP(id, name, ...) ddpm_cuda_kernels_of_##name,
#include "kernels/ops.inc"
#undef OP
};

bool ddpm_cuda_is_convolution(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D || op == DDPM_OP_CONV2D_BACKWARD_DATA ||
           op == DDPM_OP_CONV2D_BACKWARD_WEIGHT;
}

const struct ddpm_kernel *ddpm_cuda_own_row(const struct ddpm_call *call)
{
    for (const struct ddpm_kernel *const *row = rows[call->op]; *row; ++row)
        if (!(*row)->supports || (*row)->supports(call))
            return *row;
    return NULL;
}

static const struct ddpm_kernel *find_kernel(struct ddpm_device *device,
                                             const struct ddpm_call *call)
{
    const struct ddpm_kernel *row = ddpm_cuda_own_row(call);
    return row && ddpm_cuda_is_convolution(call->op)
               ? ddpm_cuda_choose((struct ddpm_cuda_device *)device, call, row)
               : row;
}

static void expect_calls(struct ddpm_device *device, const struct ddpm_call *calls, size_t count)
{
    ddpm_cuda_choose_all((struct ddpm_cuda_device *)device, calls, count);
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
    table.expect_calls = expect_calls;
    table.record_begin = ddpm_cuda_record_begin;
    table.record_end = ddpm_cuda_record_end;
    table.replay = ddpm_cuda_replay;
    table.release_recording = ddpm_cuda_release_recording;
    table.aside_begin = ddpm_cuda_aside_begin;
    table.aside_end = ddpm_cuda_aside_end;
    table.aside_join = ddpm_cuda_aside_join;
    table.queue = ddpm_cuda_queue;
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
