/* AdamW over one weight set. */
#include "training/optimizer.h"

#include <math.h>

ddpm_status ddpm_optimizer_allocate(struct ddpm_optimizer *optimizer, struct ddpm_weight_set *set)
{
    struct ddpm_device *device = set->device;
    const size_t bytes = ddpm_weight_set_bytes(set);
    optimizer->set = set;
    DDPM_TRY(ddpm_weight_set_acquire_gradients(set));
    optimizer->holds_gradients = true;
    DDPM_TRY(device->backend->allocate(device, bytes, "AdamW's first moments", &optimizer->m));
    return device->backend->allocate(device, bytes, "AdamW's second moments", &optimizer->v);
}

void ddpm_optimizer_release(struct ddpm_optimizer *optimizer)
{
    struct ddpm_weight_set *set = optimizer->set;
    if (!set || !set->device)
        return;
    set->device->backend->release(set->device, optimizer->m);
    set->device->backend->release(set->device, optimizer->v);
    if (optimizer->holds_gradients)
        ddpm_weight_set_release_gradients(set);
    *optimizer = (struct ddpm_optimizer){0};
}

size_t ddpm_optimizer_bytes(const struct ddpm_weight_set *set)
{
    return 3 * ddpm_weight_set_bytes(set) + ddpm_weight_set_copies_bytes(set);
}

static struct ddpm_value *slab(struct ddpm_graph *graph, const struct ddpm_weight_set *set,
                               void *const *memory)
{
    return ddpm_graph_slab(graph, DDPM_F32, set->parameters.slab_count, memory);
}

static struct ddpm_value *copies(struct ddpm_graph *graph, const struct ddpm_weight_set *set)
{
    return set->keeps_copies
               ? ddpm_graph_slab(graph, DDPM_BF16, set->parameters.slab_count, &set->copies)
               : NULL;
}

void ddpm_optimizer_build_copy(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph)
{
    const struct ddpm_weight_set *set = optimizer->set;
    optimizer->copy = -1;
    if (!set->keeps_copies)
        return;
    optimizer->copy = ddpm_graph_begin_part(graph, "copy weights");
    ddpm_copy_weights(graph, slab(graph, set, &set->slabs[0]), copies(graph, set));
}

void ddpm_optimizer_build_update(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                 struct ddpm_value *losses)
{
    const struct ddpm_weight_set *set = optimizer->set;
    optimizer->update = ddpm_graph_begin_part(graph, "update");
    struct ddpm_value *gradients = slab(graph, set, &set->gradients);
    optimizer->hyper = ddpm_graph_input(graph, DDPM_F32, 1, 1, 1, DDPM_HYPER_COUNT);
    optimizer->norm = ddpm_gradient_norm(graph, gradients, losses);
    ddpm_adamw(graph, gradients, optimizer->norm, optimizer->hyper,
               slab(graph, set, &set->slabs[0]), slab(graph, set, &optimizer->m),
               slab(graph, set, &optimizer->v), slab(graph, set, &set->slabs[1]),
               copies(graph, set));
}

ddpm_status ddpm_optimizer_set_step(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                    const struct ddpm_training_config *config, int64_t done,
                                    double *lr)
{
    const double k = (double)(done + 1);
    *lr = ddpm_learning_rate(config, done);
    const float hyper[DDPM_HYPER_COUNT] = {
        [DDPM_HYPER_LR] = (float)*lr,
        [DDPM_HYPER_BETA1] = (float)config->beta1,
        [DDPM_HYPER_BETA2] = (float)config->beta2,
        [DDPM_HYPER_EPS] = (float)config->eps,
        [DDPM_HYPER_WEIGHT_DECAY] = (float)config->weight_decay,
        [DDPM_HYPER_CORRECTION1] = (float)(1 - pow(config->beta1, k)),
        [DDPM_HYPER_CORRECTION2] = (float)(1 - pow(config->beta2, k)),
        [DDPM_HYPER_MAX_NORM] = (float)config->max_grad_norm,
        [DDPM_HYPER_EMA_DECAY] = (float)ddpm_ema_decay(config, done),
    };
    return ddpm_graph_write(graph, optimizer->hyper, hyper);
}

ddpm_status ddpm_optimizer_refresh_copies(struct ddpm_optimizer *optimizer,
                                          struct ddpm_graph *graph)
{
    struct ddpm_weight_set *set = optimizer->set;
    if (optimizer->copy < 0 || set->copies_version == set->version)
        return DDPM_OK;
    DDPM_TRY(ddpm_graph_run(graph, optimizer->copy));
    set->copies_version = set->version;
    return DDPM_OK;
}

double ddpm_learning_rate(const struct ddpm_training_config *config, int64_t done)
{
    const double pi = 3.14159265358979323846;
    if (done < config->warmup)
        return config->lr * (double)(done + 1) / (double)config->warmup;
    if (config->lr_schedule == DDPM_LR_CONSTANT || config->steps <= config->warmup)
        return config->lr;
    double progress = (double)(done - config->warmup) / (double)(config->steps - config->warmup);
    return config->lr * 0.5 * (1 + cos(pi * (progress < 1 ? progress : 1)));
}

double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done)
{
    if (done % config->ema_every != 0)
        return 1; /* leave it */
    if (done <= config->ema_after)
        return 0; /* copy */
    double n = (double)(done - config->ema_after);
    double decay = 1 - pow(1 + n, -2.0 / 3.0);
    return decay < config->ema_decay ? decay : config->ema_decay;
}
