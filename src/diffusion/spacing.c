/* How the steps of a chain are spread over a path: one definition each, shared by all samplers
 * (docs/samplers.md). */
#include <math.h>
#include <string.h>

#include "config/nearest.h"
#include "diffusion/level.h"

/* Timestep `index` of steps of length T/N, which are whole if N divides T. If N > T, that would
 * overshoot, so the steps get as long as fits. */
static double along(const struct ddpm_path *path, int64_t steps, int64_t index)
{
    const double end = ddpm_path_end(path);
    const double count = path->kind == DDPM_PATH_SCHEDULE ? end + 1 : end;
    if (path->kind != DDPM_PATH_SCHEDULE || (double)steps <= count)
        return (double)index * count / (double)steps;
    return (double)index * end / (double)(steps - 1);
}

static double leading(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    const double t = along(path, steps, steps - 1 - step), clear = ddpm_path_begin(path);
    return clear > 0 ? clear + t * (1 - clear / ddpm_path_end(path)) : t;
}

static double trailing(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    return ddpm_path_end(path) - along(path, steps, step);
}

static double linspace(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    const double noisy = ddpm_path_end(path), clear = ddpm_path_begin(path);
    if (steps == 1)
        return noisy;
    return clear + (double)(steps - 1 - step) * (noisy - clear) / (double)(steps - 1);
}

/* The noisiest t with a finite sigma/alpha, for spacings that are even in it. */
static double finite_end(const struct ddpm_path *path)
{
    const double end = ddpm_path_end(path);
    const struct ddpm_level level = ddpm_path_level(path, end);
    if (level.alpha > 0)
        return end;
    return path->kind == DDPM_PATH_SCHEDULE ? end - 1 : 0.999 * end;
}

/* Above this sigma/alpha a network sees almost nothing of the picture, so steps there are wasted.
 * The linear schedule of 1,000 steps ends at 157, the cosine schedule at 20,000. */
static const double noisiest = 160;

/* From the path's largest sigma/alpha, or `noisiest`, to its smallest, evenly in the variable `to`;
 * the first level is the path's end. */
static double between_ends(const struct ddpm_path *path, int64_t steps, int64_t step,
                           double (*to)(double), double (*back)(double))
{
    const double end = ddpm_path_end(path), begin = ddpm_path_begin(path);
    if (step == 0 || step == steps - 1)
        return step == 0 ? end : begin;
    const struct ddpm_level noisy = ddpm_path_level(path, finite_end(path));
    const struct ddpm_level clear = ddpm_path_level(path, begin);
    const double first = to(fmin(ddpm_level_ratio(&noisy), noisiest));
    const double last = to(ddpm_level_ratio(&clear));
    const double part = (double)step / (double)(steps - 1);
    return ddpm_path_time(path, back(first + part * (last - first)));
}

static const double rho = 7; /* Karras et al. 2022, equation 5 */

static double to_karras(double ratio)
{
    return pow(ratio, 1 / rho);
}

static double from_karras(double root)
{
    return pow(root, rho);
}

static double karras(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    return between_ends(path, steps, step, to_karras, from_karras);
}

static double exponential(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    return between_ends(path, steps, step, log, exp);
}

/* On a path that was cut: a single step starts at half of the end's sigma/alpha; of two steps the
 * second is at 0.1, and more are spaced evenly in ln(sigma/alpha) as these two are (measured:
 * docs/distillation.md). */
static double few_of_cut(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    static const double second = 0.1;
    const struct ddpm_level noisy = ddpm_path_level(path, ddpm_path_end(path));
    const double first = ddpm_level_ratio(&noisy);
    if (steps == 1)
        return ddpm_path_time(path, first / 2);
    const double part = 2 * (double)step / (double)steps;
    return step == 0 ? ddpm_path_end(path)
                     : ddpm_path_time(path, first * pow(second / first, part));
}

/* The path's end, then the remaining levels, evenly in ln(sigma/alpha) between edm's usual ends, or
 * the path's ends if they are closer; the clean end itself is omitted. */
static double few(const struct ddpm_path *path, int64_t steps, int64_t step)
{
    static const double sigma_max = 80, sigma_min = 0.002;
    if (path->end > 0)
        return few_of_cut(path, steps, step);
    if (step == 0)
        return ddpm_path_end(path);
    const struct ddpm_level noisy = ddpm_path_level(path, finite_end(path));
    const struct ddpm_level clear = ddpm_path_level(path, ddpm_path_begin(path));
    const double first = log(fmin(ddpm_level_ratio(&noisy), sigma_max));
    const double last = log(fmax(ddpm_level_ratio(&clear), sigma_min));
    return ddpm_path_time(path, exp(first + (double)step / (double)steps * (last - first)));
}

const struct ddpm_spacing ddpm_spacings[] = {
#define SPACING(id, name, help, time) {name, help, time},
#include "config/spacings.inc"
#undef SPACING
};
const size_t ddpm_spacing_count = sizeof ddpm_spacings / sizeof *ddpm_spacings;

ddpm_status ddpm_spacing_find(const char *name, const struct ddpm_spacing **out)
{
    struct ddpm_nearest nearest = {.wanted = name};
    for (size_t i = 0; i < ddpm_spacing_count; ++i) {
        if (strcmp(ddpm_spacings[i].name, name) == 0) {
            *out = &ddpm_spacings[i];
            return DDPM_OK;
        }
        ddpm_nearest_offer(&nearest, ddpm_spacings[i].name);
    }
    static const char all[] =
#define SPACING(id, name_, ...) name_ ", "
#include "config/spacings.inc"
#undef SPACING
        "or auto";
    return ddpm_nearest_refuse(&nearest, "spacing", all);
}

/* The whole timestep nearest to t, moved if it would not be below the previous one, or would leave
 * no room for the following ones. */
static double whole_time(double t, double before, double following)
{
    const double whole = fmin(round(t), before - 1);
    return fmax(whole, following);
}

ddpm_status ddpm_levels_space(const struct ddpm_path *path, const struct ddpm_spacing *spacing,
                              int64_t steps, bool whole, struct ddpm_level *levels)
{
    if (steps < 1 || steps > DDPM_LARGEST_STEPS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %lld sampling steps, want 1 to %d",
                          (long long)steps, DDPM_LARGEST_STEPS);
    if (path->kind == DDPM_PATH_SCHEDULE && steps > path->timesteps &&
        (whole || path->timesteps == 1))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got %lld sampling steps, want at most the schedule's %lld timesteps",
                          (long long)steps, (long long)path->timesteps);
    double before = (double)path->timesteps;
    for (int64_t i = 0; i < steps; ++i) {
        double t = spacing->time(path, steps, i);
        if (whole)
            t = before = whole_time(t, before, (double)(steps - 1 - i));
        levels[i] = ddpm_path_level(path, t);
    }
    levels[steps] = DDPM_LEVEL_CLEAN;
    return DDPM_OK;
}
