/* The choice of a convolution's kernel, see choose.cuh.
 *
 * A trial runs each candidate on the call's own shapes with random values in memory of its own.
 * Our kernel comes first: a plan of cuDNN's whose result differs from its result is left out, and
 * one that is not clearly faster is not worth the exchange. */
#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/conv_cudnn.cuh"
#include "kernels/cuda/numeric.cuh"

#include <stdio.h>
#include <stdlib.h>

extern "C" {
#include "kernels/cuda/plan_cache.h"
}

#ifndef DDPM_CUDA_CONV_DEFAULT
#define DDPM_CUDA_CONV_DEFAULT "auto"
#endif
#ifndef DDPM_CUDA_LEAST_FLOPS
#define DDPM_CUDA_LEAST_FLOPS 1e8 /* smaller calls are not worth a trial */
#endif
#ifndef DDPM_VERSION
#define DDPM_VERSION "?"
#endif

#define OWN "own"
#define CLEARLY_FASTER 0.97f
#define RUNS 5            /* between two events; the best of ROUNDS counts */
#define ROUNDS 4
#define MOST_CANDIDATES 6
#define MOST_INPUTS 5 /* of a convolution */
#define FILL_THREADS 256
#define NORM_BLOCKS 256

enum mode { MODE_AUTO, MODE_CUDNN, MODE_OWN };

struct choice {
    struct choice *next;
    char key[DDPM_PLAN_TEXT_BYTES];
    struct ddpm_cudnn_plan *plan; /* NULL: our own kernel */
};

struct ddpm_cuda_choices {
    enum mode mode;
    struct ddpm_cudnn *cudnn;
    struct ddpm_plan_cache *cache;
    struct choice *list;
    bool said;
};

/* ---- opening ---- */

static enum mode wanted_mode(void)
{
    const char *mode = getenv("DDPM_CUDA_CONV");
    if (!mode || !*mode)
        mode = DDPM_CUDA_CONV_DEFAULT;
    if (!strcmp(mode, "own"))
        return MODE_OWN;
    if (!strcmp(mode, "cudnn"))
        return MODE_CUDNN;
    if (strcmp(mode, "auto") != 0)
        ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_CONV: got \"%s\", want auto, cudnn or own", mode);
    return MODE_AUTO;
}

void ddpm_cuda_choices_open(struct ddpm_cuda_device *device,
                            const struct cudaDeviceProp *properties)
{
    int driver = 0, runtime = 0;
    char identity[2 * DDPM_PLAN_TEXT_BYTES];
    struct ddpm_cuda_choices *choices = (struct ddpm_cuda_choices *)calloc(1, sizeof *choices);
    if (!choices)
        return;
    device->choices = choices;
    choices->mode = wanted_mode();
    if (choices->mode == MODE_OWN)
        return;
    ddpm_cudnn_open(device->compute, &choices->cudnn);
    if (!choices->cudnn || choices->mode == MODE_CUDNN)
        return;
    if (cudaDriverGetVersion(&driver) != cudaSuccess ||
        cudaRuntimeGetVersion(&runtime) != cudaSuccess)
        (void)cudaGetLastError();
    snprintf(identity, sizeof identity,
             "convolutions of ddpm " DDPM_VERSION ", interface %u, on %s, %d.%d, %d multiprocessors, "
             "driver %d, runtime %d, cuDNN %zu",
             DDPM_PLUGIN_ABI, properties->name, properties->major, properties->minor,
             properties->multiProcessorCount, driver, runtime,
             ddpm_cudnn_version(choices->cudnn));
    ddpm_plan_cache_open(identity, &choices->cache);
    if (choices->cache)
        return;
    choices->mode = MODE_CUDNN;
    ddpm_log(DDPM_LOG_INFO, "convolution kernels are not measured: there is no folder "
                            "($XDG_CACHE_HOME, ~/.cache) to keep the choices in");
}

ddpm_status ddpm_cuda_choices_follow(struct ddpm_cuda_device *device)
{
    if (!device->choices || !device->choices->cudnn)
        return DDPM_OK;
    return ddpm_cudnn_set_stream(device->choices->cudnn, device->compute);
}

void ddpm_cuda_choices_close(struct ddpm_cuda_device *device)
{
    struct ddpm_cuda_choices *choices = device->choices;
    device->choices = NULL;
    if (!choices)
        return;
    while (choices->list) {
        struct choice *choice = choices->list;
        choices->list = choice->next;
        free(choice);
    }
    ddpm_cudnn_close(&choices->cudnn);
    ddpm_plan_cache_close(&choices->cache);
    free(choices);
}

/* ---- calls ---- */

/* Everything a choice may depend on. */
static void describe(const struct ddpm_call *call, char key[DDPM_PLAN_TEXT_BYTES])
{
    const struct ddpm_tensor *first = &call->in[0];
    const struct ddpm_tensor *last =
        call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT ? &call->in[1] : &call->out[0];
    const struct ddpm_tensor *residual = &call->in[3];
    const struct ddpm_attributes *a = &call->attributes;
    const bool forward = call->op == DDPM_OP_CONV2D;
    snprintf(key, DDPM_PLAN_TEXT_BYTES,
             "%s %s %lldx%lldx%lldx%lld/%lld %s %lldx%lldx%lld/%lld k%dx%d s%d p%d%s r%lld%s",
             ddpm_op_info[call->op].name, ddpm_dtype_name(first->dtype), (long long)first->n,
             (long long)first->h, (long long)first->w, (long long)first->c,
             (long long)first->pixel_stride, ddpm_dtype_name(last->dtype), (long long)last->h,
             (long long)last->w, (long long)last->c, (long long)last->pixel_stride, a->kernel_h,
             a->kernel_w, a->stride, a->padding,
             forward && ddpm_tensor_present(&call->in[2]) ? " bias" : "",
             (long long)(forward && ddpm_tensor_present(residual) ? residual->pixel_stride : 0),
             ddpm_call_copy(call) ? " copy" : "");
}

static const struct ddpm_kernel *row_of(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D                 ? &ddpm_cuda_conv2d_cudnn
           : op == DDPM_OP_CONV2D_BACKWARD_DATA ? &ddpm_cuda_conv2d_backward_data_cudnn
                                                : &ddpm_cuda_conv2d_backward_weight_cudnn;
}

/* Plans worth a trial; with `name` the one of that name. Fused plans are compiled for the purpose,
 * and so are those that keep fp32 sums of bf16 products: a second each, so there are few. */
static int plans_of(struct ddpm_cuda_choices *choices, const struct ddpm_call *call,
                    const char *name, struct ddpm_cudnn_plan *plans[MOST_CANDIDATES])
{
    const bool bias = ddpm_tensor_present(&call->in[2]);
    const bool residual = ddpm_tensor_present(&call->in[3]);
    struct ddpm_cudnn_convolution c;
    int count = 0;
    if (call->op == DDPM_OP_CONV2D_BACKWARD_DATA) {
        c = ddpm_cuda_cudnn_convolution(call, DDPM_CUDNN_DATA);
        return ddpm_cudnn_plans(choices->cudnn, &c, name, 4, 0, plans);
    }
    if (call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT) {
        c = ddpm_cuda_cudnn_convolution(call, DDPM_CUDNN_WEIGHT);
        return ddpm_cudnn_plans(choices->cudnn, &c, name, 3, 2, plans);
    }
    if (bias && (!name || !strncmp(name, "fused", 5))) {
        c = ddpm_cuda_cudnn_convolution(call, DDPM_CUDNN_FUSED);
        count = ddpm_cudnn_plans(choices->cudnn, &c, name, 3, 2, plans);
    }
    /* y may be the residual, which a plain convolution would overwrite before it is added. */
    if (!residual && (!name || !strncmp(name, "plain", 5))) {
        c = ddpm_cuda_cudnn_convolution(call, DDPM_CUDNN_PLAIN);
        count += ddpm_cudnn_plans(choices->cudnn, &c, name, 3, 0, plans + count);
    }
    return count;
}

/* ---- trials ---- */

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

struct trial {
    struct ddpm_call call; /* with addresses */
    char *memory;
    void *reference; /* what our own kernel makes of output 0 */
    double *norms;
    cudaEvent_t begin, end;
};

static int64_t elements(const struct ddpm_tensor *t)
{
    return (int64_t)(ddpm_tensor_bytes(t) / ddpm_dtype_size(t->dtype));
}

static ddpm_status fill_tensor(const struct trial *trial, const struct ddpm_tensor *t,
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

/* Give the weights' copy, where the call has one, the values of the weights. */
static ddpm_status fill_copy(const struct trial *trial)
{
    const struct ddpm_tensor *copy = ddpm_call_copy(&trial->call);
    if (!copy)
        return DDPM_OK;
    dim3 grid((unsigned)ddpm_ceil_div(elements(copy), FILL_THREADS));
    return ddpm_cuda_launch(&trial->call, round_weights, grid, dim3(FILL_THREADS), 0,
                            (const float *)trial->call.in[1].data, (bf16 *)copy->data,
                            elements(copy));
}

/* Output 0 as it is before every first run: a residual in the same place, or a sum of gradients. */
static ddpm_status reset(const struct trial *trial)
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

/* Give every tensor of the call memory, and the inputs values. */
static ddpm_status open_trial(struct trial *trial, struct ddpm_cuda_device *device,
                              const struct ddpm_call *call)
{
    size_t used = 0, in[MOST_INPUTS] = {}, out[2] = {};
    *trial = {};
    trial->call = *call;
    trial->call.device = &device->base;
    struct ddpm_call *c = &trial->call;
    /* In place of the residual where the planner might do it. */
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
        float scale = is_weight ? 3.0f / sqrtf((float)ddpm_tensor_count(&c->in[1]) /
                                               (float)c->in[1].n)
                                : 1.0f;
        if (ddpm_tensor_present(&c->in[i]))
            DDPM_TRY(fill_tensor(trial, &c->in[i], (uint32_t)i + 1, scale));
    }
    DDPM_TRY(fill_copy(trial));
    return reset(trial);
}

static void close_trial(struct trial *trial)
{
    if (trial->begin)
        cudaEventDestroy(trial->begin);
    if (trial->end)
        cudaEventDestroy(trial->end);
    if (trial->memory)
        cudaFree(trial->memory);
}

/* Is output 0 what our own kernel made of it? */
static ddpm_status agrees(const struct trial *trial, bool *good)
{
    double norms[2 * NORM_BLOCKS];
    const struct ddpm_tensor *y = &trial->call.out[0];
    const double tolerance = trial->call.in[0].dtype == DDPM_BF16 ? 1e-2 : 1e-4;
    cudaStream_t stream = ddpm_cuda_device_of(&trial->call)->compute;
    double difference = 0.0, size = 0.0;
    dim3 grid(NORM_BLOCKS), block(FILL_THREADS);
    if (y->dtype == DDPM_F32)
        DDPM_TRY(ddpm_cuda_launch(&trial->call, compare<float>, grid, block, 0,
                                  (const float *)y->data, (const float *)trial->reference,
                                  elements(y), trial->norms));
    else
        DDPM_TRY(ddpm_cuda_launch(&trial->call, compare<bf16>, grid, block, 0,
                                  (const bf16 *)y->data, (const bf16 *)trial->reference,
                                  elements(y), trial->norms));
    DDPM_CUDA_TRY(
        cudaMemcpyAsync(norms, trial->norms, sizeof norms, cudaMemcpyDeviceToHost, stream));
    DDPM_CUDA_TRY(cudaStreamSynchronize(stream));
    for (int i = 0; i < NORM_BLOCKS; ++i) {
        difference += norms[2 * i];
        size += norms[2 * i + 1];
    }
    *good = difference <= tolerance * tolerance * size; /* false where one is NaN */
    return DDPM_OK;
}

/* Milliseconds of a run: the best of a few rounds, after the device has woken up. A call that is
 * given a copy of its weights has others in every step: where it packs them nevertheless, that is
 * part of its time. */
static ddpm_status time_runs(const struct trial *trial, const struct ddpm_call *call,
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

static ddpm_status run_candidate(const struct trial *trial, struct ddpm_call *call, char *memory,
                                 bool *good, float *milliseconds)
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

/* Try a row, with a plan of cuDNN's or (NULL) without. No time is taken where `milliseconds` is
 * NULL. */
static ddpm_status try_candidate(const struct trial *trial, const struct ddpm_kernel *row,
                                 const struct ddpm_cudnn_plan *plan, bool *good,
                                 float *milliseconds)
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
    if (status != DDPM_OK)
        *good = false;
    cudaStreamSynchronize(ddpm_cuda_device_of(&call)->compute);
    cudaFree(memory);
    return status;
}

/* The best of these plans, or NULL for our own kernel. `measure` false: the first that is right. */
static ddpm_status hold_trial(struct ddpm_cuda_device *device, const struct ddpm_call *call,
                              const struct ddpm_kernel *own, struct ddpm_cudnn_plan *const *plans,
                              int count, bool measure, struct ddpm_cudnn_plan **best)
{
    struct trial trial;
    bool good;
    float own_time = 0.0f, best_time = 0.0f;
    *best = NULL;
    ddpm_status status = open_trial(&trial, device, call);
    if (status == DDPM_OK)
        status = try_candidate(&trial, own, NULL, &good, measure ? &own_time : NULL);
    best_time = own_time * CLEARLY_FASTER;
    for (int i = 0; status == DDPM_OK && i < count; ++i) {
        float time = 0.0f;
        ddpm_status tried = try_candidate(&trial, row_of(call->op), plans[i], &good,
                                          measure ? &time : NULL);
        ddpm_log(DDPM_LOG_DEBUG, "%s, cuDNN's %s: %s, %.1f us, own %.1f us",
                 call->label ? call->label : "?", plans[i]->name,
                 tried != DDPM_OK ? "did not run"
                 : good           ? "right"
                                  : "wrong result",
                 1e3 * (double)time, 1e3 * (double)own_time);
        if (tried != DDPM_OK || !good)
            continue;
        if (!measure) {
            *best = plans[i];
            break;
        }
        if (time < best_time) {
            *best = plans[i];
            best_time = time;
        }
    }
    close_trial(&trial);
    return status;
}

/* The same of all plans that cuDNN has. */
static ddpm_status try_all(struct ddpm_cuda_device *device, const struct ddpm_call *call,
                           const struct ddpm_kernel *own, bool measure,
                           struct ddpm_cudnn_plan **best)
{
    struct ddpm_cudnn_plan *plans[MOST_CANDIDATES];
    int count = plans_of(device->choices, call, NULL, plans);
    return hold_trial(device, call, own, plans, count, measure, best);
}

/* ---- choices ---- */

static struct choice *find(const struct ddpm_cuda_choices *choices, const char *key)
{
    for (struct choice *choice = choices->list; choice; choice = choice->next)
        if (!strcmp(choice->key, key))
            return choice;
    return NULL;
}

static enum ddpm_cudnn_form form_of(const struct ddpm_call *call, const char *name)
{
    return call->op == DDPM_OP_CONV2D_BACKWARD_DATA     ? DDPM_CUDNN_DATA
           : call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT ? DDPM_CUDNN_WEIGHT
           : !strncmp(name, "fused", 5)                 ? DDPM_CUDNN_FUSED
                                                        : DDPM_CUDNN_PLAIN;
}

/* Keep what was compiled; what cannot be kept is compiled again by the next process. */
static void keep_plan(struct ddpm_cuda_choices *choices, const char *key,
                      const struct ddpm_cudnn_plan *plan)
{
    size_t bytes = 0;
    if (!plan || !plan->compiled)
        return;
    char *text = ddpm_cudnn_print_plan(choices->cudnn, plan, &bytes);
    if (!text || !ddpm_plan_cache_write_plan(choices->cache, key, plan->name, text, bytes))
        ddpm_log(DDPM_LOG_DEBUG, "cuDNN's %s could not be kept", plan->name);
    free(text);
}

/* A plan that an earlier process compiled, if it computes what our own kernel does: cuDNN takes a
 * text without running it. Where there is no memory to try, it is believed. */
static struct ddpm_cudnn_plan *kept_plan(struct ddpm_cuda_device *device,
                                         const struct ddpm_call *call,
                                         const struct ddpm_kernel *own, const char *key,
                                         const char *name)
{
    struct ddpm_cuda_choices *choices = device->choices;
    struct ddpm_cudnn_plan *plan = NULL, *right = NULL;
    size_t bytes = 0;
    char *text = ddpm_plan_cache_read_plan(choices->cache, key, name, &bytes);
    if (text)
        plan = ddpm_cudnn_load_plan(choices->cudnn, name, form_of(call, name), text, bytes);
    free(text);
    if (!plan || hold_trial(device, call, own, &plan, 1, false, &right) != DDPM_OK)
        return plan;
    return right;
}

/* The plan of a name: compiled by an earlier process, or made now. NULL where cuDNN has none. */
static struct ddpm_cudnn_plan *named_plan(struct ddpm_cuda_device *device,
                                          const struct ddpm_call *call,
                                          const struct ddpm_kernel *own, const char *key,
                                          const char *name)
{
    struct ddpm_cuda_choices *choices = device->choices;
    struct ddpm_cudnn_plan *plans[MOST_CANDIDATES];
    struct ddpm_cudnn_plan *plan = kept_plan(device, call, own, key, name);
    if (plan || plans_of(choices, call, name, plans) == 0)
        return plan;
    keep_plan(choices, key, plans[0]);
    return plans[0];
}

/* What the cache says, or a trial whose outcome it then keeps. False where neither could be had. */
static bool measured_choice(struct ddpm_cuda_device *device, const struct ddpm_call *call,
                            const struct ddpm_kernel *own, const char *key,
                            struct ddpm_cudnn_plan **plan)
{
    struct ddpm_cuda_choices *choices = device->choices;
    bool known = true;
    *plan = NULL;
    ddpm_plan_cache_lock(choices->cache);
    const char *kept = ddpm_plan_cache_get(choices->cache, key);
    const bool ours = kept && !strcmp(kept, OWN);
    if (kept && !ours)
        *plan = named_plan(device, call, own, key, kept);
    if (!*plan && !ours) {
        if (!choices->said)
            ddpm_log(DDPM_LOG_INFO, "measuring convolution kernels for shapes that are new");
        choices->said = true;
        known = try_all(device, call, own, true, plan) == DDPM_OK;
        if (known &&
            !ddpm_plan_cache_put(choices->cache, key, *plan ? (*plan)->name : OWN))
            ddpm_log(DDPM_LOG_WARNING, "the choice of a convolution's kernel could not be kept: "
                                       "a resumed run may differ in the last bits");
        if (known)
            keep_plan(choices, key, *plan);
    }
    ddpm_plan_cache_unlock(choices->cache);
    return known;
}

const struct ddpm_kernel *ddpm_cuda_choose(struct ddpm_cuda_device *device,
                                           const struct ddpm_call *call,
                                           const struct ddpm_kernel *own)
{
    struct ddpm_cuda_choices *choices = device ? device->choices : NULL;
    char key[DDPM_PLAN_TEXT_BYTES];
    struct ddpm_cudnn_plan *plan = NULL;
    if (!choices || !choices->cudnn || choices->mode == MODE_OWN || !own ||
        !ddpm_cuda_cudnn_takes(call) ||
        (choices->mode == MODE_AUTO && ddpm_call_flops(call) < DDPM_CUDA_LEAST_FLOPS))
        return own;
    describe(call, key);
    struct choice *known = find(choices, key);
    if (known)
        return known->plan ? row_of(call->op) : own;
    /* Where there is no memory for a trial our own kernel serves, until the next time. */
    bool good = choices->mode == MODE_AUTO
                    ? measured_choice(device, call, own, key, &plan)
                    : try_all(device, call, own, false, &plan) == DDPM_OK;
    struct choice *choice = good ? (struct choice *)calloc(1, sizeof *choice) : NULL;
    if (!choice)
        return own;
    memcpy(choice->key, key, sizeof choice->key);
    choice->plan = plan;
    choice->next = choices->list;
    choices->list = choice;
    return plan ? row_of(call->op) : own;
}

const struct ddpm_cudnn_plan *ddpm_cuda_plan_of(const struct ddpm_call *call)
{
    char key[DDPM_PLAN_TEXT_BYTES];
    if (call->state) /* in a trial */
        return (const struct ddpm_cudnn_plan *)call->state;
    describe(call, key);
    const struct choice *choice = find(ddpm_cuda_device_of(call)->choices, key);
    return choice ? choice->plan : NULL;
}

struct ddpm_cudnn *ddpm_cuda_cudnn_of(const struct ddpm_call *call)
{
    return ddpm_cuda_device_of(call)->choices->cudnn;
}
