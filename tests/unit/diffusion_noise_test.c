/* Samplers with noise, in fp64 on one number: data N(0.3, 0.5²) has an exact, affine denoiser, so
 * what a chain draws is normal, and its mean and variance follow from the turns' weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "unit/diffusion_support.h"

/* The state of a chain: x, the slots, and last the constant 1, so that affine maps are linear. */
enum { STATE = DDPM_SAMPLER_SLOTS + 2, ONE = STATE - 1 };

/* state' = map·state + noise·z for one turn. */
static void make_map(const struct ddpm_turn *turn, double map[STATE][STATE])
{
    const struct affine x0 = turn->evaluate ? exact_denoiser(&turn->at) : (struct affine){0};
    memset(map, 0, sizeof(double[STATE][STATE]));
    for (int i = 1; i < STATE; ++i)
        map[i][i] = 1;
    map[0][0] = turn->x + turn->x0 * x0.slope;
    map[0][ONE] = turn->x0 * x0.offset;
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        map[0][1 + j] = turn->kept[j];
    if (turn->keep_x0 >= 0) {
        double *row = map[1 + turn->keep_x0];
        memset(row, 0, sizeof(double[STATE]));
        row[0] = x0.slope;
        row[ONE] = x0.offset;
    }
}

struct moments {
    double mean, variance;
};

/* Mean and variance of the final x, from the second moments E[state·stateᵀ]. */
static struct moments imply(const struct ddpm_turns *turns, struct moments start)
{
    double second[STATE][STATE] = {{0}};
    second[0][0] = start.variance + start.mean * start.mean;
    second[0][ONE] = second[ONE][0] = start.mean;
    second[ONE][ONE] = 1;
    for (size_t k = 0; k < turns->count; ++k) {
        double map[STATE][STATE], half[STATE][STATE] = {{0}}, next[STATE][STATE] = {{0}};
        make_map(&turns->items[k], map);
        for (int i = 0; i < STATE; ++i)
            for (int j = 0; j < STATE; ++j)
                for (int l = 0; l < STATE; ++l)
                    half[i][j] += map[i][l] * second[l][j];
        for (int i = 0; i < STATE; ++i)
            for (int j = 0; j < STATE; ++j)
                for (int l = 0; l < STATE; ++l)
                    next[i][j] += half[i][l] * map[j][l];
        next[0][0] += turns->items[k].noise * turns->items[k].noise;
        memcpy(second, next, sizeof second);
    }
    const double mean = second[0][ONE];
    return (struct moments){mean, second[0][0] - mean * mean};
}

static double normal(uint32_t stream, uint32_t step, uint32_t sample)
{
    float values[4];
    ddpm_normal4(ddpm_philox(5, 0, sample, step, stream), values);
    return (double)values[0];
}

/* One chain, with picture `sample`'s random numbers. */
static double draw(const struct ddpm_turns *turns, struct moments start, uint32_t sample)
{
    double kept[DDPM_SAMPLER_SLOTS] = {0};
    double x = start.mean + sqrt(start.variance) * normal(DDPM_STREAM_SAMPLE_INIT, 0, sample);
    for (size_t k = 0; k < turns->count; ++k) {
        const struct ddpm_turn *turn = &turns->items[k];
        const struct affine denoiser = exact_denoiser(&turn->at);
        const double x0 = turn->evaluate ? denoiser.slope * x + denoiser.offset : 0;
        double next = turn->x0 * x0 + turn->x * x;
        for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
            next += turn->kept[j] * kept[j];
        if (turn->noise != 0)
            next +=
                turn->noise * normal(DDPM_STREAM_SAMPLE_STEP, ddpm_turns_left(turns, k), sample);
        if (turn->keep_x0 >= 0)
            kept[turn->keep_x0] = x0;
        x = next;
    }
    return x;
}

static const struct {
    const char *name;
    double eta, churn;
} stochastic[] = {
    {"ancestral", 0, 0}, {"ddim", 1, 0}, {"ddim", 0.5, 0}, {"heun", 0, 40}, {"dpmpp-sde", 0, 0},
};

/* A sampler's turns on a cosine schedule of 1000 timesteps, started with the path's
 * distribution. */
static struct ddpm_turns prepare(size_t i, int64_t steps, struct moments *start)
{
    const struct ddpm_sampler_kind *kind;
    struct ddpm_diffusion_config config = schedule_config(DDPM_SCHEDULE_COSINE, 1000);
    struct ddpm_path path = make_path(&config);
    struct ddpm_level *levels = calloc((size_t)steps + 1, sizeof *levels);
    assert_non_null(levels);
    assert_ok(ddpm_sampler_find(stochastic[i].name, &kind));
    assert_ok(ddpm_levels_space(&path, &ddpm_spacings[DDPM_SPACING_TRAILING], steps, kind->discrete,
                                levels));
    struct ddpm_sampler_request request = {.levels = levels,
                                           .count = (size_t)steps + 1,
                                           .path = &path,
                                           .clip = true,
                                           .eta = stochastic[i].eta,
                                           .churn = stochastic[i].churn};
    struct ddpm_turns turns = make_turns(stochastic[i].name, &request);
    const double data = levels[0].alpha * DATA_DEVIATION;
    *start = (struct moments){levels[0].alpha * DATA_MEAN,
                              data * data + levels[0].sigma * levels[0].sigma};
    free(levels);
    clear_path(&path);
    return turns;
}

static void draws_follow_the_weights(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    for (size_t i = 0; i < sizeof stochastic / sizeof *stochastic; ++i) {
        struct moments start;
        struct ddpm_turns turns = prepare(i, 10, &start);
        const struct moments wanted = imply(&turns, start);
        double sum = 0, squares = 0;
        for (uint32_t k = 0; k < DRAWS; ++k) {
            double x = draw(&turns, start, k) - wanted.mean;
            sum += x;
            squares += x * x;
        }
        double mean = sum / DRAWS, variance = squares / DRAWS - mean * mean;
        double mean_error = mean / sqrt(wanted.variance / DRAWS);
        double variance_error = (variance / wanted.variance - 1) / sqrt(2.0 / DRAWS);
        printf("%-9s eta %g churn %g: mean %.4f variance %.4f, off by %+.1f and %+.1f errors\n",
               stochastic[i].name, stochastic[i].eta, stochastic[i].churn, wanted.mean,
               wanted.variance, mean_error, variance_error);
        assert_true(fabs(mean_error) <= 4 && fabs(variance_error) <= 4);
        ddpm_turns_clear(&turns);
    }
}

/* With many steps the chain draws the data distribution; the more steps, the closer. */
static void many_steps_draw_the_data(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stochastic / sizeof *stochastic; ++i) {
        static const int64_t steps[] = {50, 200, 1000};
        double before = INFINITY;
        for (int k = 0; k < 3; ++k) {
            struct moments start;
            struct ddpm_turns turns = prepare(i, steps[k], &start);
            const struct moments end = imply(&turns, start);
            double mean_error = fabs(end.mean - DATA_MEAN);
            double deviation_error = fabs(sqrt(end.variance) - DATA_DEVIATION);
            printf("%-9s %4d steps: mean off by %.1e, deviation by %.1e\n", stochastic[i].name,
                   (int)steps[k], mean_error, deviation_error);
            assert_true(mean_error + deviation_error < before);
            before = mean_error + deviation_error;
            ddpm_turns_clear(&turns);
        }
        assert_true(before <= 0.005);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_weights),
        cmocka_unit_test(many_steps_draw_the_data),
    };
    return cmocka_run_group_tests_name("diffusion noise", tests, NULL, NULL);
}
