/* The turns that samplers make: compared with the tables and with each other, their slots and
 * counters, and invalid requests. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/diffusion_support.h"

static struct ddpm_level *spaced(const struct ddpm_path *path, enum ddpm_spacing_kind spacing,
                                 int64_t steps, bool whole)
{
    struct ddpm_level *levels = calloc((size_t)steps + 1, sizeof *levels);
    assert_non_null(levels);
    assert_ok(ddpm_levels_space(path, &ddpm_spacings[spacing], steps, whole, levels));
    return levels;
}

/* A row of version 0.1's fp32 table, by its formulas. */
struct reverse_row {
    float x, eps, mean_x0, mean_x, sigma;
};

static struct reverse_row reverse_row(const struct ddpm_path *path, int64_t t)
{
    const double beta = path->betas[t], alpha = 1 - beta, bar = path->alpha_bars[t];
    const double bar_before = t ? path->alpha_bars[t - 1] : 1;
    const double variance = beta * (1 - bar_before) / (1 - bar);
    return (struct reverse_row){.x = (float)sqrt(1 / alpha),
                                .eps = (float)(beta / (sqrt(alpha) * sqrt(1 - bar))),
                                .mean_x0 = (float)(beta * sqrt(bar_before) / (1 - bar)),
                                .mean_x = (float)(sqrt(alpha) * (1 - bar_before) / (1 - bar)),
                                .sigma = t == 0 ? 0 : (float)sqrt(variance)};
}

/* One turn per timestep: the weights equal that table bit for bit. */
static void check_table_bits(const struct ddpm_diffusion_config *config, bool clip)
{
    struct ddpm_path path = make_path(config);
    struct ddpm_level *levels = spaced(&path, DDPM_SPACING_LEADING, config->timesteps, true);
    struct ddpm_sampler_request request = {.levels = levels,
                                           .count = (size_t)config->timesteps + 1,
                                           .path = &path,
                                           .clip = clip,
                                           .predicts_noise = true};
    struct ddpm_turns turns = make_turns("ancestral", &request);
    assert_int_equal(turns.count, config->timesteps);
    for (size_t i = 0; i < turns.count; ++i) {
        const struct ddpm_turn *turn = &turns.items[i];
        const int64_t t = config->timesteps - 1 - (int64_t)i;
        const struct reverse_row row = reverse_row(&path, t);
        assert_true(turn->evaluate && turn->at.time == (double)t && turn->step == i);
        assert_int_equal(ddpm_turns_left(&turns, i), t);
        assert_true((float)turn->at.alpha == (float)sqrt(path.alpha_bars[t]));
        assert_true((float)turn->at.sigma == (float)sqrt(1 - path.alpha_bars[t]));
        assert_true((float)turn->x0 == (clip ? row.mean_x0 : 0));
        assert_true((float)turn->x == (clip ? row.mean_x : row.x));
        assert_true((float)turn->out == (clip ? 0 : -row.eps));
        assert_true((float)turn->noise == row.sigma);
    }
    ddpm_turns_clear(&turns);
    free(levels);
    clear_path(&path);
}

static void ancestral_weights_are_the_tables_bits(void **state)
{
    (void)state;
    static const int64_t timesteps[] = {21, 100, 1000};
    for (int schedule = 0; schedule <= DDPM_SCHEDULE_SIGMOID; ++schedule)
        for (size_t i = 0; i < sizeof timesteps / sizeof *timesteps; ++i) {
            struct ddpm_diffusion_config config = schedule_config(schedule, timesteps[i]);
            check_table_bits(&config, true);
            check_table_bits(&config, false);
        }
}

/* x̂_0 and ε̂ are equivalent: the two forms of a respaced chain agree without clipping, and eta 1
 * gives the same chain again. */
static void ancestral_is_ddim_with_eta_one(void **state)
{
    (void)state;
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level *levels = spaced(&path, DDPM_SPACING_TRAILING, 37, true);
    struct ddpm_sampler_request request = {.levels = levels, .count = 38, .path = &path};
    struct ddpm_turns mean = make_turns("ancestral", &request);
    request.predicts_noise = true;
    struct ddpm_turns article = make_turns("ancestral", &request);
    request.eta = 1;
    struct ddpm_turns ddim = make_turns("euler", &request);
    for (size_t i = 0; i < 37; ++i) {
        const struct ddpm_turn *a = &mean.items[i], *b = &article.items[i], *c = &ddim.items[i];
        assert_true(fabs(a->x0 - c->x0) < 1e-11 && fabs(a->x - c->x) < 1e-11);
        assert_true(fabs(a->noise - c->noise) < 1e-11 && a->noise == b->noise);
        /* x̂_0 = (x - σ·ε̂)/α */
        assert_true(fabs(a->x + a->x0 / a->at.alpha - b->x) < 1e-9 * b->x);
        assert_true(fabs(-a->x0 * a->at.sigma / a->at.alpha - b->out) < 1e-9 * fabs(b->out));
    }
    ddpm_turns_clear(&mean);
    ddpm_turns_clear(&article);
    ddpm_turns_clear(&ddim);
    free(levels);
    clear_path(&path);
}

/* In every list of turns, slots are filled before they are read, noise has its own number, steps
 * are in order, the number of evaluations is as documented, and the last turn ends at x̂_0
 * alone. */
static void check_turns(const struct ddpm_sampler_kind *kind,
                        const struct ddpm_sampler_request *request)
{
    struct ddpm_turns turns = {0};
    assert_ok(ddpm_sampler_turns(kind, request, &turns));
    const size_t steps = request->count - 1;
    bool filled[DDPM_SAMPLER_SLOTS] = {false};
    uint32_t left = (uint32_t)turns.count;
    size_t step = 0;
    for (size_t i = 0; i < turns.count; ++i) {
        const struct ddpm_turn *turn = &turns.items[i];
        for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
            assert_true(turn->kept[j] == 0 || (filled[j] && j < kind->slots));
        assert_true(turn->keep_x0 < kind->slots);
        if (turn->keep_x0 >= 0)
            filled[turn->keep_x0] = true;
        assert_true(turn->evaluate || (turn->x0 == 0 && turn->out == 0 && turn->keep_x0 < 0));
        assert_true(isfinite(turn->x0) && isfinite(turn->x) && isfinite(turn->noise));
        assert_true(turn->step == step || turn->step == step + 1);
        step = turn->step;
        assert_true(ddpm_turns_left(&turns, i) < left);
        left = ddpm_turns_left(&turns, i);
    }
    assert_true(step == steps - 1 && left == 0);
    const size_t evaluations = ddpm_turns_evaluations(&turns);
    if (strcmp(kind->name, "heun") == 0)
        assert_true(evaluations == 2 * steps - 1);
    else
        assert_true(evaluations == steps);
    const struct ddpm_turn *end = &turns.items[turns.count - 1];
    assert_true(fabs(end->x) < 1e-12 && fabs(end->x0 - 1) < 1e-12 && end->noise == 0);
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        assert_true(end->kept[j] == 0);
    ddpm_turns_clear(&turns);
}

static void turns_keep_the_rules(void **state)
{
    (void)state;
    static const int64_t steps[] = {1, 2, 3, 4, 20, 100};
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_COSINE, 100);
    struct ddpm_path path = make_path(&config);
    for (size_t k = 0; k < ddpm_samplers_count; ++k)
        for (size_t i = 0; i < sizeof steps / sizeof *steps; ++i) {
            const struct ddpm_sampler_kind *kind = &ddpm_samplers[k];
            struct ddpm_level *levels =
                spaced(&path, DDPM_SPACING_TRAILING, steps[i], kind->discrete);
            struct ddpm_sampler_request request = {
                .levels = levels, .count = (size_t)steps[i] + 1, .path = &path, .clip = true};
            check_turns(kind, &request);
            request.order = kind->orders[1];
            request.eta = kind->takes_eta ? 0.5 : 0;
            request.churn = kind->takes_churn ? 10 : 0;
            check_turns(kind, &request);
            free(levels);
        }
    clear_path(&path);
}

/* From alpha = 0, pure noise, every sampler takes a first step of first order, then one on the
 * levels' own scale. */
static void pure_noise_is_a_start(void **state)
{
    (void)state;
    const struct ddpm_level levels[] = {{.alpha = 0, .sigma = 1, .time = 999},
                                        {.alpha = 0.6, .sigma = 0.8, .time = 500},
                                        {.alpha = 0.8, .sigma = 0.6, .time = 100},
                                        DDPM_LEVEL_CLEAN};
    struct ddpm_sampler_request request = {.levels = levels, .count = 4};
    for (size_t k = 0; k < ddpm_samplers_count; ++k) {
        const struct ddpm_sampler_kind *kind = &ddpm_samplers[k];
        if (kind->discrete)
            continue;
        struct ddpm_turns turns = {0};
        request.order = kind->orders[1];
        request.churn = kind->takes_churn ? 1 : 0;
        assert_ok(ddpm_sampler_turns(kind, &request, &turns));
        assert_true(turns.items[0].x0 == 0.6);
        assert_true(turns.items[0].x == (kind->stochastic ? 0 : 0.8));
        assert_true(turns.items[0].noise == (kind->stochastic ? 0.8 : 0));
        assert_true(turns.items[1].step == 1 && turns.items[1].kept[0] == 0);
        for (size_t i = 0; i < turns.count; ++i)
            assert_true(isfinite(turns.items[i].x0) && isfinite(turns.items[i].x) &&
                        isfinite(turns.items[i].kept[0]) && isfinite(turns.items[i].kept[1]));
        ddpm_turns_clear(&turns);
    }
}

/* Churn adds a turn that only adds noise, within its bounds, and never beyond the path. */
static void churn_stays_in_its_bounds(void **state)
{
    (void)state;
    struct ddpm_level levels[21];
    even_levels(levels, 20, false);
    struct ddpm_sampler_request request = {
        .levels = levels, .count = 21, .churn = 4, .churn_min = 0.05, .churn_max = 50};
    struct ddpm_turns turns = make_turns("heun", &request);
    size_t churned = 0, wanted = 0;
    for (size_t i = 0; i < 20; ++i)
        wanted += levels[i].sigma >= 0.05 && levels[i].sigma <= 50;
    for (size_t i = 0; i < turns.count; ++i) {
        const struct ddpm_turn *turn = &turns.items[i];
        if (turn->evaluate)
            continue;
        ++churned;
        double up = turn[1].at.sigma, sigma = levels[turn->step].sigma;
        assert_true(fabs(up / sigma - 1.2) < 1e-12); /* 4 over 20 steps */
        assert_true(fabs(turn->noise - sqrt(up * up - sigma * sigma)) < 1e-12 * up);
    }
    assert_int_equal(churned, wanted);
    request.churn = 1e6;
    request.churn_noise = 1.007;
    ddpm_turns_clear(&turns);
    turns = make_turns("heun", &request);
    for (size_t i = 0; i < turns.count; ++i)
        if (!turns.items[i].evaluate) {
            double sigma = levels[turns.items[i].step].sigma; /* at most √2 of it: EDM's γ */
            assert_true(fabs(turns.items[i].noise - 1.007 * sigma) < 1e-12 * sigma);
        }
    ddpm_turns_clear(&turns);

    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 100);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level *on_path = spaced(&path, DDPM_SPACING_TRAILING, 10, false);
    request =
        (struct ddpm_sampler_request){.levels = on_path, .count = 11, .path = &path, .churn = 1};
    turns = make_turns("heun", &request);
    assert_true(turns.items[0].evaluate && turns.items[0].at.time == 99);
    assert_true(!turns.items[2].evaluate && turns.items[2].step == 1);
    for (size_t i = 1; i < turns.count; ++i)
        assert_true(turns.items[i].at.time < 99);
    ddpm_turns_clear(&turns);
    free(on_path);
    clear_path(&path);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    struct ddpm_level levels[5];
    struct ddpm_turns turns = {0};
    const struct ddpm_sampler_kind *kinds[7], *kind;
    static const char *const names[] = {"ancestral", "ddim",  "heun",       "dpmpp",
                                        "dpmpp-sde", "unipc", "consistency"};
    assert_int_equal(ddpm_samplers_count, 7);
    for (int i = 0; i < 7; ++i)
        assert_ok(ddpm_sampler_find(names[i], &kinds[i]));
    assert_ok(ddpm_sampler_find("euler", &kind));
    assert_ptr_equal(kind, kinds[1]);
    assert_refused(ddpm_sampler_find("dpmp", &kind),
                   "unknown sampler \"dpmp\"; the nearest is \"dpmpp\"");
    assert_refused(
        ddpm_sampler_find("oiler", &kind),
        "\"oiler\"; want ancestral, ddim, heun, dpmpp, dpmpp-sde, unipc, consistency, or auto");

    even_levels(levels, 4, true);
    const struct ddpm_sampler_request good = {.levels = levels, .count = 5};
#define REFUSED(kind_, words, ...)                                                                 \
    do {                                                                                           \
        struct ddpm_sampler_request request = good;                                                \
        __VA_ARGS__;                                                                               \
        assert_refused(ddpm_sampler_turns(kind_, &request, &turns), words);                        \
        assert_int_equal(turns.count, 0);                                                          \
    } while (0)
    REFUSED(kinds[0], "ancestral needs a schedule of timesteps", (void)0);
    REFUSED(kinds[1], "got 1 noise levels, want 2 or more", request.count = 1);
    REFUSED(kinds[1], "got eta 1.5, want 0 to 1", request.eta = 1.5);
    REFUSED(kinds[1], "got eta nan, want 0 to 1", request.eta = NAN);
    REFUSED(kinds[3], "got eta 0.5, but sampler dpmpp has none", request.eta = 0.5);
    REFUSED(kinds[2], "sampler heun has no choice of order", request.order = 2);
    REFUSED(kinds[5], "unipc: got order 4, want 2 to 3", request.order = 4);
    REFUSED(kinds[5], "unipc: got order 1, want 2 to 3", request.order = 1);
    REFUSED(kinds[1], "got churn 3, but sampler ddim has none", request.churn = 3);
    REFUSED(kinds[2], "got churn -1 from 0 to 0", request.churn = -1);
    REFUSED(kinds[2], "got churn 1 from 0 to 0 with noise inf", request.churn = 1,
            request.churn_noise = INFINITY);
    for (int i = 1; i < 6; ++i) {
        struct ddpm_level kept = levels[2];
        levels[2] = levels[1];
        REFUSED(kinds[i], "noise level 2 of 5: got sigma/alpha", (void)0);
        levels[2].sigma = NAN;
        REFUSED(kinds[i], "noise level 2 of 5: got alpha", (void)0);
        levels[2] = DDPM_LEVEL_CLEAN;
        REFUSED(kinds[i], "sigma 0 only at the end", (void)0);
        levels[2] = kept;
    }
#undef REFUSED
    ddpm_turns_clear(&turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ancestral_weights_are_the_tables_bits),
        cmocka_unit_test(ancestral_is_ddim_with_eta_one),
        cmocka_unit_test(turns_keep_the_rules),
        cmocka_unit_test(pure_noise_is_a_start),
        cmocka_unit_test(churn_stays_in_its_bounds),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests_name("diffusion samplers", tests, NULL, NULL);
}
