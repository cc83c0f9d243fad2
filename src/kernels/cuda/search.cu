/* The search for a convolution's plan, see search.cuh.
 *
 * Plans are tried one by one, and made then if no thread has made them ahead. Making one may take a
 * second: once a correct one is found, others are tried only within the device's time for trials.
 */
#include "core/clock.h"
#include "kernels/cuda/ahead.cuh"
#include "kernels/cuda/search.cuh"
#include "kernels/cuda/trial.cuh"

#include <stdio.h>
#include <stdlib.h>

#define CLEARLY_FASTER 0.97f

const struct ddpm_kernel *ddpm_cuda_cudnn_row(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D                 ? &ddpm_cuda_conv2d_cudnn
           : op == DDPM_OP_CONV2D_BACKWARD_DATA ? &ddpm_cuda_conv2d_backward_data_cudnn
                                                : &ddpm_cuda_conv2d_backward_weight_cudnn;
}

int ddpm_cuda_forms_of(const struct ddpm_call *call, struct ddpm_cuda_form forms[2])
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

struct ddpm_cudnn_plan *ddpm_cuda_make_plan(struct ddpm_cudnn *cudnn, const struct ddpm_call *call,
                                            const char *name)
{
    struct ddpm_cudnn_plan *plan = NULL;
    struct ddpm_cudnn_convolution c = ddpm_cuda_cudnn_convolution(call, form_of(call, name));
    return ddpm_cudnn_plans(cudnn, &c, name, 1, 1, &plan) == 1 ? plan : NULL;
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
    ddpm_log(DDPM_LOG_WARNING,
             "skipping cuDNN's %s: a process ended while it made or tried that plan", name);
    return true;
}

static void begin_trial(const struct search *search, const char *name)
{
    if (search->device->choices->cache)
        ddpm_plan_cache_begin_trial(search->device->choices->cache, 0, search->key, name);
}

/* If the device is lost, the process is about to end, and the next one finds the trial. */
static void end_trial(const struct search *search)
{
    if (search->device->choices->cache && !search->lost)
        ddpm_plan_cache_end_trial(search->device->choices->cache, 0);
}

/* Try a plan, and keep it if it is the best so far. False if it did not run. */
static bool try_plan(struct search *search, struct ddpm_cudnn_plan *plan)
{
    const struct ddpm_call *call = &search->trial.call;
    bool good;
    float time = 0.0f;
    ddpm_status tried = ddpm_cuda_trial_run(&search->trial, ddpm_cuda_cudnn_row(call->op), plan,
                                            &good, search->measure ? &time : NULL);
    search->lost = ddpm_cuda_lost(cudaStreamQuery(search->device->compute));
    search->device->choices->lost = search->lost;
    ddpm_log(DDPM_LOG_DEBUG, "%s, cuDNN's %s: %s, %.1f us, own %.1f us",
             call->label ? call->label : "?", plan->name,
             tried != DDPM_OK ? "did not run"
             : good           ? "right"
                              : "wrong result",
             1e3 * (double)time, 1e3 * (double)search->own_time);
    if (tried != DDPM_OK || !good)
        return tried == DDPM_OK;
    search->found = true;
    if (search->measure && time >= search->best_time)
        return true;
    search->best = plan;
    search->best_time = time;
    return true;
}

/* Make the plan with this name, unless a thread has, and try it. False if cuDNN has none. */
static bool try_name(struct search *search, const char *name)
{
    struct ddpm_cuda_choices *choices = search->device->choices;
    const struct ddpm_call *call = &search->trial.call;
    struct ddpm_cudnn_plan *plan = NULL;
    const bool ahead = ddpm_cuda_made_ahead(choices, search->key, name, &plan);
    if (!ahead)
        plan = ddpm_cuda_make_plan(choices->cudnn, call, name);
    if (!plan)
        return false;
    if (try_plan(search, plan) || !ahead || search->lost)
        return true;
    /* It may want the handle with which it was made. */
    plan = ddpm_cuda_make_plan(choices->cudnn, call, name);
    if (plan && try_plan(search, plan)) {
        ddpm_log(DDPM_LOG_INFO, "cuDNN's plans are made one by one: those made by threads do not "
                                "run");
        choices->threads = 1;
        ddpm_cuda_forget_ahead(choices);
    }
    return true;
}

/* Is the best so far good enough to stop searching? */
static bool enough(const struct search *search)
{
    return search->lost ||
           (search->found && (!search->measure || search->device->choices->seconds_left <= 0.0));
}

static void search_form(struct search *search, const struct ddpm_cuda_form *form)
{
    struct ddpm_cuda_choices *choices = search->device->choices;
    const struct ddpm_call *call = &search->trial.call;
    struct ddpm_cudnn_convolution c = ddpm_cuda_cudnn_convolution(call, form->form);
    char names[DDPM_CUDA_MOST_NAMES][DDPM_CUDNN_NAME_BYTES];
    int count = ddpm_cudnn_names(choices->cudnn, &c, DDPM_CUDA_MOST_NAMES, form->compiled, names);
    for (int i = 0, tried = 0; i < count && tried < form->most && !enough(search); ++i) {
        if (has_crashed(search, names[i]))
            continue;
        const double begin = ddpm_now();
        begin_trial(search, names[i]);
        tried += try_name(search, names[i]);
        end_trial(search);
        choices->seconds_left -= ddpm_now() - begin;
    }
}

ddpm_status ddpm_cuda_search(struct ddpm_cuda_device *device, const struct ddpm_call *call,
                             const struct ddpm_kernel *own, const char *key, bool measure,
                             struct ddpm_cudnn_plan **best)
{
    struct search search;
    struct ddpm_cuda_form forms[2];
    ddpm_status status = open_search(&search, device, call, own, key, measure);
    const int count = status == DDPM_OK ? ddpm_cuda_forms_of(call, forms) : 0;
    for (int i = 0; i < count; ++i)
        search_form(&search, &forms[i]);
    ddpm_cuda_trial_close(&search.trial);
    *best = search.best;
    return search.lost ? DDPM_ERROR_DEVICE : status;
}

/* ---- plans of earlier processes ---- */

void ddpm_cuda_keep_plan(struct ddpm_cuda_choices *choices, const char *key,
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
    return plan ? plan : ddpm_cuda_make_plan(choices->cudnn, call, name);
}

struct ddpm_cudnn_plan *ddpm_cuda_search_kept(struct ddpm_cuda_device *device,
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
                plan = ddpm_cuda_make_plan(choices->cudnn, call, name);
                kept = false;
            }
        }
        end_trial(&search);
    }
    if (plan && !kept)
        ddpm_cuda_keep_plan(choices, key, plan);
    ddpm_cuda_trial_close(&search.trial);
    return plan;
}
