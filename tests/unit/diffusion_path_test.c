/* Paths of noise levels other than a plain schedule: flow, EDM, shifted ones, those that end in
 * pure noise; and the levels that a network is trained at. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/objective.h"
#include "unit/diffusion_support.h"

static struct ddpm_diffusion_config model_of(enum ddpm_objective_kind objective, double shift)
{
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    config.objective = (int)objective;
    config.shift = shift;
    config.sigma_data = DATA_DEVIATION;
    config.sigma_min = 0.002;
    config.sigma_max = 80;
    config.flow_deviation = 1;
    config.edm_mean = -1.2;
    config.edm_deviation = 1.2;
    return config;
}

static struct ddpm_path path_of(const struct ddpm_diffusion_config *model)
{
    struct ddpm_path path;
    assert_ok(ddpm_path_create(model, &path));
    return path;
}

static const double shifts[] = {1, 3, 0.4};
enum { SHIFTS = sizeof shifts / sizeof *shifts };

/* The t found from a level's sigma/alpha is the t that the level was made from. */
static void time_is_the_inverse_of_level(void **state)
{
    (void)state;
    for (int k = 0; k < SHIFTS; ++k)
        for (int flow = 0; flow < 2; ++flow) {
            const struct ddpm_diffusion_config model =
                model_of(flow ? DDPM_OBJECTIVE_FLOW : DDPM_OBJECTIVE_EDM, shifts[k]);
            struct ddpm_path path = path_of(&model);
            double before = -1;
            for (double t = 0; t <= 1000; t += 0.25) {
                const struct ddpm_level level = ddpm_path_level(&path, t);
                const double ratio = ddpm_level_ratio(&level);
                assert_true(ratio > before);
                assert_true(fabs(ddpm_path_time(&path, ratio) - t) < 1e-8);
                assert_true(fabs(level.alpha_bar - level.alpha * level.alpha) < 1e-15);
                before = ratio;
            }
            assert_true(ddpm_path_time(&path, INFINITY) == 1000);
            assert_true(ddpm_path_time(&path, 0) == 0);
            assert_true(ddpm_path_end(&path) == 1000);
            assert_true(ddpm_path_begin(&path) == (flow ? 1 : 0));
            ddpm_path_clear(&path);
        }
}

/* As in docs/samplers.md. */
static void paths_follow_their_formulas(void **state)
{
    (void)state;
    const struct ddpm_diffusion_config flow = model_of(DDPM_OBJECTIVE_FLOW, 3);
    const struct ddpm_diffusion_config edm = model_of(DDPM_OBJECTIVE_EDM, 3);
    struct ddpm_path path = path_of(&flow);
    for (int i = 0; i <= 100; ++i) {
        const double u = i / 100.0, s = 3 * u / (1 + 2 * u);
        const struct ddpm_level level = ddpm_path_level(&path, 10.0 * i);
        assert_true(fabs(level.sigma - s) < 1e-15 && fabs(level.alpha - (1 - s)) < 1e-15);
        assert_true(fabs(level.time - 1000 * s) < 1e-12);
    }
    ddpm_path_clear(&path);
    path = path_of(&edm);
    for (int i = 0; i <= 100; ++i) {
        const double low = pow(0.002, 1.0 / 7), high = pow(80, 1.0 / 7);
        const double sigma = 3 * pow(low + i / 100.0 * (high - low), 7);
        const struct ddpm_level level = ddpm_path_level(&path, 10.0 * i);
        assert_true(fabs(level.sigma / sigma - 1) < 1e-12 && level.alpha == 1);
        assert_true(fabs(level.time - log(sigma) / 4) < 1e-12);
    }
    ddpm_path_clear(&path);
}

/* On every path, at the same t: sigma/alpha is multiplied by the shift. */
static void a_shift_multiplies_the_ratio(void **state)
{
    (void)state;
    static const enum ddpm_objective_kind objectives[] = {DDPM_OBJECTIVE_NOISE, DDPM_OBJECTIVE_V,
                                                          DDPM_OBJECTIVE_FLOW, DDPM_OBJECTIVE_EDM};
    for (size_t o = 0; o < sizeof objectives / sizeof *objectives; ++o)
        for (int k = 0; k < SHIFTS; ++k) {
            const struct ddpm_diffusion_config plain = model_of(objectives[o], 1);
            const struct ddpm_diffusion_config shifted = model_of(objectives[o], shifts[k]);
            struct ddpm_path paths[] = {path_of(&plain), path_of(&shifted)};
            for (int64_t t = 1; t < 1000; ++t) {
                struct ddpm_level levels[2];
                for (int i = 0; i < 2; ++i)
                    levels[i] = ddpm_path_level(&paths[i], (double)t);
                const double more = ddpm_level_ratio(&levels[1]) / ddpm_level_ratio(&levels[0]);
                assert_true(fabs(more / shifts[k] - 1) < 1e-9);
            }
            for (int64_t t = 1; t < 1000 && paths[1].alpha_bars; ++t) /* check this path's β */
                assert_true(fabs(paths[1].alpha_bars[t] / paths[1].alpha_bars[t - 1] -
                                 (1 - paths[1].betas[t])) < 1e-12);
            ddpm_path_clear(&paths[0]);
            ddpm_path_clear(&paths[1]);
        }
}

static struct ddpm_diffusion_config zero_terminal(int schedule, double shift)
{
    struct ddpm_diffusion_config config = model_of(DDPM_OBJECTIVE_V, shift);
    config.schedule = schedule;
    config.zero_terminal_snr = true;
    return config;
}

static void zero_terminal_snr_ends_in_noise(void **state)
{
    (void)state;
    for (int schedule = 0; schedule < DDPM_SCHEDULE_COUNT; ++schedule)
        for (int k = 0; k < SHIFTS; ++k) {
            struct ddpm_diffusion_config plain = model_of(DDPM_OBJECTIVE_V, 1);
            const struct ddpm_diffusion_config config = zero_terminal(schedule, shifts[k]);
            plain.schedule = schedule;
            struct ddpm_path path = path_of(&config), own = path_of(&plain);
            assert_true(path.alpha_bars[999] == 0 && path.betas[999] == 1);
            if (shifts[k] == 1) {
                assert_true(path.alpha_bars[0] == own.alpha_bars[0]);
                assert_true(fabs(path.betas[0] / own.betas[0] - 1) < 1e-9);
            }
            for (int64_t t = 1; t < 1000; ++t)
                assert_true(path.alpha_bars[t] < path.alpha_bars[t - 1]);
            double before = ddpm_path_level(&path, 998).alpha;
            for (int i = 1; i <= 100; ++i) {
                const struct ddpm_level level = ddpm_path_level(&path, 998 + i / 100.0);
                assert_true(level.alpha < before);
                assert_true(fabs(hypot(level.alpha, level.sigma) - 1) < 1e-12);
                assert_true(fabs(ddpm_path_time(&path, ddpm_level_ratio(&level)) - level.time) <
                            1e-9);
                before = level.alpha;
            }
            assert_true(before == 0);
            ddpm_path_clear(&path);
            ddpm_path_clear(&own);
        }
}

/* In pure noise x says nothing about the picture: the first step takes x̂_0 to the next level with
 * x or new noise as its noise, and is of first order for every sampler. */
static void check_first_step(const struct ddpm_turns *turns, const struct ddpm_level *levels)
{
    const struct ddpm_turn *first = &turns->items[0];
    assert_true(first->evaluate && first->at.alpha == 0 && first->out == 0);
    assert_true(fabs(first->x0 - levels[1].alpha) < 1e-12);
    assert_true(fabs(hypot(first->x, first->noise) - levels[1].sigma) < 1e-12);
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        assert_true(first->kept[j] == 0);
    for (size_t i = 0; i < turns->count; ++i) {
        const struct ddpm_turn *turn = &turns->items[i];
        double sum = turn->x0 + turn->x + turn->out + turn->noise;
        for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
            sum += turn->kept[j];
        assert_true(isfinite(sum));
    }
}

static void check_samplers_out_of_noise(const struct ddpm_path *path, size_t steps)
{
    struct ddpm_level levels[21];
    for (size_t i = 0; i < ddpm_samplers_count; ++i)
        for (int eta = 0; eta <= ddpm_samplers[i].takes_eta; ++eta)
            for (int order = ddpm_samplers[i].orders[0]; order <= ddpm_samplers[i].orders[1];
                 ++order) {
                const bool whole = ddpm_samplers[i].discrete;
                if (whole && path->kind != DDPM_PATH_SCHEDULE)
                    continue;
                assert_ok(ddpm_levels_space(path, &ddpm_spacings[DDPM_SPACING_TRAILING],
                                            (int64_t)steps, whole, levels));
                assert_true(levels[0].alpha == 0 && levels[0].sigma == 1);
                const struct ddpm_sampler_request request = {
                    .levels = levels,
                    .count = steps + 1,
                    .path = path,
                    .eta = eta,
                    .order = order,
                    .churn = ddpm_samplers[i].takes_churn ? 5 : 0,
                    .churn_noise = ddpm_samplers[i].takes_churn ? 1 : 0,
                };
                struct ddpm_turns turns = make_turns(ddpm_samplers[i].name, &request);
                check_first_step(&turns, levels);
                ddpm_turns_clear(&turns);
            }
}

static void samplers_leave_pure_noise(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 3, 10, 20};
    const struct ddpm_diffusion_config flow = model_of(DDPM_OBJECTIVE_FLOW, 1);
    struct ddpm_path straight = path_of(&flow);
    for (size_t k = 0; k < sizeof steps / sizeof *steps; ++k) {
        for (int schedule = 0; schedule < DDPM_SCHEDULE_COUNT; ++schedule) {
            const struct ddpm_diffusion_config config = zero_terminal(schedule, 1);
            struct ddpm_path path = path_of(&config);
            check_samplers_out_of_noise(&path, steps[k]);
            ddpm_path_clear(&path);
        }
        check_samplers_out_of_noise(&straight, steps[k]);
    }
    ddpm_path_clear(&straight);
}

static void spacings_fall(void **state)
{
    (void)state;
    static const int64_t steps[] = {1, 2, 3, 10, 1000, 5000};
    struct ddpm_level *levels = calloc(5001, sizeof *levels);
    assert_non_null(levels);
    for (int which = 0; which < 3 * SHIFTS; ++which) {
        struct ddpm_diffusion_config model =
            which % 3 == 0 ? zero_terminal(DDPM_SCHEDULE_COSINE, shifts[which / 3])
                           : model_of(which % 3 == 1 ? DDPM_OBJECTIVE_FLOW : DDPM_OBJECTIVE_EDM,
                                      shifts[which / 3]);
        struct ddpm_path path = path_of(&model);
        for (size_t kind = 0; kind < ddpm_spacing_count; ++kind)
            for (size_t k = 0; k < sizeof steps / sizeof *steps; ++k) {
                const int64_t count = steps[k];
                assert_ok(ddpm_levels_space(&path, &ddpm_spacings[kind], count, false, levels));
                for (int64_t i = 0; i < count; ++i) {
                    assert_true(levels[i].sigma > 0 && isfinite(levels[i].time));
                    assert_true(ddpm_level_ratio(&levels[i + 1]) < ddpm_level_ratio(&levels[i]));
                }
                assert_true(levels[count].sigma == 0);
            }
        ddpm_path_clear(&path);
    }
    free(levels);
}

enum { DRAWS = 100000 };

/* 1e5 draws have this mean and standard deviation, within four standard errors; the kurtosis is
 * that of a normal distribution (3) or a uniform one (1.8). */
static void check_draws(const struct ddpm_diffusion_config *model, double (*to)(double),
                        double mean, double deviation, double kurtosis)
{
    struct ddpm_path path = path_of(model);
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < DRAWS; ++i) {
        const struct ddpm_level level = ddpm_training_level(model, &path, 11, i / 64, i % 64);
        double sigma = level.sigma;
        assert_true(sigma > 0 && isfinite(sigma) && level.alpha >= 0);
        if (path.kind == DDPM_PATH_FLOW)
            sigma = sigma / (path.shift - (path.shift - 1) * sigma); /* without the shift */
        else
            sigma /= path.shift;
        const double value = to(sigma) - mean;
        sum += value;
        squares += value * value;
    }
    const double off = sum / DRAWS, spread = sqrt(squares / DRAWS - off * off);
    assert_true(fabs(off) < 4 * deviation / sqrt(DRAWS));
    assert_true(fabs(spread / deviation - 1) < 4 * sqrt((kurtosis - 1) / (4.0 * DRAWS)));
    ddpm_path_clear(&path);
}

static double same(double x)
{
    return x;
}

static double logit(double x)
{
    return log(x / (1 - x));
}

static void training_levels_are_distributed_as_they_should(void **state)
{
    (void)state;
    for (int k = 0; k < SHIFTS; ++k) {
        struct ddpm_diffusion_config edm = model_of(DDPM_OBJECTIVE_EDM, shifts[k]);
        check_draws(&edm, log, -1.2, 1.2, 3);
        edm.edm_mean = 0.4;
        edm.edm_deviation = 2;
        check_draws(&edm, log, 0.4, 2, 3);
        struct ddpm_diffusion_config flow = model_of(DDPM_OBJECTIVE_FLOW, shifts[k]);
        check_draws(&flow, same, 0.5, sqrt(1.0 / 12), 1.8);
        flow.flow_times = DDPM_FLOW_LOGIT_NORMAL;
        check_draws(&flow, logit, 0, 1, 3);
        flow.flow_mean = -0.5;
        flow.flow_deviation = 1.5;
        check_draws(&flow, logit, -0.5, 1.5, 3);
    }
}

/* A level depends on seed, step and place, and on nothing else. */
static void training_levels_follow_from_their_place(void **state)
{
    (void)state;
    for (int flow = 0; flow < 2; ++flow) {
        const struct ddpm_diffusion_config model =
            model_of(flow ? DDPM_OBJECTIVE_FLOW : DDPM_OBJECTIVE_EDM, 1);
        struct ddpm_path path = path_of(&model);
        const double first = ddpm_training_level(&model, &path, 1, 2, 3).sigma;
        assert_true(ddpm_training_level(&model, &path, 2, 2, 3).sigma != first);
        assert_true(ddpm_training_level(&model, &path, 1, 3, 3).sigma != first);
        assert_true(ddpm_training_level(&model, &path, 1, 2, 4).sigma != first);
        assert_true(ddpm_training_level(&model, &path, 1, 2, 3).sigma == first);
        const struct ddpm_level level = ddpm_training_level(&model, &path, 1, 2, 3);
        assert_true(level.time == (flow ? 1000 * first : log(first) / 4));
        ddpm_path_clear(&path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_the_inverse_of_level),
        cmocka_unit_test(paths_follow_their_formulas),
        cmocka_unit_test(a_shift_multiplies_the_ratio),
        cmocka_unit_test(zero_terminal_snr_ends_in_noise),
        cmocka_unit_test(samplers_leave_pure_noise),
        cmocka_unit_test(spacings_fall),
        cmocka_unit_test(training_levels_are_distributed_as_they_should),
        cmocka_unit_test(training_levels_follow_from_their_place),
    };
    return cmocka_run_group_tests_name("diffusion paths", tests, NULL, NULL);
}
