/* AdamW and Muon for one weight set. */
#include "training/optimizer.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "training/ema.h"
#include "training/patches.h"

static const double muon_momentum = 0.95;

bool ddpm_second_ema_wanted(const struct ddpm_training_config *config)
{
    return config->ema == DDPM_EMA_POWER && config->ema_second > 0;
}

/* Number of elements in the stretch that is updated. */
static int64_t own_count(const struct ddpm_optimizer *optimizer)
{
    return optimizer->count > 0 ? optimizer->count : optimizer->set->parameters.slab_count;
}

static size_t own_bytes(const struct ddpm_optimizer *optimizer)
{
    return (size_t)own_count(optimizer) * ddpm_dtype_size(optimizer->set->dtype);
}

/* Replace the set's average by one of a stretch. */
static ddpm_status divide_ema(struct ddpm_optimizer *optimizer)
{
    struct ddpm_weight_set *set = optimizer->set;
    const struct ddpm_backend *backend = set->device->backend;
    if (!optimizer->divides_ema)
        return DDPM_OK;
    backend->release(set->device, set->slabs[1]);
    set->slabs[1] = NULL;
    return backend->allocate(set->device, own_bytes(optimizer), "a part of the EMA",
                             &optimizer->ema);
}

ddpm_status ddpm_optimizer_allocate(struct ddpm_optimizer *optimizer)
{
    struct ddpm_weight_set *set = optimizer->set;
    struct ddpm_device *device = set->device;
    const size_t bytes = own_bytes(optimizer);
    DDPM_TRY(divide_ema(optimizer));
    DDPM_TRY(ddpm_weight_set_acquire_gradients(set));
    optimizer->holds_gradients = true;
    if (ddpm_second_ema_wanted(optimizer->config))
        DDPM_TRY(
            device->backend->allocate(device, bytes, "the second EMA", &optimizer->second_ema));
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
    set->device->backend->release(set->device, optimizer->second_ema);
    set->device->backend->release(set->device, optimizer->ema);
    if (optimizer->holds_gradients)
        ddpm_weight_set_release_gradients(set);
    *optimizer = (struct ddpm_optimizer){0};
}

size_t ddpm_optimizer_bytes(const struct ddpm_optimizer *optimizer)
{
    const struct ddpm_weight_set *set = optimizer->set;
    const size_t slabs = ddpm_second_ema_wanted(optimizer->config) ? 3 : 2;
    return slabs * own_bytes(optimizer) + ddpm_weight_set_bytes(set) +
           ddpm_weight_set_copies_bytes(set);
}

size_t ddpm_optimizer_set_bytes(const struct ddpm_optimizer *optimizer)
{
    const size_t bytes = ddpm_weight_set_bytes(optimizer->set);
    return bytes + (optimizer->divides_ema ? own_bytes(optimizer) : bytes);
}

/* Does Muon update it? Yes for a matrix [k, rest] that mixes channels. For a convolution, k must
 * be all of its outputs, which excludes depthwise ones. */
static bool is_matrix(const struct ddpm_parameter *parameter)
{
    return parameter->rank > 1 && parameter->k == parameter->shape[0];
}

/* A matrix takes the products that kernels/cpu/muon.simd.c does: two with all elements, and 17 of
 * small matrices, where all but the last compute only one half. The rest is bound by memory: a core
 * does about 128 multiplications in the time in which it moves 36 bytes, those of an element. */
double ddpm_optimizer_cost(const struct ddpm_training_config *config,
                           const struct ddpm_parameter *parameter)
{
    const double per_element = 128, count = (double)ddpm_parameter_count(parameter);
    const double rows = (double)parameter->k, columns = count / rows;
    const double least = rows < columns ? rows : columns;
    if (config->optimizer != DDPM_MUON || !is_matrix(parameter))
        return per_element * count;
    return per_element * count + 1.5 * least * count + 8.5 * least * least * least;
}

static struct ddpm_value *slab(struct ddpm_graph *graph, const struct ddpm_weight_set *set,
                               void *const *memory)
{
    return ddpm_graph_slab(graph, DDPM_F32, set->parameters.slab_count, memory);
}

/* The updated stretch of a slab of the whole set. */
static struct ddpm_value *own_part(const struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                   struct ddpm_value *whole)
{
    return optimizer->count > 0 && whole
               ? ddpm_graph_view(graph, whole, optimizer->first, optimizer->count)
               : whole;
}

/* A slab that holds only that stretch. */
static struct ddpm_value *own_slab(const struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                   void *const *memory)
{
    return ddpm_graph_slab(graph, DDPM_F32, own_count(optimizer), memory);
}

static struct ddpm_value *average(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph)
{
    return optimizer->divides_ema
               ? own_slab(optimizer, graph, &optimizer->ema)
               : own_part(optimizer, graph, slab(graph, optimizer->set, &optimizer->set->slabs[1]));
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

static int64_t rule_count(int64_t elements)
{
    return (elements + DDPM_RULE_ELEMENTS - 1) / DDPM_RULE_ELEMENTS;
}

static bool is_own(const struct ddpm_optimizer *optimizer, const struct ddpm_parameter *parameter)
{
    return parameter->offset >= optimizer->first &&
           parameter->offset < optimizer->first + own_count(optimizer);
}

static void build_muon(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                       struct ddpm_value *gradients)
{
    const struct ddpm_weight_set *set = optimizer->set;
    struct ddpm_value *weights = slab(graph, set, &set->slabs[0]);
    struct ddpm_value *moments = own_slab(optimizer, graph, &optimizer->m);
    for (size_t i = 0; i < set->parameters.count; ++i) {
        const struct ddpm_parameter *p = &set->parameters.items[i];
        const int64_t count = ddpm_parameter_count(p);
        if (is_matrix(p) && is_own(optimizer, p))
            ddpm_muon(graph, ddpm_graph_view(graph, gradients, p->offset, count), optimizer->norm,
                      optimizer->hyper, ddpm_graph_view(graph, weights, p->offset, count),
                      ddpm_graph_view(graph, moments, p->offset - optimizer->first, count), p->k);
    }
}

void ddpm_optimizer_build_update(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                 struct ddpm_value *losses)
{
    const struct ddpm_weight_set *set = optimizer->set;
    optimizer->update = ddpm_graph_begin_part(graph, "update");
    struct ddpm_value *gradients = slab(graph, set, &set->gradients);
    optimizer->hyper = ddpm_graph_input(graph, DDPM_F32, 1, 1, 1, DDPM_HYPER_COUNT);
    optimizer->norm = optimizer->count > 0 ? ddpm_graph_input(graph, DDPM_F32, 1, 1, 1, 1)
                                           : ddpm_gradient_norm(graph, gradients, losses);
    optimizer->rules = NULL;
    if (optimizer->config->optimizer == DDPM_MUON)
        build_muon(optimizer, graph, gradients);
    if (optimizer->config->optimizer == DDPM_MUON ||
        optimizer->config->decay == DDPM_DECAY_MATRICES)
        optimizer->rules =
            ddpm_graph_input(graph, DDPM_U8, 1, 1, 1, rule_count(own_count(optimizer)));
    const struct ddpm_adamw_options options = {
        .copies = own_part(optimizer, graph, copies(graph, set)),
        .second_ema = ddpm_second_ema_wanted(optimizer->config)
                          ? own_slab(optimizer, graph, &optimizer->second_ema)
                          : NULL,
        .rules = optimizer->rules,
    };
    ddpm_adamw(graph, own_part(optimizer, graph, gradients), optimizer->norm, optimizer->hyper,
               own_part(optimizer, graph, slab(graph, set, &set->slabs[0])),
               own_slab(optimizer, graph, &optimizer->m), own_slab(optimizer, graph, &optimizer->v),
               average(optimizer, graph), &options);
}

/* Norms and biases are vectors in PyTorch; the rest, convolutions and linear layers, decays. */
static uint8_t rule_of(const struct ddpm_optimizer *optimizer,
                       const struct ddpm_parameter *parameter)
{
    const bool decays = optimizer->config->decay == DDPM_DECAY_ALL || parameter->rank > 1;
    const bool steps = optimizer->config->optimizer == DDPM_ADAMW || !is_matrix(parameter);
    return (uint8_t)((steps ? DDPM_RULE_STEPS : 0) | (decays ? DDPM_RULE_DECAYS : 0));
}

ddpm_status ddpm_optimizer_write_rules(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph)
{
    const struct ddpm_parameters *parameters = &optimizer->set->parameters;
    const size_t count = (size_t)rule_count(parameters->slab_count);
    uint8_t *rules;
    if (!optimizer->rules)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&rules, count, 1, "rules of AdamW"));
    for (size_t i = 0; i < parameters->count; ++i) {
        const size_t begin = (size_t)parameters->items[i].offset / DDPM_RULE_ELEMENTS;
        const size_t end = i + 1 < parameters->count
                               ? (size_t)parameters->items[i + 1].offset / DDPM_RULE_ELEMENTS
                               : count;
        memset(rules + begin, rule_of(optimizer, &parameters->items[i]), end - begin);
    }
    ddpm_status status =
        ddpm_graph_write(graph, optimizer->rules, rules + optimizer->first / DDPM_RULE_ELEMENTS);
    free(rules);
    return status;
}

ddpm_status ddpm_optimizer_set_step(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                    int64_t done, double *lr)
{
    const struct ddpm_training_config *config = optimizer->config;
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
        [DDPM_HYPER_MOMENTUM] = (float)muon_momentum,
        [DDPM_HYPER_EMA_DECAY] = (float)ddpm_ema_decay(config, done),
        [DDPM_HYPER_SECOND_DECAY] = (float)ddpm_second_ema_decay(config, done),
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
    const int64_t patches = ddpm_patch_steps(config);
    const int64_t begin = patches > config->warmup ? patches : config->warmup; /* of the decay */
    if (config->lr_schedule == DDPM_LR_CONSTANT || config->steps <= begin || done < begin)
        return config->lr;
    double progress = (double)(done - begin) / (double)(config->steps - begin);
    progress = progress < 1 ? progress : 1;
    if (config->lr_schedule == DDPM_LR_LINEAR)
        return config->lr * (1 - progress);
    return config->lr * 0.5 * (1 + cos(pi * progress));
}

double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done)
{
    if (done % config->ema_every != 0)
        return 1; /* unchanged */
    if (config->ema == DDPM_EMA_POWER)
        return ddpm_power_decay(config->ema_length, ddpm_steps_averaged(config, done + 1),
                                config->ema_every);
    if (done <= config->ema_after)
        return 0; /* copy */
    double n = (double)(done - config->ema_after);
    double decay = 1 - pow(1 + n, -2.0 / 3.0);
    return decay < config->ema_decay ? decay : config->ema_decay;
}

double ddpm_second_ema_decay(const struct ddpm_training_config *config, int64_t done)
{
    if (!ddpm_second_ema_wanted(config) || done % config->ema_every != 0)
        return 1;
    return ddpm_power_decay(config->ema_second, ddpm_steps_averaged(config, done + 1),
                            config->ema_every);
}
