/* Trials of convolution kernels, see trial.cuh. */
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/trial.cuh"

#define RUNS 5 /* between two events; the best of ROUNDS counts */
#define ROUNDS 4
#define MOST_INPUTS 5 /* of a convolution */
#define FILL_THREADS 256
#define NORM_BLOCKS 256

/* p[i] = a number in [-scale, scale] that depends on i and `seed`. */
template <class T>
static __global__ void __launch_bounds__(FILL_THREADS)
    fill(T *p, int64_t count, uint32_t seed, float scale)
{
    int64_t i = (int64_t)blockIdx.x * FILL_THREADS + threadIdx.x;
    if (i >= count)
        return;
    uint32_t x = (uint32_t)i * 2654435761u + seed;
    x = (x ^ (x >> 16)) * 2246822519u;
    x = (x ^ (x >> 13)) * 3266489917u;
    from_float(p + i, scale * ((float)((x ^ (x >> 16)) >> 8) * (2.0f / 16777216.0f) - 1.0f));
}

/* norms[block] = (Σ (a-b)², Σ b²) of this block's elements. */
template <class T>
static __global__ void __launch_bounds__(FILL_THREADS)
    compare(const T *a, const T *b, int64_t count, double *norms)
{
    __shared__ double warps[FILL_THREADS / 32];
    double difference = 0.0, size = 0.0;
    for (int64_t i = (int64_t)blockIdx.x * FILL_THREADS + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * FILL_THREADS) {
        double d = (double)to_float(a[i]) - (double)to_float(b[i]);
        difference += d * d;
        size += (double)to_float(b[i]) * (double)to_float(b[i]);
    }
    difference = block_sum(difference, warps, (int)threadIdx.x, FILL_THREADS / 32);
    size = block_sum(size, warps, (int)threadIdx.x, FILL_THREADS / 32);
    if (threadIdx.x == 0) {
        norms[2 * blockIdx.x] = difference;
        norms[2 * blockIdx.x + 1] = size;
    }
}

static int64_t elements(const struct ddpm_tensor *t)
{
    return (int64_t)(ddpm_tensor_bytes(t) / ddpm_dtype_size(t->dtype));
}

static ddpm_status fill_tensor(const struct ddpm_cuda_trial *trial, const struct ddpm_tensor *t,
                               uint32_t seed, float scale)
{
    int64_t count = elements(t);
    dim3 grid((unsigned)ddpm_ceil_div(count, FILL_THREADS)), block(FILL_THREADS);
    if (t->dtype == DDPM_F32)
        return ddpm_cuda_launch(&trial->call, fill<float>, grid, block, 0, (float *)t->data, count,
                                seed, scale);
    return ddpm_cuda_launch(&trial->call, fill<bf16>, grid, block, 0, (bf16 *)t->data, count, seed,
                            scale);
}

static __global__ void __launch_bounds__(FILL_THREADS)
    round_weights(const float *w, bf16 *copy, int64_t count)
{
    int64_t i = (int64_t)blockIdx.x * FILL_THREADS + threadIdx.x;
    if (i < count)
        from_float(copy + i, w[i]);
}

/* If the call has a copy of the weights, fill it with their values. */
static ddpm_status fill_copy(const struct ddpm_cuda_trial *trial)
{
    const struct ddpm_tensor *copy = ddpm_call_copy(&trial->call);
    if (!copy)
        return DDPM_OK;
    dim3 grid((unsigned)ddpm_ceil_div(elements(copy), FILL_THREADS));
    return ddpm_cuda_launch(&trial->call, round_weights, grid, dim3(FILL_THREADS), 0,
                            (const float *)trial->call.in[1].data, (bf16 *)copy->data,
                            elements(copy));
}

/* Output 0 as it is before the first run of each kernel: a residual in the same place, or a sum of
 * gradients. */
static ddpm_status reset(const struct ddpm_cuda_trial *trial)
{
    DDPM_TRY(fill_tensor(trial, &trial->call.out[0], 7, 1.0f));
    if (ddpm_tensor_present(&trial->call.out[1]))
        DDPM_TRY(fill_tensor(trial, &trial->call.out[1], 8, 1.0f));
    return DDPM_OK;
}

static size_t take(size_t *used, size_t bytes)
{
    size_t offset = *used;
    *used += (bytes + 255) / 256 * 256;
    return offset;
}

ddpm_status ddpm_cuda_trial_open(struct ddpm_cuda_trial *trial, struct ddpm_cuda_device *device,
                                 const struct ddpm_call *call)
{
    size_t used = 0, in[MOST_INPUTS] = {}, out[2] = {};
    *trial = {};
    trial->call = *call;
    trial->call.device = &device->base;
    struct ddpm_call *c = &trial->call;
    /* In place of the residual if the planner might do that. */
    const bool in_place = call->op == DDPM_OP_CONV2D && ddpm_tensor_present(&c->in[3]) &&
                          c->in[3].pixel_stride == c->out[0].pixel_stride;
    for (int i = 0; i < MOST_INPUTS; ++i)
        in[i] = take(&used, ddpm_tensor_bytes(&c->in[i]));
    for (int o = 0; o < 2; ++o)
        out[o] = take(&used, ddpm_tensor_bytes(&c->out[o]));
    size_t reference = take(&used, ddpm_tensor_bytes(&c->out[0]));
    size_t norms = take(&used, 2 * NORM_BLOCKS * sizeof(double));
    DDPM_CUDA_TRY(ddpm_cuda_malloc(device, (void **)&trial->memory, used));
    for (int i = 0; i < MOST_INPUTS; ++i)
        if (ddpm_tensor_present(&c->in[i]))
            c->in[i].data = trial->memory + (i == 3 && in_place ? out[0] : in[i]);
    for (int o = 0; o < 2; ++o)
        if (ddpm_tensor_present(&c->out[o]))
            c->out[o].data = trial->memory + out[o];
    trial->reference = trial->memory + reference;
    trial->norms = (double *)(trial->memory + norms);
    DDPM_CUDA_TRY(cudaEventCreateWithFlags(&trial->begin, cudaEventDefault));
    DDPM_CUDA_TRY(cudaEventCreateWithFlags(&trial->end, cudaEventDefault));
    const bool weight = call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT;
    for (int i = 0; i < MOST_INPUTS; ++i) {
        bool is_weight = i == 1 && !weight;
        float scale = is_weight
                          ? 3.0f / sqrtf((float)ddpm_tensor_count(&c->in[1]) / (float)c->in[1].n)
                          : 1.0f;
        if (ddpm_tensor_present(&c->in[i]))
            DDPM_TRY(fill_tensor(trial, &c->in[i], (uint32_t)i + 1, scale));
    }
    DDPM_TRY(fill_copy(trial));
    return reset(trial);
}

void ddpm_cuda_trial_close(struct ddpm_cuda_trial *trial)
{
    if (trial->begin)
        cudaEventDestroy(trial->begin);
    if (trial->end)
        cudaEventDestroy(trial->end);
    if (trial->memory)
        cudaFree(trial->memory);
}

/* Is output 0 what our own kernel made of it? */
static ddpm_status agrees(const struct ddpm_cuda_trial *trial, bool *good)
{
    double norms[2 * NORM_BLOCKS];
    const struct ddpm_tensor *y = &trial->call.out[0];
    const double tolerance = trial->call.in[0].dtype == DDPM_BF16 ? 1e-2 : 1e-4;
    cudaStream_t stream = ddpm_cuda_device_of(&trial->call)->compute;
    double difference = 0.0, size = 0.0;
    const int blocks = (int)min(ddpm_ceil_div(elements(y), FILL_THREADS), (int64_t)NORM_BLOCKS);
    dim3 grid((unsigned)blocks), block(FILL_THREADS);
    if (y->dtype == DDPM_F32)
        DDPM_TRY(ddpm_cuda_launch(&trial->call, compare<float>, grid, block, 0,
                                  (const float *)y->data, (const float *)trial->reference,
                                  elements(y), trial->norms));
    else
        DDPM_TRY(ddpm_cuda_launch(&trial->call, compare<bf16>, grid, block, 0,
                                  (const bf16 *)y->data, (const bf16 *)trial->reference,
                                  elements(y), trial->norms));
    DDPM_CUDA_TRY(cudaMemcpyAsync(norms, trial->norms, 2 * (size_t)blocks * sizeof(double),
                                  cudaMemcpyDeviceToHost, stream));
    DDPM_CUDA_TRY(cudaStreamSynchronize(stream));
    for (int i = 0; i < blocks; ++i) {
        difference += norms[2 * i];
        size += norms[2 * i + 1];
    }
    *good = difference <= tolerance * tolerance * size; /* false if one is NaN */
    return DDPM_OK;
}

/* Milliseconds of a run: the best of a few rounds, after the device has woken up. A call that is
 * given a copy of its weights gets new ones in every step: if it packs them anyway, packing is part
 * of its time. */
static ddpm_status time_runs(const struct ddpm_cuda_trial *trial, const struct ddpm_call *call,
                             float *milliseconds)
{
    cudaStream_t stream = ddpm_cuda_device_of(call)->compute;
    const bool packs = call->packed_bytes > 0 && ddpm_call_copy(call);
    for (int round = 0; round < ROUNDS; ++round) {
        float elapsed = 0.0f;
        DDPM_CUDA_TRY(cudaEventRecord(trial->begin, stream));
        for (int i = 0; i < RUNS; ++i) {
            if (packs)
                DDPM_TRY(call->kernel->pack(call));
            DDPM_TRY(call->kernel->run(call));
        }
        DDPM_CUDA_TRY(cudaEventRecord(trial->end, stream));
        DDPM_CUDA_TRY(cudaEventSynchronize(trial->end));
        DDPM_CUDA_TRY(cudaEventElapsedTime(&elapsed, trial->begin, trial->end));
        if (round == 0 || elapsed / RUNS < *milliseconds)
            *milliseconds = elapsed / RUNS;
    }
    return DDPM_OK;
}

static ddpm_status run_candidate(const struct ddpm_cuda_trial *trial, struct ddpm_call *call,
                                 char *memory, bool *good, float *milliseconds)
{
    cudaStream_t stream = ddpm_cuda_device_of(call)->compute;
    const struct ddpm_tensor *y = &call->out[0];
    const bool own = !call->state;
    call->scratch = memory;
    call->packed = memory + (call->scratch_bytes + 255) / 256 * 256;
    if (call->packed_bytes)
        DDPM_TRY(call->kernel->pack(call));
    DDPM_TRY(reset(trial));
    DDPM_TRY(call->kernel->run(call));
    *good = true;
    if (own)
        DDPM_CUDA_TRY(cudaMemcpyAsync(trial->reference, y->data, ddpm_tensor_bytes(y),
                                      cudaMemcpyDeviceToDevice, stream));
    else
        DDPM_TRY(agrees(trial, good));
    return *good && milliseconds ? time_runs(trial, call, milliseconds) : DDPM_OK;
}

ddpm_status ddpm_cuda_trial_run(const struct ddpm_cuda_trial *trial, const struct ddpm_kernel *row,
                                const struct ddpm_cudnn_plan *plan, bool *good, float *milliseconds)
{
    struct ddpm_call call = trial->call;
    char *memory = NULL;
    *good = false;
    call.kernel = row;
    call.state = (void *)plan;
    if (row->prepare)
        DDPM_TRY(row->prepare(&call));
    DDPM_CUDA_TRY(ddpm_cuda_malloc(ddpm_cuda_device_of(&call), (void **)&memory,
                                   call.scratch_bytes + call.packed_bytes + 512));
    ddpm_status status = run_candidate(trial, &call, memory, good, milliseconds);
    const cudaError_t finished = cudaStreamSynchronize(ddpm_cuda_device_of(&call)->compute);
    cudaFree(memory);
    if (status != DDPM_OK || finished != cudaSuccess)
        *good = false;
    DDPM_TRY(status);
    return ddpm_cuda_check(finished, "a trial's cudaStreamSynchronize");
}
