/* How likely pictures are under a network: options, and means over pictures. */
#include <math.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "diffusion/probability_flow.h"
#include "diffusion/schedule.h"
#include "model/batch.h"
#include "model/likelihood_state.h"

enum { USUAL_LEVELS = 50, USUAL_STEPS = 32, MOST_PROBES = 100 };
enum { MOST_STEPS = 100000, LARGEST_SIDE = 65536 };

static ddpm_status check_numbers(const struct ddpm_likelihood_options *o)
{
    if (o->batch < 0 || o->batch > INT32_MAX || o->pictures < 0 || o->pictures > INT32_MAX ||
        o->height < 0 || o->height > LARGEST_SIDE || o->width < 0 || o->width > LARGEST_SIDE ||
        o->clip < -1 || o->clip > 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "likelihood: got batch %lld, %lld pictures of %lldx%lld, clip %d; want "
                          "none negative, sides up to 65536, and clip 0, 1 or -1",
                          (long long)o->batch, (long long)o->pictures, (long long)o->height,
                          (long long)o->width, o->clip);
    if (o->levels < 0 || o->levels == 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "likelihood: got %lld levels, want 2 or more",
                          (long long)o->levels);
    if (o->steps < 0 || o->steps > MOST_STEPS || o->probes < 0 || o->probes > MOST_PROBES)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "likelihood: got %lld steps and %lld probes, want at most %d and %d",
                          (long long)o->steps, (long long)o->probes, MOST_STEPS, MOST_PROBES);
    return DDPM_OK;
}

static ddpm_status choose_method(struct ddpm_likelihood *l)
{
    const enum ddpm_objective_kind objective =
        (enum ddpm_objective_kind)l->network->config.diffusion.objective;
    const bool schedule = ddpm_objectives[objective].path == DDPM_PATH_SCHEDULE;
    enum ddpm_likelihood_method *method = &l->options.method;
    if (*method == DDPM_LIKELIHOOD_AUTO)
        *method = schedule ? DDPM_LIKELIHOOD_BOUND : DDPM_LIKELIHOOD_FLOW;
    if (*method != DDPM_LIKELIHOOD_BOUND && *method != DDPM_LIKELIHOOD_FLOW)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "likelihood: got method %d, want one of the enum",
                          (int)*method);
    if (*method == DDPM_LIKELIHOOD_BOUND && !schedule)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "likelihood: got the bound with objective %s, which has no timesteps; "
                          "want the flow",
                          ddpm_objectives[objective].name);
    if (*method == DDPM_LIKELIHOOD_FLOW && schedule && l->network->config.diffusion.timesteps < 2)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "likelihood: got the flow over 1 timestep, want 2 or more");
    return DDPM_OK;
}

/* The bound fills a batch with timesteps. */
static int64_t choose_batch(const struct ddpm_likelihood_options *o)
{
    return ddpm_even_batch(o->method == DDPM_LIKELIHOOD_FLOW ? o->pictures : 0);
}

static ddpm_status fill_in_defaults(struct ddpm_likelihood *l)
{
    const struct ddpm_config *config = &l->network->config;
    struct ddpm_likelihood_options *o = &l->options;
    DDPM_TRY(check_numbers(o));
    DDPM_TRY(ddpm_check_weights(o->weights));
    DDPM_TRY(ddpm_objective_check(&config->diffusion));
    DDPM_TRY(choose_method(l));
    o->height = o->height ? o->height : config->diffusion.image_height;
    o->width = o->width ? o->width : config->diffusion.image_width;
    o->clip = o->clip < 0 ? config->diffusion.clip : o->clip;
    o->levels = o->levels ? o->levels : USUAL_LEVELS;
    if (o->levels > config->diffusion.timesteps)
        o->levels = config->diffusion.timesteps;
    o->steps = o->steps ? o->steps : USUAL_STEPS;
    o->probes = o->probes ? o->probes : 1;
    o->batch = o->batch ? o->batch : choose_batch(o);
    return DDPM_OK;
}

static ddpm_status check_network(struct ddpm_likelihood *l)
{
    const struct ddpm_network *network = l->network;
    const int64_t channels = network->config.network.channels;
    const int64_t out = ddpm_network_out_channels(network);
    if (out != channels && !network->config.network.learned_variance)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "likelihood: got a network with %lld output channels for pictures of "
                          "%lld, want as many",
                          (long long)out, (long long)channels);
    l->clip = l->options.clip != 0;
    l->values = l->options.height * l->options.width * channels;
    l->answers = l->options.height * l->options.width * out;
    return DDPM_OK;
}

/* Which strata form a band: 0 alone, the others evenly. */
static int band_of(const struct ddpm_likelihood *l, int64_t stratum)
{
    const int64_t others = l->stratum_count - 1;
    if (stratum == 0 || others < DDPM_LIKELIHOOD_BANDS)
        return (int)stratum;
    return 1 + (int)((stratum - 1) * (DDPM_LIKELIHOOD_BANDS - 1) / others);
}

static ddpm_status make_strata(struct ddpm_likelihood *l)
{
    const size_t levels = (size_t)l->options.levels;
    if (l->options.method != DDPM_LIKELIHOOD_BOUND)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&l->strata, levels, sizeof *l->strata, "timesteps"));
    DDPM_TRY(ddpm_new_array((void **)&l->terms, levels, sizeof *l->terms, "terms of the bound"));
    DDPM_TRY(ddpm_new_array((void **)&l->of_strata, levels, sizeof *l->of_strata, "means"));
    DDPM_TRY(ddpm_new_array((void **)&l->levels, levels, sizeof *l->levels, "means"));
    DDPM_TRY(ddpm_new_array((void **)&l->places, (size_t)l->options.batch, sizeof *l->places,
                            "levels of a batch"));
    l->stratum_count = ddpm_bound_strata(l->path.timesteps, l->options.levels, l->strata);
    for (int64_t k = 0; k < l->stratum_count; ++k) {
        struct ddpm_likelihood_level *band = &l->bands[band_of(l, k)];
        l->levels[k].first = l->strata[k].first;
        l->levels[k].last = band->last = l->strata[k].last;
        if (k == 0 || band_of(l, k - 1) != band_of(l, k))
            band->first = l->strata[k].first;
    }
    return DDPM_OK;
}

static void describe(struct ddpm_likelihood *l)
{
    struct ddpm_likelihood_result *result = &l->result;
    result->method = l->options.method;
    result->evaluations = DDPM_FLOW_EVALUATIONS * l->options.steps * l->options.probes;
    if (!l->strata)
        return;
    result->evaluations = l->stratum_count;
    result->levels = l->levels;
    result->level_count = (size_t)l->stratum_count;
    result->bands = l->bands;
    result->band_count = (size_t)band_of(l, l->stratum_count - 1) + 1;
}

/* Everything except memory. */
static ddpm_status settle(struct ddpm_likelihood *l, const struct ddpm_likelihood_options *given,
                          bool *may_shrink)
{
    DDPM_TRY(ddpm_take_options(&l->options, sizeof l->options, sizeof(size_t), given,
                               "ddpm_likelihood_options"));
    *may_shrink = l->options.batch == 0;
    DDPM_TRY(fill_in_defaults(l));
    return check_network(l);
}

static ddpm_status prepare(struct ddpm_likelihood *l, const struct ddpm_likelihood_options *given)
{
    bool may_shrink;
    DDPM_TRY(settle(l, given, &may_shrink));
    DDPM_TRY(ddpm_path_create_whole(&l->network->config.diffusion, &l->path));
    DDPM_TRY(ddpm_likelihood_plan(l, may_shrink));
    DDPM_TRY(make_strata(l));
    describe(l);
    return DDPM_OK;
}

ddpm_status ddpm_likelihood_create(struct ddpm_network *network,
                                   const struct ddpm_likelihood_options *options,
                                   struct ddpm_likelihood **out)
{
    struct ddpm_likelihood *l;
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_TRY(ddpm_network_check_use(network, DDPM_WEIGHTS_MODEL));
    DDPM_TRY(DDPM_NEW(&l, "a likelihood"));
    l->network = network;
    ddpm_status status = prepare(l, options);
    if (status != DDPM_OK)
        ddpm_likelihood_destroy(&l);
    *out = l;
    return status;
}

ddpm_status ddpm_likelihood_measure(struct ddpm_network *network,
                                    const struct ddpm_likelihood_options *options,
                                    struct ddpm_memory_plan *out)
{
    struct ddpm_likelihood l = {.network = network};
    bool may_shrink;
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(out);
    ddpm_status status = settle(&l, options, &may_shrink);
    if (status == DDPM_OK)
        status = ddpm_likelihood_lay_out(&l, out);
    ddpm_graph_destroy(&l.graph);
    return status;
}

void ddpm_likelihood_destroy(struct ddpm_likelihood **likelihood)
{
    struct ddpm_likelihood *l = likelihood ? *likelihood : NULL;
    if (!l)
        return;
    void *const arrays[] = {l->staging, l->host_times, l->host_x,      l->host_answer,
                            l->probes,  l->strata,     l->terms,       l->of_strata,
                            l->levels,  l->places,     l->host_pulled, l->of_pictures};
    ddpm_graph_destroy(&l->graph);
    ddpm_path_clear(&l->path);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i)
        free(arrays[i]);
    free(l);
    *likelihood = NULL;
}

ddpm_status ddpm_likelihood_report(struct ddpm_likelihood *l, int64_t evaluations)
{
    const struct ddpm_likelihood_options *o = &l->options;
    l->done += evaluations;
    if (o->callback && o->callback(o->user, l->done, l->to_do) != 0)
        return ddpm_raise(DDPM_STOPPED, "stopped by the caller after %lld pictures",
                          (long long)l->result.pictures);
    return DDPM_OK;
}

int64_t ddpm_likelihood_count(const struct ddpm_likelihood *l)
{
    return l->result.pictures;
}

/* Add the `count`-th value. */
static void run_mean(struct ddpm_running_mean *mean, double value, int64_t count)
{
    const double ahead = value - mean->mean;
    mean->mean += ahead / (double)count;
    mean->squares += ahead * (value - mean->mean);
}

ddpm_status ddpm_likelihood_count_picture(struct ddpm_likelihood *l, double bits, double prior)
{
    const int64_t count = l->result.pictures + 1;
    double of_bands[DDPM_LIKELIHOOD_BANDS] = {0};
    if (!isfinite(bits))
        return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                          "picture %lld: got a likelihood that is not finite; check the weights",
                          (long long)(count - 1));
    DDPM_TRY(ddpm_grow_array((void **)&l->of_pictures, &l->capacity, (size_t)count,
                             sizeof *l->of_pictures, "likelihoods"));
    l->of_pictures[count - 1] = bits;
    l->result.pictures = count;
    run_mean(&l->total, bits, count);
    run_mean(&l->prior, prior, count);
    for (int64_t k = 0; k < l->stratum_count; ++k) {
        run_mean(&l->of_strata[k], l->terms[k], count);
        of_bands[band_of(l, k)] += l->terms[k];
    }
    for (int k = 0; k < DDPM_LIKELIHOOD_BANDS; ++k)
        run_mean(&l->of_bands[k], of_bands[k], count);
    return DDPM_OK;
}

ddpm_status ddpm_likelihood_add(struct ddpm_likelihood *likelihood, const uint8_t *pictures,
                                int64_t count, size_t bytes)
{
    struct ddpm_likelihood *l = likelihood;
    DDPM_REQUIRE(likelihood);
    DDPM_REQUIRE(pictures);
    if (count < 1 || count > INT32_MAX - l->result.pictures)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "likelihood: got %lld pictures, want 1 to %lld",
                          (long long)count, (long long)(INT32_MAX - l->result.pictures));
    DDPM_TRY(ddpm_check_length("likelihood: pictures", bytes, (double)count * (double)l->values));
    l->pictures = pictures;
    l->done = 0;
    l->to_do = count * l->result.evaluations;
    return l->strata ? ddpm_likelihood_bound(l, count) : ddpm_likelihood_flow(l, count);
}

static struct ddpm_likelihood_mean mean_of(const struct ddpm_running_mean *mean, int64_t count)
{
    const double n = (double)count;
    return (struct ddpm_likelihood_mean){
        .bits = mean->mean, .error = count > 1 ? sqrt(mean->squares / (n - 1) / n) : 0};
}

const struct ddpm_likelihood_result *ddpm_likelihood_result(struct ddpm_likelihood *l)
{
    if (!l)
        return NULL;
    const int64_t count = l->result.pictures;
    l->result.total = mean_of(&l->total, count);
    l->result.prior = mean_of(&l->prior, count);
    l->result.of_pictures = l->of_pictures;
    for (int64_t k = 0; k < l->stratum_count; ++k)
        l->levels[k].mean = mean_of(&l->of_strata[k], count);
    for (size_t k = 0; k < l->result.band_count; ++k)
        l->bands[k].mean = mean_of(&l->of_bands[k], count);
    return &l->result;
}

const struct ddpm_likelihood_options *ddpm_likelihood_in_force(const struct ddpm_likelihood *l)
{
    return l ? &l->options : NULL;
}
