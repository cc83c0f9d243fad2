/* The fitted start: reducing pictures, finding components and a level, the first x of a chain, and
 * its file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/random.h"
#include "diffusion/chain.h"
#include "diffusion/start.h"
#include "model/start_files.h"
#include "unit/diffusion_support.h"

enum { HEIGHT = 32, WIDTH = 48, CHANNELS = 3, PICTURES = 1000 };

static void the_grid_is_the_finest_within_its_limits(void **state)
{
    (void)state;
    static const int64_t expected[][5] = {
        {64, 64, 3, 16, 16}, {32, 48, 3, 16, 16}, {128, 96, 3, 16, 16}, {40, 24, 3, 10, 12},
        {37, 8, 1, 1, 8},    {64, 64, 13, 8, 8},  {64, 64, 2000, 1, 1}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; ++i) {
        const int64_t *row = expected[i];
        const struct ddpm_start_shape shape = ddpm_start_shape_of(row[0], row[1], row[2]);
        assert_int_equal(shape.rows, row[3]);
        assert_int_equal(shape.columns, row[4]);
    }
}

/* A bright block is one large value; a grey picture's values are all alike. */
static void reducing_keeps_the_length_of_blocks(void **state)
{
    (void)state;
    static uint8_t picture[HEIGHT * WIDTH * CHANNELS];
    static float reduced[DDPM_START_VALUES];
    const struct ddpm_start_shape shape = ddpm_start_shape_of(HEIGHT, WIDTH, CHANNELS);
    memset(picture, 255, sizeof picture);
    ddpm_start_reduce(&shape, picture, reduced);
    for (int64_t i = 0; i < ddpm_start_values(&shape); ++i) /* blocks of 2×3 pixels */
        assert_true(fabs((double)reduced[i] - sqrt(6)) < 1e-6);
}

/* Reduced pictures with two known directions, 3·even + 20·odd values (the odd ones follow
 * `shape_of`), and a little of everything else. */
static float *made_up(const struct ddpm_start_shape *shape, double (*shape_of)(double normal))
{
    const int64_t values = ddpm_start_values(shape);
    float *pictures = malloc((size_t)(PICTURES * values) * sizeof *pictures);
    float *normal = malloc((size_t)(values + 2) * sizeof *normal);
    assert_non_null(pictures);
    assert_non_null(normal);
    for (int64_t n = 0; n < PICTURES; ++n) {
        ddpm_fill_normal(normal, values + 2, 7, DDPM_STREAM_BENCH, 0, (uint32_t)n);
        const double wide = 20 * shape_of((double)normal[values]),
                     narrow = 3 * (double)normal[values + 1];
        const double scale = sqrt(2.0 / (double)values);
        for (int64_t i = 0; i < values; ++i)
            pictures[n * values + i] =
                (float)(0.5 + scale * (i % 2 ? wide : narrow) + 0.1 * (double)normal[i]);
    }
    free(normal);
    return pictures;
}

static double as_it_is(double normal)
{
    return normal;
}

static double one_of_two(double normal)
{
    return normal < 0 ? -1 : 1;
}

static struct ddpm_start *fitted(double (*shape_of)(double normal))
{
    const struct ddpm_start_shape shape = ddpm_start_shape_of(HEIGHT, WIDTH, CHANNELS);
    float *pictures = made_up(&shape, shape_of);
    struct ddpm_start *start;
    assert_ok(ddpm_start_fit(&shape, pictures, PICTURES, &start));
    free(pictures);
    return start;
}

static void known_components_are_found(void **state)
{
    (void)state;
    struct ddpm_start *start = fitted(as_it_is);
    const int64_t values = ddpm_start_values(&start->shape);
    assert_true(fabs((double)start->deviations[0] / 20 - 1) < 0.1);
    assert_true(fabs((double)start->deviations[1] / 3 - 1) < 0.1);
    assert_true((double)start->deviations[2] < 0.2);
    assert_true(start->level == 5);
    const double each = sqrt(2.0 / (double)values);
    for (int64_t i = 0; i < values; ++i) {
        const double wide = fabs((double)start->directions[i]);
        assert_true(fabs(wide - (i % 2 ? each : 0)) < 0.05 * each);
    }
    for (int64_t a = 0; a < start->components; ++a)
        for (int64_t b = 0; b <= a; ++b) {
            double along = 0;
            for (int64_t i = 0; i < values; ++i)
                along += (double)start->directions[a * values + i] *
                         (double)start->directions[b * values + i];
            assert_true(fabs(along - (a == b)) < 1e-4);
        }
    ddpm_start_free(&start);
}

/* Two kinds of pictures, dark and bright: only strong noise hides that. Their fourth cumulant is
 * -2·(400/(400 + s²))², at least -1 from s = 13 on. */
static void two_kinds_of_pictures_raise_the_level(void **state)
{
    (void)state;
    struct ddpm_start *start = fitted(one_of_two);
    assert_true(fabs((double)start->deviations[0] / 20 - 1) < 0.01);
    assert_true(start->level == 20);
    ddpm_start_free(&start);
}

/* The formula of start.h along each direction, and nothing but noise across all of them. */
static void the_first_x_has_the_fitted_distribution(void **state)
{
    (void)state;
    enum { VALUES = HEIGHT * WIDTH * CHANNELS };
    static float z[VALUES], picture[VALUES];
    struct ddpm_start *start = fitted(as_it_is);
    const int64_t values = ddpm_start_values(&start->shape);
    const double s = 5, block = sqrt(6);
    ddpm_fill_normal(z, VALUES, 1, DDPM_STREAM_SAMPLE_INIT, 0, 3);
    ddpm_start_picture(start, s, z, picture);
    for (int64_t k = 0; k < start->components; ++k) {
        double noise = 0, mean = 0, x = 0;
        for (int64_t h = 0, p = 0; h < HEIGHT; ++h)
            for (int64_t w = 0; w < WIDTH; ++w)
                for (int64_t c = 0; c < CHANNELS; ++c, ++p) {
                    const int64_t at = (h / 2 * 16 + w / 3) * CHANNELS + c;
                    const double direction = (double)start->directions[k * values + at] / block;
                    noise += direction * (double)z[p];
                    x += direction * ((double)picture[p] + s * (double)z[p]);
                }
        for (int64_t i = 0; i < values; ++i)
            mean += (double)start->directions[k * values + i] * (double)start->mean[i];
        assert_true(fabs(x - mean - hypot((double)start->deviations[k], s) * noise) <
                    1e-4 * (1 + fabs(x)));
    }
    ddpm_start_free(&start);
}

static void the_file_comes_back(void **state)
{
    (void)state;
    char path[] = "/tmp/ddpm-test-start-XXXXXX";
    const int file = mkstemp(path);
    struct ddpm_start *start = fitted(as_it_is), *again;
    const size_t values = (size_t)ddpm_start_values(&start->shape);
    assert_true(file >= 0);
    assert_ok(ddpm_start_write(start, path));
    assert_ok(ddpm_start_read(path, &again));
    assert_memory_equal(&again->shape, &start->shape, sizeof start->shape);
    assert_true(again->level == start->level);
    assert_memory_equal(again->mean, start->mean, values * sizeof(float));
    assert_memory_equal(again->deviations, start->deviations,
                        (size_t)start->components * sizeof(float));
    assert_memory_equal(again->directions, start->directions,
                        (size_t)start->components * values * sizeof(float));
    ddpm_start_free(&again);
    start->mean[1] = NAN;
    assert_ok(ddpm_start_write(start, path));
    assert_int_equal(ddpm_start_read(path, &again), DDPM_ERROR_NOT_FINITE);
    assert_null(again);
    start->mean[1] = 0;
    start->shape.height = 33; /* not a whole number of blocks */
    assert_ok(ddpm_start_write(start, path));
    assert_int_equal(ddpm_start_read(path, &again), DDPM_ERROR_FORMAT);
    assert_null(again);
    ddpm_start_free(&start);
    close(file);
    unlink(path);
}

/* On every path and spacing, the chain's levels fall from the start's. */
static void chains_begin_at_the_level(void **state)
{
    (void)state;
    static const enum ddpm_objective_kind objectives[] = {DDPM_OBJECTIVE_V, DDPM_OBJECTIVE_FLOW,
                                                          DDPM_OBJECTIVE_EDM};
    for (size_t o = 0; o < 3; ++o)
        for (int spacing = 0; spacing < (int)ddpm_spacing_count; ++spacing) {
            struct ddpm_diffusion_config model = schedule_config(DDPM_SCHEDULE_COSINE, 1000);
            const struct ddpm_sampling_config config = {
                .sampler = DDPM_SAMPLER_DDIM, .steps = 6, .spacing = spacing};
            struct ddpm_turns turns = {0};
            model.objective = (int)objectives[o];
            model.shift = 1;
            model.sigma_min = 0.002;
            model.sigma_max = 80;
            model.sigma_data = 0.5;
            struct ddpm_chain chain = ddpm_chain_of(&config, &model);
            ddpm_chain_start_fitted(&chain, &config, &model, 10);
            assert_ok(ddpm_chain_turns(&chain, &model, true, &turns));
            assert_int_equal(turns.count, 6);
            double before = INFINITY;
            for (size_t i = 0; i < turns.count; ++i) {
                const double ratio = ddpm_level_ratio(&turns.items[i].at);
                assert_true(ratio < before);
                before = ratio;
            }
            const double first = turns.noise / turns.picture;
            assert_true(first <= 10 * (1 + 1e-9) && first > 2);
            assert_true(fabs(first - ddpm_level_ratio(&turns.items[0].at)) < 1e-12);
            ddpm_turns_clear(&turns);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grid_is_the_finest_within_its_limits),
        cmocka_unit_test(reducing_keeps_the_length_of_blocks),
        cmocka_unit_test(known_components_are_found),
        cmocka_unit_test(two_kinds_of_pictures_raise_the_level),
        cmocka_unit_test(the_first_x_has_the_fitted_distribution),
        cmocka_unit_test(the_file_comes_back),
        cmocka_unit_test(chains_begin_at_the_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
