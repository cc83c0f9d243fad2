/* Pairs of noise levels for distilling. */
#include "diffusion_support.h"

#include <math.h>
#include <string.h>

#include "diffusion/consistency.h"

static struct ddpm_diffusion_config model_of(enum ddpm_objective_kind objective)
{
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    config.objective = (int)objective;
    config.shift = 1;
    config.sigma_data = DATA_DEVIATION;
    config.sigma_min = 0.002;
    config.sigma_max = 80;
    return config;
}

static void stages_follow_each_other(void **state)
{
    (void)state;
    int before = 0;
    for (int64_t done = 0; done < 1000; ++done) {
        const int stage = ddpm_consistency_stage(done, 1000);
        assert_true(stage == before || stage == before + 1 || done == 0);
        before = stage;
    }
    const int last = before;
    assert_true(last > ddpm_consistency_stage(0, 1000));
    assert_int_equal(ddpm_consistency_stage(1000, 1000), last); /* and after the run */
    assert_int_equal(ddpm_consistency_stage(5000, 1000), last);
    assert_int_equal(ddpm_consistency_stage(0, 1), ddpm_consistency_stage(0, 1000));
    assert_int_equal(ddpm_consistency_stage(999999999, 1000000000), last);
}

/* t²·…: the gap is (1 + 8/(1 + e^t))/2^stage of t. */
static void gaps_are_halved(void **state)
{
    (void)state;
    struct ddpm_diffusion_config model = model_of(DDPM_OBJECTIVE_EDM);
    struct ddpm_path path;
    assert_ok(ddpm_path_create(&model, &path));
    struct ddpm_consistency_pair pair = ddpm_consistency_pair_at(&path, 2, 2);
    assert_true(fabs(pair.near - 2 * (1 - (1 + 8 / (1 + exp(2))) / 4)) < 1e-12);
    for (int stage = 1; stage < 8; ++stage)
        for (double t = 0.003; t < 70; t *= 1.7) {
            const struct ddpm_consistency_pair now = ddpm_consistency_pair_at(&path, t, stage);
            pair = ddpm_consistency_pair_at(&path, t, stage + 1);
            assert_true(now.noisy == t && now.near >= 0 && now.near < t);
            if (now.near > 0)
                assert_true(fabs((t - pair.near) / (t - now.near) - 0.5) < 1e-12);
        }
    assert_true(ddpm_consistency_pair_at(&path, 0.1, 2).near == 0); /* nothing is left of it */
    pair = ddpm_consistency_pair_at(&path, 1e6, 1);                 /* no level beyond the path */
    assert_true(fabs(pair.noisy - 80) < 1e-9);
    pair = ddpm_consistency_pair_at(&path, 1e-6, 8);
    assert_true(fabs(pair.noisy - 0.002) < 1e-12 && pair.near == 0);
    ddpm_path_clear(&path);
}

/* With an exact denoiser, f at both levels, and a target that is f or the picture. */
static void rows_are_the_objectives(void **state)
{
    (void)state;
    for (int objective = 0; objective < DDPM_OBJECTIVE_COUNT; ++objective) {
        struct ddpm_diffusion_config model = model_of((enum ddpm_objective_kind)objective);
        struct ddpm_path path;
        assert_ok(ddpm_path_create(&model, &path));
        for (double t = 0.02; t < 70; t *= 2) {
            const struct ddpm_consistency_pair pair = ddpm_consistency_pair_at(&path, t, 4);
            const struct ddpm_level level = ddpm_path_level_at(&path, pair.noisy);
            struct ddpm_objective_row of;
            float row[DDPM_CONSISTENCY_COLUMNS];
            ddpm_objective_fill(&model, &level, &of);
            ddpm_consistency_row(&model, &path, &pair, row);
            const double alpha = (double)row[DDPM_CONSISTENCY_NOISY_X0];
            assert_true(fabs((double)row[DDPM_CONSISTENCY_NOISY_NOISE] / alpha / t - 1) < 1e-5);
            assert_true(row[DDPM_CONSISTENCY_NOISY_X] == (float)of.x0_x);
            assert_true(row[DDPM_CONSISTENCY_NOISY_OUT] == (float)of.x0_out);
            assert_true(row[DDPM_CONSISTENCY_NOISY_INPUT] == (float)of.c_in);
            assert_true(row[DDPM_CONSISTENCY_NOISY_TIME] == (float)of.c_noise);
            assert_true(row[DDPM_CONSISTENCY_WEIGHT] > 0);
            assert_true(row[DDPM_CONSISTENCY_CLEAN] == (pair.near > 0 ? 0 : 1));
            if (pair.near == 0)
                assert_true(row[DDPM_CONSISTENCY_NEAR_X] == 0 &&
                            row[DDPM_CONSISTENCY_NEAR_OUT] == 0);
            for (int k = 0; k < DDPM_CONSISTENCY_COLUMNS; ++k)
                assert_true(isfinite(row[k]));
        }
        ddpm_path_clear(&path);
    }
}

enum { DRAWS = 100000 };

/* The share of levels whose logarithm is below x: three quarters are normal, a quarter uniform. */
static double share_below(double x, double mean)
{
    const double least = log(0.5), most = log(160);
    const double uniform = fmin(fmax((x - least) / (most - least), 0), 1);
    return 0.75 * 0.5 * erfc((mean - x) / (2 * sqrt(2))) + 0.25 * uniform;
}

static void levels_are_drawn_by_seed_and_place(void **state)
{
    (void)state;
    struct ddpm_diffusion_config model = model_of(DDPM_OBJECTIVE_EDM);
    for (model.drawing_steps = 1; model.drawing_steps <= 2; ++model.drawing_steps)
        for (double x = -7; x < 5.5; x += 0.5) {
            int below = 0;
            for (uint32_t i = 0; i < DRAWS; ++i)
                below += log(ddpm_consistency_draw(&model, 3, i / 16, i % 16)) < x;
            const double wanted = share_below(x, model.drawing_steps == 1 ? -1.1 : -1.9);
            const double error = sqrt(wanted * (1 - wanted) / DRAWS);
            assert_true(fabs((double)below / DRAWS - wanted) < 4.5 * error + 1e-5);
        }
    const double drawn = ddpm_consistency_draw(&model, 3, 5, 1);
    assert_true(ddpm_consistency_draw(&model, 3, 5, 1) == drawn);
    assert_true(ddpm_consistency_draw(&model, 3, 5, 2) != drawn);
    assert_true(ddpm_consistency_draw(&model, 4, 5, 1) != drawn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_follow_each_other),
        cmocka_unit_test(gaps_are_halved),
        cmocka_unit_test(rows_are_the_objectives),
        cmocka_unit_test(levels_are_drawn_by_seed_and_place),
    };
    return cmocka_run_group_tests_name("diffusion, pairs of levels", tests, NULL, NULL);
}
