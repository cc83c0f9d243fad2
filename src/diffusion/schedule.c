/* Noise schedules: linear (Ho et al. 2020), cosine (Nichol & Dhariwal 2021) and sigmoid (Jabri et
 * al. 2022). */
#include "diffusion/schedule.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"

static const double pi = 3.14159265358979323846;

/* From s·1e-4 to s·0.02 in equal steps, s = 1000/T. */
void ddpm_linear_betas(const struct ddpm_diffusion_config *config, double *betas)
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

void ddpm_cosine_betas(const struct ddpm_diffusion_config *config, double *betas)
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

void ddpm_sigmoid_betas(const struct ddpm_diffusion_config *config, double *betas)
{
    betas_from_alpha_bar(config, betas, sigmoid_alpha_bar, 0, 0.999);
}

const struct ddpm_schedule ddpm_schedules[DDPM_SCHEDULE_COUNT] = {
#define SCHEDULE(id, name_, help_, betas_)                                                         \
    [DDPM_SCHEDULE_##id] = {.name = name_, .help = help_, .betas = ddpm_##betas_},
#include "config/schedules.inc"
#undef SCHEDULE
};

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

ddpm_status ddpm_path_create(const struct ddpm_diffusion_config *config, struct ddpm_path *out)
{
    const struct ddpm_schedule *schedule = &ddpm_schedules[config->schedule];
    const int64_t count = config->timesteps;
    double *betas;
    *out = (struct ddpm_path){0};
    DDPM_TRY(ddpm_new_array((void **)&betas, 2 * (size_t)count, sizeof *betas, "a schedule"));
    double *bars = betas + count, product = 1;
    schedule->betas(config, betas);
    for (int64_t t = 0; t < count; ++t)
        bars[t] = product *= 1 - betas[t];
    *out = (struct ddpm_path){.timesteps = count, .alpha_bars = bars, .betas = betas};

    ddpm_status status = check_open_unit(schedule->name, "beta", betas, count);
    if (status == DDPM_OK)
        status = check_open_unit(schedule->name, "alpha_bar", bars, count);
    if (status != DDPM_OK)
        ddpm_path_clear(out);
    return status;
}

void ddpm_path_clear(struct ddpm_path *path)
{
    free((void *)path->betas);
    *path = (struct ddpm_path){0};
}
