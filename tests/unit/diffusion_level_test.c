/* Noise levels between timesteps, and the spacings of steps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/diffusion_support.h"

static void check_whole_timesteps(const struct ddpm_path *path)
{
    for (int64_t t = 0; t < path->timesteps; ++t) {
        struct ddpm_level level = ddpm_path_level(path, (double)t);
        assert_true(level.time == (double)t);
        assert_true(level.alpha_bar == path->alpha_bars[t]);
        assert_true(level.alpha == sqrt(path->alpha_bars[t]));
        assert_true(level.sigma == sqrt(1 - path->alpha_bars[t]));
    }
}

/* Halfway between two timesteps, sigma/alpha is the geometric mean of theirs, and the inverse finds
 * the same t. */
static void check_between(const struct ddpm_path *path)
{
    for (int64_t t = 0; t + 1 < path->timesteps; ++t) {
        struct ddpm_level low = ddpm_path_level(path, (double)t);
        struct ddpm_level high = ddpm_path_level(path, (double)t + 1);
        struct ddpm_level middle = ddpm_path_level(path, (double)t + 0.5);
        double mean = sqrt(ddpm_level_ratio(&low) * ddpm_level_ratio(&high));
        assert_true(fabs(ddpm_level_ratio(&middle) / mean - 1) < 1e-12);
        assert_true(fabs(middle.alpha * middle.alpha + middle.sigma * middle.sigma - 1) < 1e-15);
        assert_true(fabs(ddpm_level_lambda(&middle) + log(mean)) < 1e-12);
        assert_true(fabs(ddpm_path_time(path, ddpm_level_ratio(&low)) - (double)t) < 1e-8);
        assert_true(fabs(ddpm_path_time(path, mean) - ((double)t + 0.5)) < 1e-8);
    }
}

static void levels_lie_on_the_path(void **state)
{
    (void)state;
    for (int schedule = 0; schedule <= DDPM_SCHEDULE_SIGMOID; ++schedule) {
        struct ddpm_diffusion_config config = schedule_config(schedule, 100);
        struct ddpm_path path = make_path(&config);
        check_whole_timesteps(&path);
        check_between(&path);
        assert_true(ddpm_path_level(&path, -3).time == 0);
        assert_true(ddpm_path_level(&path, 1e9).time == 99);
        assert_true(ddpm_path_time(&path, 1e-9) == 0);
        assert_true(ddpm_path_time(&path, INFINITY) == 99);
        struct ddpm_level level = ddpm_path_level_at(&path, 1);
        assert_true(fabs(level.alpha - level.sigma) < 1e-12);
        clear_path(&path);
    }
    struct ddpm_level level = ddpm_path_level_at(NULL, 3);
    assert_true(level.alpha == 1 && level.sigma == 3 && level.time == 3);
    level.alpha = 0;
    assert_true(isinf(ddpm_level_ratio(&level)));
}

/* Levels fall, start and end where they should, and finish with the clean picture. */
static void check_spacing(const struct ddpm_path *path, enum ddpm_spacing_kind kind, int64_t steps,
                          bool whole)
{
    const double count = (double)path->timesteps, n = (double)steps;
    struct ddpm_level *levels = calloc((size_t)steps + 1, sizeof *levels);
    assert_non_null(levels);
    assert_ok(ddpm_levels_space(path, &ddpm_spacings[kind], steps, whole, levels));
    for (int64_t i = 0; i < steps; ++i) {
        assert_true(levels[i].time >= 0 && levels[i].time <= count - 1);
        assert_true(ddpm_level_ratio(&levels[i + 1]) < ddpm_level_ratio(&levels[i]));
        assert_true(!whole || levels[i].time == floor(levels[i].time));
    }
    assert_true(levels[steps].sigma == 0 && levels[steps].alpha == 1);
    const bool few = steps <= path->timesteps;
    double first = kind == DDPM_SPACING_LEADING && few ? count - count / n : count - 1;
    double last = kind == DDPM_SPACING_TRAILING && few ? count / n - 1 : 0;
    if (kind == DDPM_SPACING_FEW && steps > 1) { /* its end is checked below */
        assert_true(levels[steps - 1].time > 0 || whole);
        last = levels[steps - 1].time;
    }
    if (steps == 1) /* the last is the first */
        last = first = kind == DDPM_SPACING_LEADING ? 0 : count - 1;
    assert_true(fabs(levels[0].time - first) <= (whole ? 0.5 : 1e-9));
    assert_true(fabs(levels[steps - 1].time - last) <= (whole ? 0.5 : 1e-9));
    free(levels);
}

static void spacings_fall_from_end_to_end(void **state)
{
    (void)state;
    static const int64_t steps[] = {1, 2, 3, 7, 10, 37, 50, 99, 100, 101, 250};
    for (int schedule = 0; schedule <= DDPM_SCHEDULE_SIGMOID; ++schedule) {
        struct ddpm_diffusion_config config = schedule_config(schedule, 100);
        struct ddpm_path path = make_path(&config);
        for (size_t kind = 0; kind < ddpm_spacing_count; ++kind)
            for (size_t i = 0; i < sizeof steps / sizeof *steps; ++i) {
                check_spacing(&path, (enum ddpm_spacing_kind)kind, steps[i], false);
                if (steps[i] <= 100)
                    check_spacing(&path, (enum ddpm_spacing_kind)kind, steps[i], true);
            }
        clear_path(&path);
    }
}

/* One step per timestep visits every timestep, with any spacing that is even in t; with any spacing
 * at all, timesteps are whole. */
static void all_timesteps_are_all_timesteps(void **state)
{
    (void)state;
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level *levels = calloc(1001, sizeof *levels);
    assert_non_null(levels);
    for (size_t kind = 0; kind < ddpm_spacing_count; ++kind)
        for (int whole = 0; whole < 2; ++whole) {
            if (!whole && (kind == DDPM_SPACING_KARRAS || kind == DDPM_SPACING_EXPONENTIAL ||
                           kind == DDPM_SPACING_FEW))
                continue;
            assert_ok(ddpm_levels_space(&path, &ddpm_spacings[kind], 1000, whole, levels));
            for (int64_t i = 0; i < 1000; ++i)
                assert_true(levels[i].time == (double)(999 - i));
        }
    free(levels);
    clear_path(&path);
}

/* Ten steps of a thousand, as other implementations choose them. */
static void spacings_are_the_known_ones(void **state)
{
    (void)state;
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level levels[11];
    for (int i = 0; i < 10; ++i) {
        assert_ok(ddpm_levels_space(&path, &ddpm_spacings[0], 10, false, levels));
        assert_true(levels[i].time == 900 - 100 * i);
        assert_ok(ddpm_levels_space(&path, &ddpm_spacings[1], 10, false, levels));
        assert_true(levels[i].time == 999 - 111 * i);
        assert_ok(ddpm_levels_space(&path, &ddpm_spacings[2], 10, false, levels));
        assert_true(levels[i].time == 999 - 100 * i);
    }
    struct ddpm_level ends[2] = {ddpm_path_level(&path, 999), ddpm_path_level(&path, 0)};
    double high = ddpm_level_ratio(&ends[0]), low = ddpm_level_ratio(&ends[1]);
    for (int i = 0; i < 10; ++i) {
        double part = i / 9.0;
        double karras =
            pow(pow(high, 1 / 7.0) + part * (pow(low, 1 / 7.0) - pow(high, 1 / 7.0)), 7);
        assert_ok(ddpm_levels_space(&path, &ddpm_spacings[3], 10, false, levels));
        assert_true(fabs(ddpm_level_ratio(&levels[i]) / karras - 1) < 1e-9);
        assert_ok(ddpm_levels_space(&path, &ddpm_spacings[4], 10, false, levels));
        assert_true(fabs(ddpm_level_ratio(&levels[i]) / (high * pow(low / high, part)) - 1) < 1e-9);
    }
    clear_path(&path);
}

/* If the noisy end is beyond 160, only the first level is beyond it; the others start at 160. */
static void no_steps_are_wasted_on_noise(void **state)
{
    (void)state;
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_COSINE, 1000);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level levels[11], clear = ddpm_path_level(&path, 0);
    const double high = pow(160, 1 / 7.0), low = pow(ddpm_level_ratio(&clear), 1 / 7.0);
    assert_ok(ddpm_levels_space(&path, &ddpm_spacings[DDPM_SPACING_KARRAS], 10, false, levels));
    assert_true(levels[0].time == 999 && ddpm_level_ratio(&levels[0]) > 1e4);
    for (int i = 1; i < 10; ++i) {
        const double want = pow(high + i / 9.0 * (low - high), 7);
        assert_true(fabs(ddpm_level_ratio(&levels[i]) / want - 1) < 1e-9);
    }
    clear_path(&path);
}

static void bad_spacings_are_refused(void **state)
{
    (void)state;
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_COSINE, 10);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level levels[32];
    const struct ddpm_spacing *spacing;
    assert_ok(ddpm_spacing_find("trailing", &spacing));
    assert_ptr_equal(spacing, &ddpm_spacings[DDPM_SPACING_TRAILING]);
    assert_refused(ddpm_levels_space(&path, spacing, 0, false, levels),
                   "got 0 sampling steps, want 1 to 1000000");
    assert_refused(ddpm_levels_space(&path, spacing, -4, false, levels), "got -4 sampling steps");
    assert_refused(ddpm_levels_space(&path, spacing, 1000001, false, levels), "got 1000001");
    assert_refused(ddpm_levels_space(&path, spacing, 11, true, levels),
                   "got 11 sampling steps, want at most the schedule's 10 timesteps");
    path.timesteps = 1;
    assert_ok(ddpm_levels_space(&path, spacing, 1, true, levels));
    assert_refused(ddpm_levels_space(&path, spacing, 2, false, levels), "1 timesteps");
    assert_refused(ddpm_spacing_find("karas", &spacing),
                   "unknown spacing \"karas\"; the nearest is \"karras\"");
    path.timesteps = 10;
    clear_path(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_lie_on_the_path),
        cmocka_unit_test(spacings_fall_from_end_to_end),
        cmocka_unit_test(all_timesteps_are_all_timesteps),
        cmocka_unit_test(spacings_are_the_known_ones),
        cmocka_unit_test(no_steps_are_wasted_on_noise),
        cmocka_unit_test(bad_spacings_are_refused),
    };
    return cmocka_run_group_tests_name("diffusion levels", tests, NULL, NULL);
}
