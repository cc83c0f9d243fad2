/* Noise schedules: linear (Ho et al. 2020), cosine (Nichol & Dhariwal 2021), sigmoid (Jabri et al.
 * 2022). */
#include "diffusion/schedule.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "kernels/kernels.h"

static const double pi = 3.14159265358979323846;

/* From s·1e-4 to s·0.02 in equal steps, s = 1000/T. */
static void linear_betas(const struct ddpm_diffusion_config *config, double *betas)
{
    const int64_t count = config->timesteps;
    const double scale = 1000.0 / (double)count;
    const double first = scale * 1e-4, last = scale * 0.02;
    for (int64_t t = 0; t < count; ++t)
        betas[t] = count == 1 ? first : first + (last - first) * (double)t / (double)(count - 1);
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* ᾱ(u) at u = i/T; β_t = 1 - ᾱ((t+1)/T)/ᾱ(t/T), clipped. */
static void betas_from_alpha_bar(const struct ddpm_diffusion_config *config, double *betas,
                                 double (*alpha_bar)(const struct ddpm_diffusion_config *, double),
                                 double low, double high)
{
    const double count = (double)config->timesteps;
    for (int64_t t = 0; t < config->timesteps; ++t) {
        double ratio =
            alpha_bar(config, (double)(t + 1) / count) / alpha_bar(config, (double)t / count);
        betas[t] = isnan(ratio) ? NAN : clamp(1 - ratio, low, high);
    }
}

static double cosine_alpha_bar(const struct ddpm_diffusion_config *config, double u)
{
    const double s = config->cosine_s;
    double f = cos((u + s) / (1 + s) * pi / 2);
    double f0 = cos(s / (1 + s) * pi / 2);
    return f * f / (f0 * f0);
}

static void cosine_betas(const struct ddpm_diffusion_config *config, double *betas)
{
    betas_from_alpha_bar(config, betas, cosine_alpha_bar, 1e-4, 0.9999);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double sigmoid_alpha_bar(const struct ddpm_diffusion_config *config, double u)
{
    const double start = config->sigmoid_start, end = config->sigmoid_end,
                 tau = config->sigmoid_tau;
    double v0 = sigmoid(start / tau), v1 = sigmoid(end / tau);
    return (v1 - sigmoid((u * (end - start) + start) / tau)) / (v1 - v0); /* 1 at u = 0 */
}

static void sigmoid_betas(const struct ddpm_diffusion_config *config, double *betas)
{
    betas_from_alpha_bar(config, betas, sigmoid_alpha_bar, 0, 0.999);
}

const struct ddpm_schedule ddpm_schedules[] = {
    [DDPM_SCHEDULE_LINEAR] = {"linear", "beta rises evenly (Ho et al. 2020)", linear_betas},
    [DDPM_SCHEDULE_COSINE] = {"cosine", "squared cosine (Nichol & Dhariwal 2021)", cosine_betas},
    [DDPM_SCHEDULE_SIGMOID] = {"sigmoid", "sigmoid (Jabri et al. 2022)", sigmoid_betas},
};
const size_t ddpm_schedule_count = sizeof ddpm_schedules / sizeof *ddpm_schedules;

static ddpm_status check_open_unit(const char *schedule, const char *table, const double *values,
                                   int64_t count)
{
    for (int64_t t = 0; t < count; ++t)
        if (!(values[t] > 0 && values[t] < 1))
            return ddpm_raise(
                DDPM_ERROR_ARGUMENT,
                "schedule %s: got %s = %g at t = %lld of %lld, want a value between 0 "
                "and 1; change the timesteps or the schedule's arguments",
                schedule, table, values[t], (long long)t, (long long)count);
    return DDPM_OK;
}

static ddpm_status check_finite(const struct ddpm_diffusion_tables *tables, const char *schedule)
{
    const float *first = tables->betas;
    const float *end = tables->reverse + tables->timesteps * DDPM_REVERSE_COLUMNS;
    for (const float *value = first; value < end; ++value)
        if (!isfinite(*value))
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "schedule %s: a table is not finite", schedule);
    return DDPM_OK;
}

static void fill_row(struct ddpm_diffusion_tables *tables, int64_t t, double beta, double bar,
                     double bar_before)
{
    const double alpha = 1 - beta;
    const double variance = beta * (1 - bar_before) / (1 - bar);
    tables->betas[t] = (float)beta;
    tables->alphas_cumprod[t] = (float)bar;
    tables->alphas_cumprod_prev[t] = (float)bar_before;
    tables->sqrt_recip_alphas[t] = (float)sqrt(1 / alpha);
    tables->sqrt_alphas_cumprod[t] = (float)sqrt(bar);
    tables->sqrt_one_minus_alphas_cumprod[t] = (float)sqrt(1 - bar);
    tables->posterior_variance[t] = (float)variance;
    tables->q_sample[2 * t] = (float)sqrt(bar);
    tables->q_sample[2 * t + 1] = (float)sqrt(1 - bar);
    float *row = tables->reverse + t * DDPM_REVERSE_COLUMNS;
    row[DDPM_REVERSE_X] = (float)sqrt(1 / alpha);
    row[DDPM_REVERSE_EPS] = (float)(beta / (sqrt(alpha) * sqrt(1 - bar)));
    row[DDPM_REVERSE_X0_X] = (float)sqrt(1 / bar);
    row[DDPM_REVERSE_X0_EPS] = (float)sqrt(1 / bar - 1);
    row[DDPM_REVERSE_MEAN_X0] = (float)(beta * sqrt(bar_before) / (1 - bar));
    row[DDPM_REVERSE_MEAN_X] = (float)(sqrt(alpha) * (1 - bar_before) / (1 - bar));
    row[DDPM_REVERSE_SIGMA] = t == 0 ? 0.0f : (float)sqrt(variance);
}

static ddpm_status allocate(struct ddpm_diffusion_tables *tables, int64_t count)
{
    float **columns[] = {&tables->betas,
                         &tables->alphas_cumprod,
                         &tables->alphas_cumprod_prev,
                         &tables->sqrt_recip_alphas,
                         &tables->sqrt_alphas_cumprod,
                         &tables->sqrt_one_minus_alphas_cumprod,
                         &tables->posterior_variance};
    const size_t column_count = sizeof columns / sizeof *columns;
    size_t rows = (size_t)count;
    DDPM_TRY(ddpm_new_array(&tables->block, rows * (column_count + 2 + DDPM_REVERSE_COLUMNS),
                            sizeof(float), "diffusion tables"));
    float *next = tables->block;
    for (size_t i = 0; i < column_count; ++i, next += rows)
        *columns[i] = next;
    tables->q_sample = next;
    tables->reverse = next + 2 * rows;
    tables->timesteps = count;
    return DDPM_OK;
}

ddpm_status ddpm_diffusion_tables_create(const struct ddpm_diffusion_config *config,
                                         struct ddpm_diffusion_tables *out)
{
    const struct ddpm_schedule *schedule = &ddpm_schedules[config->schedule];
    const int64_t count = config->timesteps;
    double *betas, *bars;
    *out = (struct ddpm_diffusion_tables){0};
    DDPM_TRY(ddpm_new_array((void **)&betas, 2 * (size_t)count, sizeof *betas, "a schedule"));
    bars = betas + count;
    schedule->betas(config, betas);
    double product = 1;
    for (int64_t t = 0; t < count; ++t)
        bars[t] = product *= 1 - betas[t];

    ddpm_status status = check_open_unit(schedule->name, "beta", betas, count);
    if (status == DDPM_OK)
        status = check_open_unit(schedule->name, "alpha_bar", bars, count);
    if (status == DDPM_OK)
        status = allocate(out, count);
    for (int64_t t = 0; status == DDPM_OK && t < count; ++t)
        fill_row(out, t, betas[t], bars[t], t ? bars[t - 1] : 1.0);
    if (status == DDPM_OK)
        status = check_finite(out, schedule->name);
    if (status != DDPM_OK)
        ddpm_diffusion_tables_clear(out);
    free(betas);
    return status;
}

void ddpm_diffusion_tables_clear(struct ddpm_diffusion_tables *tables)
{
    free(tables->block);
    *tables = (struct ddpm_diffusion_tables){0};
}
