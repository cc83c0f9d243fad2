/* Samplers: plan a chain once, then draw as often as you like.
 *
 * diffusion/sampler.h computes on the host what each turn does. Here a turn becomes a row of
 * coefficients and parts of a graph (sampler_graph.c). Picture k takes its noise from (seed,
 * stream, turns left, k), so it is the same in any batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "model/batch.h"
#include "model/sampler_state.h"
#include "tensor/layout.h"

/* The index of a name in the table, or DDPM_SAMPLER_AUTO for "auto". */
static ddpm_status sampler_by_name(const char *name, int *out)
{
    const struct ddpm_sampler_kind *kind;
    *out = DDPM_SAMPLER_AUTO;
    if (strcmp(name, "auto") == 0)
        return DDPM_OK;
    DDPM_TRY(ddpm_sampler_find(name, &kind));
    *out = (int)(kind - ddpm_samplers);
    return DDPM_OK;
}

static ddpm_status spacing_by_name(const char *name, int *out)
{
    const struct ddpm_spacing *spacing;
    *out = DDPM_SPACING_AUTO;
    if (strcmp(name, "auto") == 0)
        return DDPM_OK;
    DDPM_TRY(ddpm_spacing_find(name, &spacing));
    *out = (int)(spacing - ddpm_spacings);
    return DDPM_OK;
}

static ddpm_status start_by_name(const char *name, int *out)
{
    for (*out = 0; ddpm_start_names[*out]; ++*out)
        if (strcmp(name, ddpm_start_names[*out]) == 0)
            return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown start %s; want auto, noise or fitted", name);
}

/* Why the chain cannot have a fitted start; NULL: it can. */
static const char *no_fitted_start(const struct ddpm_sampler *sampler)
{
    const struct ddpm_sampler_options *options = &sampler->options;
    const struct ddpm_start *start = sampler->network->start;
    if (options->from || options->invert)
        return "drawing starts from a picture";
    if (!start)
        return "this model has none: its checkpoint has no start.safetensors";
    if (start->shape.height != options->height || start->shape.width != options->width ||
        start->shape.channels != sampler->network->config.network.channels)
        return "it only fits pictures of the size that the model was trained on";
    if (!isfinite(start->level))
        return "the training pictures are too far from a normal distribution";
    return NULL;
}

static ddpm_status choose_start(struct ddpm_sampler *sampler,
                                const struct ddpm_sampling_config *wanted)
{
    const struct ddpm_diffusion_config *diffusion = &sampler->network->config.diffusion;
    struct ddpm_chain *chain = &sampler->chain;
    const bool learned = diffusion->drawing_level > 0;
    const bool asked = wanted->start == DDPM_START_FITTED;
    sampler->options.start = "noise";
    if (!sampler->network->weights.slabs[0]) /* only measured: the start is not read yet */
        return DDPM_OK;
    if (learned && sampler->options.from) /* the first level shows enough of the picture */
        return DDPM_OK;
    const char *reason = no_fitted_start(sampler);
    if (learned && (reason || wanted->start == DDPM_START_NOISE))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "this model was distilled to draw from a fitted start%s%s",
                          reason ? ", but " : "; want start fitted", reason ? reason : "");
    if (reason && asked)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got start fitted, but %s; want start noise",
                          reason);
    if (reason || !ddpm_chain_prefers_fitted(chain, wanted, diffusion))
        return DDPM_OK;
    sampler->options.start = "fitted";
    ddpm_chain_start_fitted(chain, wanted, diffusion, sampler->network->start->level);
    return DDPM_OK;
}

/* Apply `from`, `invert` and `mask` to the chain. For an inversion, a configured sampler that draws
 * noise is replaced by ddim; one named by the caller is an error. */
static ddpm_status give(struct ddpm_sampler *sampler)
{
    struct ddpm_sampler_options *options = &sampler->options;
    const struct ddpm_chain_given given = {.from = options->from != 0,
                                           .strength = options->strength,
                                           .invert = options->invert != 0,
                                           .mask = options->mask != 0,
                                           .resample = options->resample,
                                           .jump = options->jump};
    const int64_t distilled = sampler->network->config.diffusion.drawing_steps;
    if (given.invert && distilled)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got invert with a model that was distilled to draw in %lld step%s, want "
                          "an ordinary one",
                          (long long)distilled, distilled == 1 ? "" : "s");
    if (given.invert && !options->sampler && options->eta == 0 && options->churn == 0)
        ddpm_chain_quieten(&sampler->chain);
    DDPM_TRY(ddpm_chain_give(&sampler->chain, &given));
    options->resample = sampler->chain.given.resample;
    options->jump = sampler->chain.given.jump;
    return DDPM_OK;
}

/* Choose the chain: the configured one with the options on top, or the options' own. Then store
 * what is used in the options. */
static ddpm_status choose_chain(struct ddpm_sampler *sampler)
{
    const struct ddpm_config *config = &sampler->network->config;
    struct ddpm_sampler_options *options = &sampler->options;
    struct ddpm_sampling_config wanted = {.spacing = DDPM_SPACING_AUTO};
    if (options->sampler)
        DDPM_TRY(sampler_by_name(options->sampler, &wanted.sampler));
    else
        wanted = config->sampling;
    if (options->spacing)
        DDPM_TRY(spacing_by_name(options->spacing, &wanted.spacing));
    if (options->start)
        DDPM_TRY(start_by_name(options->start, &wanted.start));
    wanted.steps = options->steps ? options->steps : wanted.steps;
    wanted.order = options->order ? options->order : wanted.order;
    wanted.eta = options->eta != 0 ? options->eta : wanted.eta;
    wanted.churn = options->churn != 0 ? options->churn : wanted.churn;
    wanted.churn_min = options->churn_min != 0 ? options->churn_min : wanted.churn_min;
    wanted.churn_max = options->churn_max != 0 ? options->churn_max : wanted.churn_max;
    wanted.churn_noise = options->churn_noise != 0 ? options->churn_noise : wanted.churn_noise;
    wanted.threshold = options->threshold != 0 ? options->threshold : wanted.threshold;
    sampler->chain = ddpm_chain_of(&wanted, &config->diffusion);
    if ((options->from || options->invert) && wanted.sampler == DDPM_SAMPLER_AUTO) {
        /* The few steps of `auto` are too coarse to run in part or backwards. */
        wanted.sampler = (int)(sampler->chain.kind - ddpm_samplers);
        sampler->chain = ddpm_chain_of(&wanted, &config->diffusion);
    }
    sampler->chain.learned_variance = config->network.learned_variance;
    DDPM_TRY(choose_start(sampler, &wanted));
    DDPM_TRY(give(sampler));
    options->sampler = sampler->chain.kind->name;
    options->spacing = sampler->chain.spacing->name;
    options->steps = sampler->chain.steps;
    options->eta = sampler->chain.eta;
    options->order = sampler->chain.order;
    options->churn = sampler->chain.churn;
    options->churn_min = sampler->chain.churn_min;
    options->churn_max = sampler->chain.churn_max;
    options->churn_noise = sampler->chain.churn_noise;
    options->threshold = sampler->chain.threshold;
    return DDPM_OK;
}

static ddpm_status check_numbers(const struct ddpm_sampler_options *options)
{
    const struct {
        const char *name;
        int64_t value, most;
    } numbers[] = {{"batch", options->batch, INT32_MAX},
                   {"height", options->height, INT64_MAX},
                   {"width", options->width, INT64_MAX},
                   {"steps", options->steps, INT64_MAX}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; ++i)
        if (numbers[i].value < 0 || numbers[i].value > numbers[i].most)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampler: %s: got %lld, want 0 or %s",
                              numbers[i].name, (long long)numbers[i].value,
                              numbers[i].value < 0 ? "more" : "a number below 2^31");
    if (options->clip < -1 || options->clip > 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampler: clip: got %d, want 0, 1 or -1",
                          options->clip);
    return DDPM_OK;
}

/* Fill in defaults for what the caller left unset. */
static ddpm_status fill_in_defaults(struct ddpm_sampler *sampler)
{
    const struct ddpm_diffusion_config *diffusion = &sampler->network->config.diffusion;
    struct ddpm_sampler_options *options = &sampler->options;
    if (options->pictures < 0 || options->pictures > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampling: pictures: got %lld, want 0 to %d",
                          (long long)options->pictures, INT32_MAX);
    DDPM_TRY(check_numbers(options));
    if (!options->height)
        options->height = diffusion->image_height;
    if (!options->width)
        options->width = diffusion->image_width;
    if (options->clip < 0)
        options->clip = diffusion->clip;
    if (!options->batch)
        options->batch = ddpm_even_batch(options->pictures);
    if (options->pictures && options->batch > options->pictures)
        options->batch = options->pictures;
    return choose_chain(sampler);
}

static ddpm_status check_network(struct ddpm_sampler *sampler)
{
    const struct ddpm_network *network = sampler->network;
    const int64_t channels = network->config.network.channels;
    const int64_t out = ddpm_network_out_channels(network);
    sampler->objective = &ddpm_objectives[network->config.diffusion.objective];
    DDPM_TRY(ddpm_objective_check(&network->config.diffusion));
    if (out != channels && !network->config.network.learned_variance)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "a network with %lld output channels for pictures of %lld cannot be "
                          "sampled",
                          (long long)out, (long long)channels);
    return DDPM_OK;
}

static ddpm_status make_turns(struct ddpm_sampler *sampler)
{
    const struct ddpm_chain *chain = &sampler->chain;
    DDPM_TRY(ddpm_chain_turns(chain, &sampler->network->config.diffusion,
                              sampler->options.clip != 0, &sampler->turns));
    const struct ddpm_turns *turns = &sampler->turns;
    if (chain->start > 0)
        sampler->chain.start = turns->noise / turns->picture; /* the first level, exactly */
    sampler->steps = turns->count ? (int64_t)turns->items[turns->count - 1].step + 1 : 0;
    sampler->evaluations = (int64_t)ddpm_turns_evaluations(&sampler->turns);
    ddpm_chain_text(chain, sampler->description);
    return DDPM_OK;
}

static ddpm_status build(void *sampler)
{
    return ddpm_sampler_build(sampler);
}

static ddpm_status allocate_host(struct ddpm_sampler *sampler)
{
    const size_t batch = (size_t)sampler->options.batch;
    const size_t count = (size_t)ddpm_tensor_count(&sampler->x->tensor);
    DDPM_TRY(
        ddpm_new_array((void **)&sampler->host_counters, 4 * batch, sizeof(int32_t), "counters"));
    DDPM_TRY(ddpm_new_array((void **)&sampler->host_rows, batch * DDPM_TURN_COLUMNS, sizeof(float),
                            "coefficients"));
    DDPM_TRY(ddpm_new_array((void **)&sampler->host_x, count, sizeof(float), "pictures"));
    return ddpm_new_array((void **)&sampler->planar_x, count, sizeof(float), "pictures");
}

static ddpm_status take_options(struct ddpm_network *network,
                                const struct ddpm_sampler_options *given,
                                struct ddpm_sampler *sampler)
{
    sampler->network = network;
    DDPM_TRY(ddpm_take_options(&sampler->options, sizeof sampler->options, sizeof(size_t), given,
                               "ddpm_sampler_options"));
    return ddpm_check_weights(sampler->options.weights);
}

/* Everything except memory. */
static ddpm_status prepare(struct ddpm_sampler *sampler)
{
    DDPM_TRY(fill_in_defaults(sampler));
    DDPM_TRY(check_network(sampler));
    return make_turns(sampler);
}

ddpm_status ddpm_sampler_create(struct ddpm_network *network,
                                const struct ddpm_sampler_options *options,
                                struct ddpm_sampler **out)
{
    struct ddpm_sampler *sampler;
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_TRY(ddpm_network_check_use(network, DDPM_WEIGHTS_MODEL));
    DDPM_TRY(DDPM_NEW(&sampler, "a sampler"));
    ddpm_status status = take_options(network, options, sampler);
    const bool may_shrink = sampler->options.batch == 0;
    if (status == DDPM_OK)
        status = prepare(sampler);
    if (status == DDPM_OK && sampler->chain.start > 0 && network->start)
        status = ddpm_start_copy(network->start, &sampler->start);
    if (status == DDPM_OK)
        status = ddpm_plan_batch(network->device, &sampler->graph, &sampler->options.batch,
                                 may_shrink, build, sampler, "drawing");
    if (status == DDPM_OK)
        status = allocate_host(sampler);
    if (status != DDPM_OK)
        ddpm_sampler_destroy(&sampler);
    *out = sampler;
    return status;
}

void ddpm_sampler_destroy(struct ddpm_sampler **sampler)
{
    struct ddpm_sampler *s = sampler ? *sampler : NULL;
    if (!s)
        return;
    ddpm_sampler_release_recordings(s);
    ddpm_graph_destroy(&s->graph);
    ddpm_turns_clear(&s->turns);
    ddpm_start_free(&s->start);
    free(s->host_counters);
    free(s->host_rows);
    free(s->host_x);
    free(s->planar_x);
    free(s);
    *sampler = NULL;
}

ddpm_status ddpm_sampler_measure(struct ddpm_network *network,
                                 const struct ddpm_sampler_options *options,
                                 struct ddpm_memory_plan *out)
{
    struct ddpm_sampler sampler = {0};
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(out);
    ddpm_status status = take_options(network, options, &sampler);
    if (status == DDPM_OK)
        status = prepare(&sampler);
    if (status == DDPM_OK)
        status = ddpm_sampler_build(&sampler);
    if (status == DDPM_OK)
        status = ddpm_graph_lay_out(sampler.graph, network->device);
    if (status == DDPM_OK)
        *out = (struct ddpm_memory_plan){
            .activations = sampler.graph->arena_bytes,
            .packed = sampler.graph->packed_bytes,
            .host = 2 * ddpm_tensor_bytes(&sampler.x->tensor),
            .available = ddpm_device_available(network->device),
            .flops_per_step = ddpm_graph_flops(sampler.graph, sampler.parts.evaluate)};
    ddpm_graph_destroy(&sampler.graph);
    ddpm_turns_clear(&sampler.turns);
    return status;
}

size_t ddpm_sampler_picture_bytes(const struct ddpm_sampler *sampler)
{
    if (!sampler)
        return 0;
    const struct ddpm_tensor *x = &sampler->x->tensor;
    return (size_t)(x->h * x->w * x->c);
}

int64_t ddpm_sampler_steps(const struct ddpm_sampler *sampler)
{
    return sampler ? sampler->steps : 0;
}

int64_t ddpm_sampler_evaluations(const struct ddpm_sampler *sampler)
{
    return sampler ? sampler->evaluations : 0;
}

const struct ddpm_sampler_options *ddpm_sampler_in_force(const struct ddpm_sampler *sampler)
{
    return sampler ? &sampler->options : NULL;
}

const char *ddpm_sampler_description(const struct ddpm_sampler *sampler)
{
    return sampler ? sampler->description : "";
}

size_t ddpm_sampler_count(void)
{
    return ddpm_samplers_count;
}

struct ddpm_sampler_info ddpm_sampler_at(size_t index)
{
    if (index >= ddpm_samplers_count)
        return (struct ddpm_sampler_info){0};
    return (struct ddpm_sampler_info){ddpm_samplers[index].name, ddpm_samplers[index].help};
}
