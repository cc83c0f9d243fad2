/* A learned variance on the host: its bounds, in a full and a respaced chain, and the coefficients
 * of its loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "diffusion_support.h"

static struct ddpm_turns turns_of(const char *name, const struct ddpm_path *path, int64_t steps,
                                  bool learned)
{
    const struct ddpm_spacing *spacing;
    struct ddpm_level *levels = calloc((size_t)steps + 1, sizeof *levels);
    assert_non_null(levels);
    assert_ok(ddpm_spacing_find("linspace", &spacing));
    assert_ok(ddpm_levels_space(path, spacing, steps, true, levels));
    const struct ddpm_sampler_request request = {.levels = levels,
                                                 .count = (size_t)steps + 1,
                                                 .path = path,
                                                 .predicts_noise = true,
                                                 .learned_variance = learned};
    struct ddpm_turns turns = make_turns(name, &request);
    free(levels);
    return turns;
}

/* The lower bound is the variance of a model that learns none; the upper bound is the β of the
 * respaced chain. The last turn draws no noise. */
static void ancestral_turns_are_bounded(void **state)
{
    (void)state;
    const struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    struct ddpm_path path = make_path(&config);
    static const int64_t steps[] = {1000, 37, 2};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; ++k) {
        struct ddpm_turns fixed = turns_of("ancestral", &path, steps[k], false);
        struct ddpm_turns learned = turns_of("ancestral", &path, steps[k], true);
        for (size_t i = 0; i + 1 < learned.count; ++i) {
            const struct ddpm_turn *a = &fixed.items[i], *b = &learned.items[i];
            const double beta = 1 - a->at.alpha_bar / learned.items[i + 1].at.alpha_bar;
            assert_true(a->variance.lowest == 0 && a->variance.highest == 0);
            assert_true(b->noise == 1 && b->x0 == a->x0 && b->x == a->x && b->out == a->out);
            assert_true(fabs(exp(b->variance.lowest / 2) - a->noise) < 1e-12);
            assert_true(fabs(exp(b->variance.highest) - beta) < 1e-12);
            assert_true(b->variance.lowest < b->variance.highest);
        }
        const struct ddpm_turn *end = &learned.items[learned.count - 1];
        assert_true(end->noise == 0 && end->variance.lowest == 0 && end->variance.highest == 0);
        ddpm_turns_clear(&fixed);
        ddpm_turns_clear(&learned);
    }
    clear_path(&path);
}

static void other_samplers_do_not_read_it(void **state)
{
    (void)state;
    const struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_COSINE, 100);
    struct ddpm_path path = make_path(&config);
    for (size_t s = 0; s < ddpm_samplers_count; ++s) {
        const char *name = ddpm_samplers[s].name;
        if (strcmp(name, "ancestral") == 0)
            continue;
        struct ddpm_turns fixed = turns_of(name, &path, 10, false);
        struct ddpm_turns learned = turns_of(name, &path, 10, true);
        assert_int_equal(fixed.count, learned.count);
        for (size_t i = 0; i < fixed.count; ++i) {
            const struct ddpm_turn *a = &fixed.items[i], *b = &learned.items[i];
            assert_true(a->noise == b->noise && a->x == b->x && a->x0 == b->x0);
            assert_true(b->variance.lowest == 0 && b->variance.highest == 0);
        }
        ddpm_turns_clear(&fixed);
        ddpm_turns_clear(&learned);
    }
    clear_path(&path);
}

/* Computed from the posterior means directly. */
static void rows_are_the_papers(void **state)
{
    (void)state;
    enum { STRIDE = DDPM_VARIANCE_COLUMNS + 2 };
    const struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_COSINE, 50);
    struct ddpm_path path = make_path(&config);
    float rows[50 * STRIDE] = {0};
    ddpm_variance_rows(&path, rows, STRIDE);
    for (int64_t t = 0; t < 50; ++t) {
        const float *row = rows + t * STRIDE;
        const double beta = path.betas[t], bar = path.alpha_bars[t];
        const double before = t ? path.alpha_bars[t - 1] : 1;
        const double lowest = t ? log(beta * (1 - before) / (1 - bar)) : (double)rows[STRIDE];
        /* coefficient of x_0 in the posterior mean, times the effect of ε̂ - ε on x̂_0 */
        const double mean = beta * sqrt(before) / (1 - bar) * sqrt(1 / bar - 1);
        assert_true(fabs((double)row[DDPM_VARIANCE_LOWEST] - lowest) < 1e-6 * fabs(lowest));
        assert_true(fabs((double)row[DDPM_VARIANCE_HIGHEST] - log(beta)) < 1e-6 * fabs(log(beta)));
        assert_true(fabs((double)row[DDPM_VARIANCE_MEAN] - mean) < 1e-6 * mean);
        assert_true(row[DDPM_VARIANCE_DECODER] == (t == 0 ? 1.0f : 0.0f));
        assert_true(row[DDPM_VARIANCE_WEIGHT] == 0.05f);
        assert_true(row[DDPM_VARIANCE_COLUMNS] == 0);
    }
    clear_path(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ancestral_turns_are_bounded),
        cmocka_unit_test(other_samplers_do_not_read_it),
        cmocka_unit_test(rows_are_the_papers),
    };
    return cmocka_run_group_tests_name("learned variance", tests, NULL, NULL);
}
