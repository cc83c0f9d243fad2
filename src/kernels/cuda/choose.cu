/* The choice of a convolution's kernel, see choose.cuh. Plans are made ahead in ahead.cu and tried
 * in search.cu. */
#include "kernels/cuda/ahead.cuh"
#include "kernels/cuda/choose.cuh"

#include <stdio.h>
#include <stdlib.h>

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
#define TRIAL_SECONDS 60.0 /* per device, unless DDPM_CUDA_TRIALS sets another limit */

/* ---- opening ---- */

static enum ddpm_cuda_mode wanted_mode(void)
{
    const char *mode = getenv("DDPM_CUDA_CONV");
    if (!mode || !*mode)
        mode = DDPM_CUDA_CONV_DEFAULT;
    if (!strcmp(mode, "own"))
        return DDPM_CUDA_MODE_OWN;
    if (!strcmp(mode, "cudnn"))
        return DDPM_CUDA_MODE_CUDNN;
    if (strcmp(mode, "auto") != 0)
        ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_CONV: got \"%s\", want auto, cudnn or own", mode);
    return DDPM_CUDA_MODE_AUTO;
}

static double wanted_seconds(void)
{
    const char *text = getenv("DDPM_CUDA_TRIALS");
    unsigned seconds = 0;
    char rest = 0;
    if (!text || !*text)
        return TRIAL_SECONDS;
    if (strspn(text, "0123456789") == strlen(text) && sscanf(text, "%6u%c", &seconds, &rest) == 1)
        return (double)seconds;
    ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_TRIALS: got \"%s\", want a number of seconds", text);
    return TRIAL_SECONDS;
}

void ddpm_cuda_choices_open(struct ddpm_cuda_device *device,
                            const struct cudaDeviceProp *properties, int threads)
{
    int driver = 0, runtime = 0;
    char identity[2 * DDPM_PLAN_TEXT_BYTES];
    struct ddpm_cuda_choices *choices = (struct ddpm_cuda_choices *)calloc(1, sizeof *choices);
    if (!choices)
        return;
    device->choices = choices;
    choices->mode = wanted_mode();
    choices->seconds_left = wanted_seconds();
    choices->threads = ddpm_cuda_plan_threads(threads);
    if (choices->mode == DDPM_CUDA_MODE_OWN)
        return;
    ddpm_cudnn_open(device->compute, &choices->cudnn);
    if (!choices->cudnn || choices->mode == DDPM_CUDA_MODE_CUDNN)
        return;
    if (cudaDriverGetVersion(&driver) != cudaSuccess ||
        cudaRuntimeGetVersion(&runtime) != cudaSuccess)
        (void)cudaGetLastError();
    snprintf(identity, sizeof identity,
             "convolutions of ddpm " DDPM_VERSION
             ", interface %u, on %s, %d.%d, %d multiprocessors, "
             "driver %d, runtime %d, cuDNN %zu%s",
             DDPM_PLUGIN_ABI, properties->name, properties->major, properties->minor,
             properties->multiProcessorCount, driver, runtime, ddpm_cudnn_version(choices->cudnn),
             device->wgmma ? ", own with wgmma" : "");
    ddpm_plan_cache_open(identity, &choices->cache);
    if (choices->cache)
        return;
    choices->mode = DDPM_CUDA_MODE_CUDNN;
    ddpm_log(DDPM_LOG_INFO, "convolution kernels are not measured: there is no folder "
                            "($XDG_CACHE_HOME, ~/.cache) to store the choices in");
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
    int count = 0, served = 0;
    while (choices->list) {
        struct ddpm_cuda_choice *choice = choices->list;
        choices->list = choice->next;
        ++count;
        served += choice->plan != NULL;
        free(choice);
    }
    if (count > 0)
        ddpm_log(DDPM_LOG_DEBUG, "cuDNN served %d of %d kinds of convolution", served, count);
    while (choices->maker_count > 0)
        ddpm_cudnn_close(&choices->makers[--choices->maker_count]);
    ddpm_cudnn_close(&choices->cudnn);
    ddpm_plan_cache_close(&choices->cache);
    free(choices);
}

/* ---- choices ---- */

/* Everything that a choice may depend on. */
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

static struct ddpm_cuda_choice *find(const struct ddpm_cuda_choices *choices, const char *key)
{
    for (struct ddpm_cuda_choice *choice = choices->list; choice; choice = choice->next)
        if (!strcmp(choice->key, key))
            return choice;
    return NULL;
}

/* The stored choice, or a trial whose result is then stored. False if neither works. */
static bool measured_choice(struct ddpm_cuda_device *device, const struct ddpm_cuda_wish *wish,
                            struct ddpm_cudnn_plan **plan)
{
    struct ddpm_cuda_choices *choices = device->choices;
    const char *kept = ddpm_plan_cache_get(choices->cache, wish->key);
    *plan = NULL;
    if (kept && !strcmp(kept, OWN))
        return true;
    if (kept)
        *plan = ddpm_cuda_search_kept(device, wish->call, wish->own, wish->key, kept);
    if (*plan)
        return true;
    if (ddpm_cuda_search(device, wish->call, wish->own, wish->key, true, plan) != DDPM_OK)
        return false;
    if (!ddpm_plan_cache_put(choices->cache, wish->key, *plan ? (*plan)->name : OWN))
        ddpm_log(DDPM_LOG_WARNING, "the choice of a convolution's kernel could not be stored: "
                                   "a resumed run may differ in the last bits");
    ddpm_cuda_keep_plan(choices, wish->key, *plan);
    return true;
}

/* Without memory for a trial, our own kernel is used until the next time. */
static void decide(struct ddpm_cuda_device *device, const struct ddpm_cuda_wish *wish)
{
    struct ddpm_cuda_choices *choices = device->choices;
    struct ddpm_cudnn_plan *plan = NULL;
    const bool good =
        choices->mode == DDPM_CUDA_MODE_AUTO
            ? measured_choice(device, wish, &plan)
            : ddpm_cuda_search(device, wish->call, wish->own, wish->key, false, &plan) == DDPM_OK;
    struct ddpm_cuda_choice *choice =
        good ? (struct ddpm_cuda_choice *)calloc(1, sizeof *choice) : NULL;
    if (!choice)
        return;
    memcpy(choice->key, wish->key, sizeof choice->key);
    choice->plan = plan;
    choice->next = choices->list;
    choices->list = choice;
}

/* If the device is lost the process is about to end, and the note of what it tried must stay. */
static void decide_all(struct ddpm_cuda_device *device, const struct ddpm_cuda_wish *wishes,
                       size_t count)
{
    struct ddpm_cuda_choices *choices = device->choices;
    const bool measure = choices->mode == DDPM_CUDA_MODE_AUTO;
    if (choices->cache)
        ddpm_plan_cache_lock(choices->cache);
    for (size_t i = 0; i < count && measure && !choices->said; ++i)
        if (!ddpm_plan_cache_get(choices->cache, wishes[i].key)) {
            ddpm_log(DDPM_LOG_INFO, "measuring convolution kernels for new shapes");
            choices->said = true;
        }
    ddpm_cuda_make_ahead(device, wishes, count, measure);
    for (size_t i = 0; i < count && !choices->lost; ++i)
        decide(device, &wishes[i]);
    ddpm_cuda_forget_ahead(choices);
    if (choices->cache)
        ddpm_plan_cache_unlock(choices->cache);
}

/* Is there a choice for this call? */
static bool has_choice(const struct ddpm_cuda_choices *choices, const struct ddpm_call *call,
                       const struct ddpm_kernel *own)
{
    return choices && choices->cudnn && !choices->lost && choices->mode != DDPM_CUDA_MODE_OWN &&
           own && ddpm_cuda_cudnn_takes(call) &&
           (choices->mode != DDPM_CUDA_MODE_AUTO || ddpm_call_flops(call) >= DDPM_CUDA_LEAST_FLOPS);
}

void ddpm_cuda_choose_all(struct ddpm_cuda_device *device, const struct ddpm_call *calls,
                          size_t count)
{
    struct ddpm_cuda_wish *wishes = (struct ddpm_cuda_wish *)calloc(count + 1, sizeof *wishes);
    size_t found = 0;
    for (size_t i = 0; i < count && wishes; ++i) {
        struct ddpm_cuda_wish *wish = &wishes[found];
        wish->call = &calls[i];
        wish->own = ddpm_cuda_own_row(&calls[i]);
        if (!ddpm_cuda_is_convolution(calls[i].op) ||
            !has_choice(device->choices, wish->call, wish->own))
            continue;
        describe(wish->call, wish->key);
        bool again = find(device->choices, wish->key) != NULL;
        for (size_t j = 0; j < found; ++j)
            again = again || !strcmp(wishes[j].key, wish->key);
        found += !again;
    }
    if (found > 0)
        decide_all(device, wishes, found);
    free(wishes);
}

const struct ddpm_kernel *ddpm_cuda_choose(struct ddpm_cuda_device *device,
                                           const struct ddpm_call *call,
                                           const struct ddpm_kernel *own)
{
    struct ddpm_cuda_choices *choices = device ? device->choices : NULL;
    if (!has_choice(choices, call, own))
        return own;
    struct ddpm_cuda_wish wish = {call, own, ""};
    describe(call, wish.key);
    if (!find(choices, wish.key))
        decide_all(device, &wish, 1);
    const struct ddpm_cuda_choice *known = find(choices, wish.key);
    return known && known->plan ? ddpm_cuda_cudnn_row(call->op) : own;
}

const struct ddpm_cudnn_plan *ddpm_cuda_plan_of(const struct ddpm_call *call)
{
    char key[DDPM_PLAN_TEXT_BYTES];
    if (call->state) /* in a trial */
        return (const struct ddpm_cudnn_plan *)call->state;
    describe(call, key);
    const struct ddpm_cuda_choice *choice = find(ddpm_cuda_device_of(call)->choices, key);
    return choice ? choice->plan : NULL;
}

struct ddpm_cudnn *ddpm_cuda_cudnn_of(const struct ddpm_call *call)
{
    return ddpm_cuda_device_of(call)->choices->cudnn;
}
