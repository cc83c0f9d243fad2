/* The rows of cuDNN's convolutions: packing weights, running plans, and what plans leave out: the
 * bias if it is not fused, and dw += because cuDNN overwrites.
 *
 * A call's state is its plan (choose.cu), which the device owns. Plans are made before addresses
 * are known, for addresses that are multiples of 16. The memory plan aligns the tensors of these
 * rows that way, and slabs are aligned too; if a caller's tensors are not, the kernel without
 * tensor cores is used. */
#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/conv_cudnn.cuh"
#include "kernels/cuda/conv_weight.cuh"
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

/* Alignment of cuDNN's workspace: that of memory from cudaMalloc, which trials use. The memory plan
 * guarantees less for scratch. */
#define WORKSPACE_ALIGNMENT ((size_t)256)

static const struct ddpm_tensor *x_of(const struct ddpm_call *call)
{
    return call->op == DDPM_OP_CONV2D_BACKWARD_DATA ? &call->out[0] : &call->in[0];
}

static const struct ddpm_tensor *y_of(const struct ddpm_call *call)
{
    return call->op == DDPM_OP_CONV2D                 ? &call->out[0]
           : call->op == DDPM_OP_CONV2D_BACKWARD_DATA ? &call->in[0]
                                                      : &call->in[1];
}

static const struct ddpm_tensor *w_of(const struct ddpm_call *call)
{
    return call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT ? &call->out[0] : &call->in[1];
}

static bool takes_activation(const struct ddpm_tensor *t, enum ddpm_dtype dtype)
{
    return t->dtype == dtype && t->c % 8 == 0 && t->pixel_stride % 8 == 0;
}

bool ddpm_cuda_cudnn_takes(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = x_of(call), *y = y_of(call), *w = w_of(call);
    bool ok = ddpm_cuda_is_activation(x) && takes_activation(x, x->dtype) &&
              takes_activation(y, x->dtype) && w->dtype == DDPM_F32 && ddpm_conv_fits(call);
    if (call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT)
        return ok && ddpm_cuda_takes(&call->out[1], DDPM_F32);
    if (call->op != DDPM_OP_CONV2D)
        return ok;
    const struct ddpm_tensor *bias = &call->in[2], *residual = &call->in[3];
    return ok && ddpm_cuda_takes(bias, DDPM_F32) &&
           (!ddpm_tensor_present(residual) || takes_activation(residual, x->dtype));
}

struct ddpm_cudnn_convolution ddpm_cuda_cudnn_convolution(const struct ddpm_call *call,
                                                          enum ddpm_cudnn_form form)
{
    const struct ddpm_tensor *x = x_of(call), *y = y_of(call), *residual = &call->in[3];
    struct ddpm_cudnn_convolution c = {};
    c.form = form;
    c.dtype = x->dtype;
    c.n = x->n;
    c.h = x->h;
    c.w = x->w;
    c.c = x->c;
    c.out_h = y->h;
    c.out_w = y->w;
    c.k = y->c;
    c.kernel_h = call->attributes.kernel_h;
    c.kernel_w = call->attributes.kernel_w;
    c.stride = call->attributes.stride;
    c.padding = call->attributes.padding;
    c.x_stride = x->pixel_stride;
    c.y_stride = y->pixel_stride;
    if (form == DDPM_CUDNN_FUSED && ddpm_tensor_present(residual))
        c.residual_stride = residual->pixel_stride;
    return c;
}

/* ---- weights ---- */

/* packed = w in bf16, in the same order, like the caller's copy if there is one. */
static __global__ void __launch_bounds__(MAP_THREADS)
    pack_weights(const float *w, bf16 *packed, int64_t count)
{
    int64_t i = 2 * ((int64_t)blockIdx.x * MAP_THREADS + threadIdx.x);
    if (i < count) /* an even number: C is a multiple of 8 */
        *(uint32_t *)(packed + i) = pack_bf16(w[i], w[i + 1]);
}

static ddpm_status cudnn_pack(const struct ddpm_call *call)
{
    const struct ddpm_tensor *w = w_of(call);
    int64_t count = ddpm_tensor_count(w);
    dim3 grid((unsigned)ddpm_ceil_div(count, 2 * MAP_THREADS));
    return ddpm_cuda_launch(call, pack_weights, grid, dim3(MAP_THREADS), 0, (const float *)w->data,
                            (bf16 *)call->packed, count);
}

/* ---- running ---- */

static void *workspace_from(void *place)
{
    uintptr_t address = (uintptr_t)place + WORKSPACE_ALIGNMENT - 1;
    return (void *)(address / WORKSPACE_ALIGNMENT * WORKSPACE_ALIGNMENT);
}

static bool aligned(const void *place)
{
    return (uintptr_t)place % 16 == 0;
}

static ddpm_status cudnn_prepare(struct ddpm_call *call)
{
    const struct ddpm_cudnn_plan *plan = ddpm_cuda_plan_of(call);
    if (!plan)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: no cuDNN plan was chosen",
                          call->label ? call->label : "?");
    call->state = (void *)plan;
    call->scratch_bytes =
        plan->workspace_bytes ? plan->workspace_bytes + WORKSPACE_ALIGNMENT : 0;
    if (x_of(call)->dtype == DDPM_BF16 && !ddpm_call_copy(call))
        call->packed_bytes = (size_t)ddpm_tensor_count(w_of(call)) * sizeof(bf16);
    return DDPM_OK;
}

/* y += bias, for vectors of 8 channels. */
template <class T> struct add_bias {
    struct plane<T> y;
    const float *bias;
    __device__ void operator()(struct place at) const
    {
        float sum[8];
        T *to = y.data + at.p * y.stride + at.c;
        load<8>(to, sum);
        for (int i = 0; i < 8; ++i)
            sum[i] += bias[at.c + i];
        store<8>(to, sum);
    }
};

template <class T> static ddpm_status add_bias_to(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct add_bias<T> f = {ddpm_plane<T>(y), (const float *)call->in[2].data};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, 8);
}

static ddpm_status cudnn_run(const struct ddpm_call *call)
{
    const struct ddpm_cudnn_plan *plan = (const struct ddpm_cudnn_plan *)call->state;
    const bool forward = call->op == DDPM_OP_CONV2D;
    const struct ddpm_tensor *copy = ddpm_call_copy(call);
    struct ddpm_cudnn_pointers at = {};
    at.x = x_of(call)->data;
    at.y = y_of(call)->data;
    at.w = call->packed_bytes ? call->packed : copy ? copy->data : call->in[1].data;
    if (forward && plan->form == DDPM_CUDNN_FUSED) {
        at.bias = call->in[2].data;
        at.residual = call->in[3].data;
    }
    at.workspace = plan->workspace_bytes ? workspace_from(call->scratch) : NULL;
    if (!aligned(at.x) || !aligned(at.y) || !aligned(at.w) || !aligned(at.bias) ||
        !aligned(at.residual))
        return forward ? ddpm_cuda_conv2d_simt.run(call)
                       : ddpm_cuda_conv2d_backward_data_simt.run(call);
    DDPM_CUDA_TRY(cudaSetDevice(ddpm_cuda_device_of(call)->index));
    ddpm_cuda_note(call);
    DDPM_TRY(ddpm_cudnn_run(ddpm_cuda_cudnn_of(call), plan, &at));
    if (!forward || plan->form == DDPM_CUDNN_FUSED || !ddpm_tensor_present(&call->in[2]))
        return DDPM_OK;
    return call->out[0].dtype == DDPM_F32 ? add_bias_to<float>(call) : add_bias_to<bf16>(call);
}

/* Scratch: dw as cuDNN writes it, unless cuDNN may write to dw itself, then the workspace; or the
 * scratch of the kernel without tensor cores. */
static size_t gradient_bytes(const struct ddpm_call *call)
{
    if (ddpm_call_overwrites(call, 0))
        return 0;
    return (size_t)ddpm_tensor_count(&call->out[0]) * sizeof(float);
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    DDPM_TRY(ddpm_cuda_conv2d_backward_weight_simt.prepare(call));
    size_t own = call->scratch_bytes;
    DDPM_TRY(cudnn_prepare(call));
    call->packed_bytes = 0;
    call->scratch_bytes += gradient_bytes(call);
    size_t sums = ddpm_conv_weight_bytes(call, ddpm_call_overwrites(call, 0) ? 0 : 1);
    if (call->scratch_bytes < sums)
        call->scratch_bytes = sums;
    if (call->scratch_bytes < own)
        call->scratch_bytes = own;
    return DDPM_OK;
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    const struct ddpm_cudnn_plan *plan = (const struct ddpm_cudnn_plan *)call->state;
    const bool overwrites = ddpm_call_overwrites(call, 0);
    struct ddpm_cudnn_pointers at = {};
    at.x = call->in[0].data;
    at.y = call->in[1].data;
    at.w = overwrites ? call->out[0].data : call->scratch;
    at.workspace =
        plan->workspace_bytes ? workspace_from((char *)call->scratch + gradient_bytes(call)) : NULL;
    if (!aligned(at.x) || !aligned(at.y) || !aligned(at.w))
        return ddpm_cuda_conv2d_backward_weight_simt.run(call);
    DDPM_CUDA_TRY(cudaSetDevice(ddpm_cuda_device_of(call)->index));
    ddpm_cuda_note(call);
    DDPM_TRY(ddpm_cudnn_run(ddpm_cuda_cudnn_of(call), plan, &at));
    return ddpm_conv_weight_finish(call, overwrites ? 0 : 1);
}

const struct ddpm_kernel ddpm_cuda_conv2d_cudnn = {
    "conv2d_cudnn", ddpm_cuda_cudnn_takes, cudnn_prepare, cudnn_pack, cudnn_run, NULL};
const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_cudnn = {
    "conv2d_backward_data_cudnn", ddpm_cuda_cudnn_takes, cudnn_prepare, cudnn_pack,
    cudnn_run,                    NULL};
const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_cudnn = {
    "conv2d_backward_weight_cudnn", ddpm_cuda_cudnn_takes, weight_prepare, NULL, weight_run, NULL};
