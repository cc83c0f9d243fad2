/* The probability flow of pictures: the network's x̂_0 and Hutchinson's estimate of the trace of
 * its Jacobian, vᵀJv with random signs v that stay fixed along the path (Grathwohl et al. 2019). */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "diffusion/probability_flow.h"
#include "model/likelihood_state.h"

static const double ln_two = 0.69314718055994530942;

/* A batch along the flow. */
struct batch {
    struct ddpm_likelihood *likelihood;
    int64_t first, count; /* number of its first picture; pictures without repeats */
};

/* Places beyond the last picture repeat it. */
static int64_t picture_at(const struct batch *batch, int64_t b)
{
    return b < batch->count ? b : batch->count - 1;
}

static uint32_t random_bits(const struct batch *batch, int64_t b, uint32_t step, int64_t i)
{
    const uint32_t number = (uint32_t)(batch->first + picture_at(batch, b));
    return ddpm_philox(batch->likelihood->options.seed, (uint32_t)(i / 4), number, step,
                       DDPM_STREAM_LIKELIHOOD)
        .v[i % 4];
}

/* The signs of every direction: ±1. */
static void fill_probes(const struct batch *batch)
{
    const struct ddpm_likelihood *l = batch->likelihood;
    float *probe = l->probes;
    for (int64_t k = 0; k < l->options.probes; ++k)
        for (int64_t b = 0; b < l->options.batch; ++b)
            for (int64_t i = 0; i < l->values; ++i) {
                const uint32_t step = DDPM_LIKELIHOOD_PROBE | (uint32_t)k;
                *probe++ = random_bits(batch, b, step, i) >> 31 ? 1.0f : -1.0f;
            }
}

/* A byte's value, placed uniformly in its bin. */
static void fill_pictures(const struct batch *batch, int64_t offset, double *x)
{
    const struct ddpm_likelihood *l = batch->likelihood;
    for (int64_t b = 0; b < l->options.batch; ++b) {
        const uint8_t *picture = l->pictures + (offset + picture_at(batch, b)) * l->values;
        for (int64_t i = 0; i < l->values; ++i) {
            const double place =
                (double)ddpm_uniform(random_bits(batch, b, DDPM_LIKELIHOOD_BYTE, i));
            *x++ = ((double)picture[i] + place - 0.5) / 127.5 - 1;
        }
    }
}

static void take_answer(const struct ddpm_likelihood *l, const struct ddpm_objective_row *row,
                        const double *x, double *x0)
{
    const int64_t channels = l->x->tensor.c, answered = l->answer->tensor.c;
    for (int64_t i = 0; i < l->options.batch * l->values; ++i)
        x0[i] = row->x0_x * x[i] +
                row->x0_out * (double)l->host_answer[i / channels * answered + i % channels];
}

static void add_traces(const struct ddpm_likelihood *l, const float *probe, double weight,
                       double *traces)
{
    for (int64_t b = 0; b < l->options.batch; ++b) {
        double sum = 0;
        for (int64_t i = b * l->values; i < (b + 1) * l->values; ++i)
            sum += (double)probe[i] * (double)l->host_pulled[i];
        traces[b] += weight * sum;
    }
}

static ddpm_status denoise(void *user, const struct ddpm_level *level, const double *x, double *x0,
                           double *traces)
{
    const struct batch *batch = user;
    struct ddpm_likelihood *l = batch->likelihood;
    const int64_t probes = l->options.probes;
    struct ddpm_objective_row row;
    ddpm_objective_fill(&l->network->config.diffusion, level, &row);
    for (int64_t b = 0; b < l->options.batch; ++b) {
        l->host_times[b] = (float)row.c_noise;
        traces[b] = row.x0_x * (double)l->values;
    }
    for (int64_t i = 0; i < l->options.batch * l->values; ++i)
        l->host_x[i] = (float)(row.c_in * x[i]);
    for (int64_t k = 0; k < probes; ++k) {
        const float *probe = l->probes + k * l->options.batch * l->values;
        DDPM_TRY(ddpm_likelihood_answer(
            l)); /* each time, since the backward part overwrites the values it needs */
        if (k == 0)
            take_answer(l, &row, x, x0);
        DDPM_TRY(ddpm_likelihood_pull(l, probe));
        add_traces(l, probe, row.x0_out * row.c_in / (double)probes, traces);
    }
    return ddpm_likelihood_report(l, batch->count * probes);
}

/* A byte's probability is that of its bin, 2/255 wide in every dimension. */
static double bits_of(const struct ddpm_likelihood *l, double log_density)
{
    return -log_density / (double)l->values / ln_two + log2(127.5);
}

static ddpm_status run_batch(struct batch *batch, int64_t offset, double *x)
{
    struct ddpm_likelihood *l = batch->likelihood;
    double *log_density = x + l->options.batch * l->values;
    const struct ddpm_flow flow = {
        .path = &l->path,
        .pictures = l->options.batch,
        .values = l->values,
        .steps = l->options.steps,
        .denoise = denoise,
        .user = batch,
    };
    fill_pictures(batch, offset, x);
    fill_probes(batch);
    DDPM_TRY(ddpm_flow_likelihood(&flow, x, log_density));
    for (int64_t b = 0; b < batch->count; ++b)
        DDPM_TRY(ddpm_likelihood_count_picture(l, bits_of(l, log_density[b]), 0));
    return DDPM_OK;
}

ddpm_status ddpm_likelihood_flow(struct ddpm_likelihood *l, int64_t count)
{
    const int64_t most = l->options.batch, first = ddpm_likelihood_count(l);
    double *x;
    DDPM_TRY(ddpm_new_array((void **)&x, (size_t)most, ((size_t)l->values + 1) * sizeof *x,
                            "pictures on their way through noise"));
    ddpm_status status = DDPM_OK;
    for (int64_t offset = 0; offset < count && status == DDPM_OK; offset += most) {
        struct batch batch = {.likelihood = l,
                              .first = first + offset,
                              .count = count - offset < most ? count - offset : most};
        status = run_batch(&batch, offset, x);
    }
    free(x);
    return status;
}
