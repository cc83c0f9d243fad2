/* Noise schedules: linear (Ho et al. 2020), cosine (Nichol & Dhariwal 2021) and sigmoid (Jabri et
 * al. 2022). */
#include "diffusion/schedule.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "diffusion/objective.h"

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

/* Between 0 and 1, except at the end of a schedule that ends in pure noise. */
static ddpm_status check_table(const struct ddpm_diffusion_config *config, const char *table,
                               const double *values, double end)
{
    const int64_t count = config->timesteps;
    for (int64_t t = 0; t < count; ++t)
        if (!(values[t] > 0 && values[t] < 1) &&
            !(config->zero_terminal_snr && t == count - 1 && values[t] == end))
            return ddpm_raise(
                DDPM_ERROR_ARGUMENT,
                "schedule %s: got %s = %g at t = %lld of %lld, want a value between 0 "
                "and 1; change the timesteps or the schedule's arguments",
                ddpm_schedules[config->schedule].name, table, values[t], (long long)t,
                (long long)count);
    return DDPM_OK;
}

/* Rescale √ᾱ so that the last is 0 and the first stays. */
static void end_in_noise(double *bars, int64_t count)
{
    const double first = sqrt(bars[0]), last = sqrt(bars[count - 1]);
    for (int64_t t = 0; t < count; ++t) {
        const double moved = (sqrt(bars[t]) - last) * first / (first - last);
        bars[t] = t == 0 ? bars[0] : moved * moved;
    }
    bars[count - 1] = 0;
}

/* Apply changes to the schedule, and recompute the β. */
static void change_path(const struct ddpm_diffusion_config *config, double *bars, double *betas)
{
    const double shift = config->shift;
    const bool shifted = shift > 0 && shift != 1;
    if (config->zero_terminal_snr)
        end_in_noise(bars, config->timesteps);
    for (int64_t t = 0; t < config->timesteps && shifted; ++t)
        bars[t] = bars[t] / (bars[t] + shift * shift * (1 - bars[t]));
    for (int64_t t = 0; t < config->timesteps && (shifted || config->zero_terminal_snr); ++t)
        betas[t] = 1 - bars[t] / (t ? bars[t - 1] : 1);
}

static ddpm_status create_schedule(const struct ddpm_diffusion_config *config,
                                   struct ddpm_path *out)
{
    const int64_t count = config->timesteps;
    double *betas;
    DDPM_TRY(ddpm_new_array((void **)&betas, 2 * (size_t)count, sizeof *betas, "a schedule"));
    double *bars = betas + count, product = 1;
    ddpm_schedules[config->schedule].betas(config, betas);
    for (int64_t t = 0; t < count; ++t)
        bars[t] = product *= 1 - betas[t];
    change_path(config, bars, betas);
    *out = (struct ddpm_path){.timesteps = count, .alpha_bars = bars, .betas = betas};
    ddpm_status status = check_table(config, "beta", betas, 1);
    if (status == DDPM_OK)
        status = check_table(config, "alpha_bar", bars, 0);
    if (status != DDPM_OK)
        ddpm_path_clear(out);
    return status;
}

ddpm_status ddpm_path_create(const struct ddpm_diffusion_config *config, struct ddpm_path *out)
{
    const enum ddpm_path_kind kind = ddpm_objectives[config->objective].path;
    *out = (struct ddpm_path){.kind = kind,
                              .timesteps = config->timesteps,
                              .shift = config->shift,
                              .sigma_min = config->sigma_min,
                              .sigma_max = config->sigma_max};
    if (kind == DDPM_PATH_SCHEDULE)
        DDPM_TRY(create_schedule(config, out));
    if (config->drawing_level > 0)
        ddpm_path_cut(out, config->drawing_level);
    return DDPM_OK;
}

ddpm_status ddpm_path_create_whole(const struct ddpm_diffusion_config *config,
                                   struct ddpm_path *out)
{
    struct ddpm_diffusion_config whole = *config;
    whole.drawing_level = 0;
    return ddpm_path_create(&whole, out);
}

void ddpm_path_clear(struct ddpm_path *path)
{
    free((void *)path->betas);
    *path = (struct ddpm_path){0};
}
