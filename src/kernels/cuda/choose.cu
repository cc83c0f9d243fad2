/* The choice of a convolution's kernel, see choose.cuh.
 *
 * A trial (trial.cuh) runs our own kernel first. A cuDNN plan with a different result is rejected,
 * and one that is not clearly faster is not worth using. Plans are made one by one, because making
 * one may take a second: once a correct one is found, others are tried only within the device's
 * time for trials. */
#include "kernels/cuda/choose.cuh"
#include "core/clock.h"
#include "kernels/cuda/conv_cudnn.cuh"
#include "kernels/cuda/trial.cuh"

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
#define TRIAL_SECONDS 60.0 /* per device, unless DDPM_CUDA_TRIALS sets another limit */
#define MOST_NAMES 8       /* per form */

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
    double seconds_left; /* for trying more plans than the first correct one */
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
                            const struct cudaDeviceProp *properties)
{
    int driver = 0, runtime = 0;
    char identity[2 * DDPM_PLAN_TEXT_BYTES];
    struct ddpm_cuda_choices *choices = (struct ddpm_cuda_choices *)calloc(1, sizeof *choices);
    if (!choices)
        return;
    device->choices = choices;
    choices->mode = wanted_mode();
    choices->seconds_left = wanted_seconds();
    if (choices->mode == MODE_OWN)
        return;
    ddpm_cudnn_open(device->compute, &choices->cudnn);
    if (!choices->cudnn || choices->mode == MODE_CUDNN)
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
    choices->mode = MODE_CUDNN;
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
        struct choice *choice = choices->list;
        choices->list = choice->next;
        ++count;
        served += choice->plan != NULL;
        free(choice);
    }
    if (count > 0)
        ddpm_log(DDPM_LOG_DEBUG, "cuDNN served %d of %d kinds of convolution", served, count);
    ddpm_cudnn_close(&choices->cudnn);
    ddpm_plan_cache_close(&choices->cache);
    free(choices);
}

/* ---- calls ---- */

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

static const struct ddpm_kernel *row_of(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D                 ? &ddpm_cuda_conv2d_cudnn
           : op == DDPM_OP_CONV2D_BACKWARD_DATA ? &ddpm_cuda_conv2d_backward_data_cudnn
                                                : &ddpm_cuda_conv2d_backward_weight_cudnn;
}

/* Which forms to ask cuDNN for, and how many plans are worth a trial. Fused plans, and those that
 * keep fp32 sums of bf16 products, are compiled on demand; that takes a second each, so only a few
 * are tried. */
struct form {
    enum ddpm_cudnn_form form;
    int most, compiled;
};

static int forms_of(const struct ddpm_call *call, struct form forms[2])
{
    int count = 0;
    if (call->op == DDPM_OP_CONV2D_BACKWARD_DATA) {
        forms[count++] = {DDPM_CUDNN_DATA, 4, 0};
    } else if (call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT) {
        forms[count++] = {DDPM_CUDNN_WEIGHT, 3, 2};
    } else {
        if (ddpm_tensor_present(&call->in[2]))
            forms[count++] = {DDPM_CUDNN_FUSED, 3, 2};
        /* y may be the residual, which a plain convolution would overwrite before it is added. */
        if (!ddpm_tensor_present(&call->in[3]))
            forms[count++] = {DDPM_CUDNN_PLAIN, 3, 0};
    }
    return count;
}

static enum ddpm_cudnn_form form_of(const struct ddpm_call *call, const char *name)
{
    return call->op == DDPM_OP_CONV2D_BACKWARD_DATA     ? DDPM_CUDNN_DATA
           : call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT ? DDPM_CUDNN_WEIGHT
           : !strncmp(name, "fused", 5)                 ? DDPM_CUDNN_FUSED
                                                        : DDPM_CUDNN_PLAIN;
}

/* Make the plan with this name; NULL if cuDNN has none. */
static struct ddpm_cudnn_plan *make_plan(struct ddpm_cuda_choices *choices,
                                         const struct ddpm_call *call, const char *name)
{
    struct ddpm_cudnn_plan *plan = NULL;
    struct ddpm_cudnn_convolution c = ddpm_cuda_cudnn_convolution(call, form_of(call, name));
    return ddpm_cudnn_plans(choices->cudnn, &c, name, 1, 1, &plan) == 1 ? plan : NULL;
}

/* ---- trials ---- */

/* The search for the plan that serves a call. */
struct search {
    struct ddpm_cuda_device *device;
    struct ddpm_cuda_trial trial;
    const char *key;
    bool measure; /* otherwise the first correct plan is used */
    float own_time, best_time;
    struct ddpm_cudnn_plan *best; /* NULL: our own kernel */
    bool found;                   /* a correct plan, though it may not be the best */
    bool lost;                    /* the device: a plan's kernel did something illegal */
};

/* Close it even after a failure. */
static ddpm_status open_search(struct search *search, struct ddpm_cuda_device *device,
                               const struct ddpm_call *call, const struct ddpm_kernel *own,
                               const char *key, bool measure)
{
    bool good;
    *search = {};
    search->device = device;
    search->key = key;
    search->measure = measure;
    DDPM_TRY(ddpm_cuda_trial_open(&search->trial, device, call));
    DDPM_TRY(
        ddpm_cuda_trial_run(&search->trial, own, NULL, &good, measure ? &search->own_time : NULL));
    search->best_time = search->own_time * CLEARLY_FASTER;
    return DDPM_OK;
}

static bool has_crashed(const struct search *search, const char *name)
{
    struct ddpm_plan_cache *cache = search->device->choices->cache;
    if (!cache || !ddpm_plan_cache_crashed(cache, search->key, name))
        return false;
    ddpm_log(DDPM_LOG_WARNING, "skipping cuDNN's %s: a process ended while it tried that plan", name);
    return true;
}

static void begin_trial(const struct search *search, const char *name)
{
    if (search->device->choices->cache)
        ddpm_plan_cache_begin_trial(search->device->choices->cache, search->key, name);
}

/* If the device is lost, the process is about to end, and the next one finds the trial. */
static void end_trial(const struct search *search)
{
    if (search->device->choices->cache && !search->lost)
        ddpm_plan_cache_end_trial(search->device->choices->cache);
}

/* Try a plan, and keep it if it is the best so far. */
static void try_plan(struct search *search, struct ddpm_cudnn_plan *plan)
{
    const struct ddpm_call *call = &search->trial.call;
    bool good;
    float time = 0.0f;
    ddpm_status tried = ddpm_cuda_trial_run(&search->trial, row_of(call->op), plan, &good,
                                            search->measure ? &time : NULL);
    search->lost = ddpm_cuda_lost(cudaStreamQuery(search->device->compute));
    ddpm_log(DDPM_LOG_DEBUG, "%s, cuDNN's %s: %s, %.1f us, own %.1f us",
             call->label ? call->label : "?", plan->name,
             tried != DDPM_OK ? "did not run"
             : good           ? "right"
                              : "wrong result",
             1e3 * (double)time, 1e3 * (double)search->own_time);
    if (tried != DDPM_OK || !good)
        return;
    search->found = true;
    if (search->measure && time >= search->best_time)
        return;
    search->best = plan;
    search->best_time = time;
}

/* Is the best so far good enough to stop searching? */
static bool enough(const struct search *search)
{
    return search->lost ||
           (search->found && (!search->measure || search->device->choices->seconds_left <= 0.0));
}

static void search_form(struct search *search, const struct form *form)
{
    struct ddpm_cuda_choices *choices = search->device->choices;
    const struct ddpm_call *call = &search->trial.call;
    struct ddpm_cudnn_convolution c = ddpm_cuda_cudnn_convolution(call, form->form);
    char names[MOST_NAMES][DDPM_CUDNN_NAME_BYTES];
    int count = ddpm_cudnn_names(choices->cudnn, &c, MOST_NAMES, form->compiled, names);
    for (int i = 0, tried = 0; i < count && tried < form->most && !enough(search); ++i) {
        if (has_crashed(search, names[i]))
            continue;
        const double begin = ddpm_now();
        begin_trial(search, names[i]);
        struct ddpm_cudnn_plan *plan = make_plan(choices, call, names[i]);
        if (plan) {
            ++tried;
            try_plan(search, plan);
        }
        end_trial(search);
        choices->seconds_left -= ddpm_now() - begin;
    }
}

/* The best cuDNN plan, or NULL for our own kernel. */
static ddpm_status try_all(struct ddpm_cuda_device *device, const struct ddpm_call *call,
                           const struct ddpm_kernel *own, const char *key, bool measure,
                           struct ddpm_cudnn_plan **best)
{
    struct search search;
    struct form forms[2];
    ddpm_status status = open_search(&search, device, call, own, key, measure);
    const int count = status == DDPM_OK ? forms_of(call, forms) : 0;
    for (int i = 0; i < count; ++i)
        search_form(&search, &forms[i]);
    ddpm_cuda_trial_close(&search.trial);
    *best = search.best;
    return search.lost ? DDPM_ERROR_DEVICE : status;
}

/* ---- choices ---- */

static struct choice *find(const struct ddpm_cuda_choices *choices, const char *key)
{
    for (struct choice *choice = choices->list; choice; choice = choice->next)
        if (!strcmp(choice->key, key))
            return choice;
    return NULL;
}

/* Store a compiled plan. If it cannot be stored, the next process compiles it again. */
static void keep_plan(struct ddpm_cuda_choices *choices, const char *key,
                      const struct ddpm_cudnn_plan *plan)
{
    size_t bytes = 0;
    if (!plan || !plan->compiled)
        return;
    char *text = ddpm_cudnn_print_plan(choices->cudnn, plan, &bytes);
    if (!text || !ddpm_plan_cache_write_plan(choices->cache, key, plan->name, text, bytes))
        ddpm_log(DDPM_LOG_DEBUG, "cuDNN's %s could not be stored", plan->name);
    free(text);
}

/* The plan of a choice: compiled by an earlier process or made now. It must compute what our own
 * kernel does, because cuDNN loads a text without checking its code; if there is no memory for a
 * trial, the plan is trusted. NULL if cuDNN has none. */
static struct ddpm_cudnn_plan *named_plan(struct search *search, const char *name, bool *kept)
{
    struct ddpm_cuda_choices *choices = search->device->choices;
    const struct ddpm_call *call = &search->trial.call;
    struct ddpm_cudnn_plan *plan = NULL;
    size_t bytes = 0;
    char *text = ddpm_plan_cache_read_plan(choices->cache, search->key, name, &bytes);
    if (text)
        plan = ddpm_cudnn_load_plan(choices->cudnn, name, form_of(call, name), text, bytes);
    free(text);
    *kept = plan != NULL;
    return plan ? plan : make_plan(choices, call, name);
}

static struct ddpm_cudnn_plan *kept_choice(struct ddpm_cuda_device *device,
                                           const struct ddpm_call *call,
                                           const struct ddpm_kernel *own, const char *key,
                                           const char *name)
{
    struct ddpm_cuda_choices *choices = device->choices;
    struct search search;
    bool kept = false;
    const bool can_try = open_search(&search, device, call, own, key, false) == DDPM_OK;
    struct ddpm_cudnn_plan *plan = NULL;
    if (!has_crashed(&search, name)) {
        begin_trial(&search, name);
        plan = named_plan(&search, name, &kept);
        if (plan && can_try && kept) {
            try_plan(&search, plan);
            if (!search.found && !search.lost) {
                plan = make_plan(choices, call, name);
                kept = false;
            }
        }
        end_trial(&search);
    }
    if (plan && !kept)
        keep_plan(choices, key, plan);
    ddpm_cuda_trial_close(&search.trial);
    return plan;
}

/* The stored choice, or a trial whose result is then stored. False if neither works. */
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
        *plan = kept_choice(device, call, own, key, kept);
    if (!*plan && !ours) {
        if (!choices->said)
            ddpm_log(DDPM_LOG_INFO, "measuring convolution kernels for new shapes");
        choices->said = true;
        known = try_all(device, call, own, key, true, plan) == DDPM_OK;
        if (known && !ddpm_plan_cache_put(choices->cache, key, *plan ? (*plan)->name : OWN))
            ddpm_log(DDPM_LOG_WARNING, "the choice of a convolution's kernel could not be stored: "
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
    /* Without memory for a trial, use our own kernel until the next time. */
    bool good = choices->mode == MODE_AUTO
                    ? measured_choice(device, call, own, key, &plan)
                    : try_all(device, call, own, key, false, &plan) == DDPM_OK;
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
