/* Order of the samplers' solvers, in fp64 on one number: data N(0.3, 0.5²) has an exact denoiser,
 * and the probability flow from x_T is known in closed form. Halving the steps of a solver of order
 * p divides its error by 2^p. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/diffusion_support.h"

/* Where the flow takes x from one level to another: to the same quantile of the wider or narrower
 * normal distribution. */
static double exact_end(const struct ddpm_level *from, const struct ddpm_level *to, double x)
{
    double deviations[2];
    const struct ddpm_level *levels[] = {from, to};
    for (int i = 0; i < 2; ++i)
        deviations[i] = hypot(levels[i]->alpha * DATA_DEVIATION, levels[i]->sigma);
    return to->alpha * DATA_MEAN + (x - from->alpha * DATA_MEAN) * deviations[1] / deviations[0];
}

/* Run turns without noise on one number. */
static double run(const struct ddpm_turns *turns, double x)
{
    double kept[DDPM_SAMPLER_SLOTS] = {0};
    for (size_t i = 0; i < turns->count; ++i) {
        const struct ddpm_turn *turn = &turns->items[i];
        assert_true(turn->noise == 0 && turn->out == 0);
        double x0 = 0;
        if (turn->evaluate) {
            struct affine denoiser = exact_denoiser(&turn->at);
            x0 = denoiser.slope * x + denoiser.offset;
        }
        double next = turn->x0 * x0 + turn->x * x;
        for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
            next += turn->kept[j] * kept[j];
        if (turn->keep_x0 >= 0)
            kept[turn->keep_x0] = x0;
        x = next;
    }
    return x;
}

static double error_of(const char *name, int order, size_t steps, bool variance_preserving)
{
    struct ddpm_level levels[161];
    assert_true(steps < sizeof levels / sizeof *levels);
    even_levels(levels, steps, variance_preserving);
    struct ddpm_sampler_request request = {.levels = levels, .count = steps + 1, .order = order};
    struct ddpm_turns turns = make_turns(name, &request);
    const double x = 1.3 * hypot(levels[0].alpha, levels[0].sigma);
    double error = fabs(run(&turns, x) - exact_end(&levels[0], &levels[steps], x));
    ddpm_turns_clear(&turns);
    return error;
}

static void errors_fall_with_the_order(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int order;
        double slope;
    } wanted[] = {{"ddim", 0, -0.95},
                  {"dpmpp", 0, -1.9},
                  {"heun", 0, -1.9},
                  {"unipc", 2, -1.9},
                  {"unipc", 3, -2.8}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i)
        for (int preserving = 0; preserving < 2; ++preserving) {
            double errors[3], slopes[2];
            for (int k = 0; k < 3; ++k)
                errors[k] = error_of(wanted[i].name, wanted[i].order, (size_t)40 << k, preserving);
            for (int k = 0; k < 2; ++k)
                slopes[k] = log2(errors[k + 1] / errors[k]);
            printf("%-6s order %d %s: errors %.2e %.2e %.2e, slopes %.2f %.2f\n", wanted[i].name,
                   wanted[i].order, preserving ? "alpha²+sigma²=1" : "alpha=1", errors[0],
                   errors[1], errors[2], slopes[0], slopes[1]);
            assert_true(slopes[0] <= wanted[i].slope);
            assert_true(slopes[1] <= wanted[i].slope);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors_fall_with_the_order)};
    return cmocka_run_group_tests_name("diffusion order", tests, NULL, NULL);
}
