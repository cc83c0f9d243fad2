/* The variational bound of pictures: evaluate the network at some timesteps of each, with noise
 * that is a function of (seed, picture, timestep). */
#include "core/random.h"
#include "diffusion/variance.h"
#include "model/likelihood_state.h"

static const double ln_two = 0.69314718055994530942;

/* Evaluation e of a call: a stratum of a picture. */
struct evaluation {
    const uint8_t *picture;
    uint32_t number; /* of the picture, counted from the first one added */
    int64_t stratum;
};

static struct evaluation evaluation_at(const struct ddpm_likelihood *l, int64_t first, int64_t e)
{
    const int64_t picture = e / l->stratum_count;
    return (struct evaluation){.picture = l->pictures + picture * l->values,
                               .number = (uint32_t)(first + picture),
                               .stratum = e % l->stratum_count};
}

static double value_of(uint8_t byte)
{
    return (double)byte / 127.5 - 1;
}

/* Put evaluation `at` at position b of the batch: x_t and the time for the network. */
static void place(struct ddpm_likelihood *l, const struct evaluation *at, int64_t b)
{
    const uint64_t seed = l->options.seed;
    float *x = l->host_x + b * l->values;
    struct ddpm_objective_row row;
    const int64_t t = ddpm_bound_timestep(&l->strata[at->stratum], at->stratum, seed, at->number);
    l->places[b] = ddpm_bound_term(&l->path, t);
    const struct ddpm_level *level = &l->places[b].level;
    ddpm_objective_fill(&l->network->config.diffusion, level, &row);
    l->host_times[b] = (float)row.c_noise;
    ddpm_fill_normal(x, l->values, seed, DDPM_STREAM_LIKELIHOOD, (uint32_t)t, at->number);
    for (int64_t i = 0; i < l->values; ++i)
        x[i] = (float)(row.c_in *
                       (level->alpha * value_of(at->picture[i]) + level->sigma * (double)x[i]));
}

static double clamp(double x)
{
    return x < -1 ? -1 : x > 1 ? 1 : x;
}

/* The term of the evaluation at position b, in bits per dimension. */
static double bits_of(const struct ddpm_likelihood *l, const struct evaluation *at, int64_t b)
{
    const struct ddpm_bound_term *term = &l->places[b];
    const struct ddpm_variance *variance = &term->variance;
    const int64_t channels = l->x->tensor.c, answered = l->answer->tensor.c;
    const float *x = l->host_x + b * l->values, *answer = l->host_answer + b * l->answers;
    struct ddpm_objective_row row;
    double nats = 0;
    ddpm_objective_fill(&l->network->config.diffusion, &term->level, &row);
    for (int64_t i = 0; i < l->values; ++i) {
        const float *pixel = answer + i / channels * answered + i % channels;
        const double x0 = row.x0_x * (double)x[i] / row.c_in + row.x0_out * (double)pixel[0];
        double log_variance = variance->lowest;
        if (answered > channels)
            log_variance +=
                ((double)pixel[channels] + 1) / 2 * (variance->highest - variance->lowest);
        nats +=
            ddpm_bound_nats(term, value_of(at->picture[i]), l->clip ? clamp(x0) : x0, log_variance);
    }
    return nats / (double)l->values / ln_two;
}

static double prior_bits(const struct ddpm_likelihood *l, const uint8_t *picture)
{
    double nats = 0;
    for (int64_t i = 0; i < l->values; ++i)
        nats += ddpm_bound_prior(&l->path, value_of(picture[i]));
    return nats / (double)l->values / ln_two;
}

/* All strata of a picture are done. */
static ddpm_status finish(struct ddpm_likelihood *l, const uint8_t *picture)
{
    const double prior = prior_bits(l, picture);
    double bits = prior;
    for (int64_t k = 0; k < l->stratum_count; ++k)
        bits += l->terms[k];
    return ddpm_likelihood_count_picture(l, bits, prior);
}

static ddpm_status run_batch(struct ddpm_likelihood *l, int64_t first, int64_t e, int64_t end)
{
    const int64_t batch = l->options.batch, count = end - e < batch ? end - e : batch;
    for (int64_t b = 0; b < batch; ++b) {
        const struct evaluation at = evaluation_at(l, first, b < count ? e + b : end - 1);
        place(l, &at, b);
    }
    DDPM_TRY(ddpm_likelihood_answer(l));
    for (int64_t b = 0; b < count; ++b) {
        const struct evaluation at = evaluation_at(l, first, e + b);
        const struct ddpm_bound_stratum *stratum = &l->strata[at.stratum];
        l->terms[at.stratum] = (double)(stratum->last - stratum->first + 1) * bits_of(l, &at, b);
        if (at.stratum == l->stratum_count - 1)
            DDPM_TRY(finish(l, at.picture));
    }
    return ddpm_likelihood_report(l, count);
}

ddpm_status ddpm_likelihood_bound(struct ddpm_likelihood *l, int64_t count)
{
    const int64_t first = ddpm_likelihood_count(l), evaluations = count * l->stratum_count;
    for (int64_t e = 0; e < evaluations; e += l->options.batch)
        DDPM_TRY(run_batch(l, first, e, evaluations));
    return DDPM_OK;
}
