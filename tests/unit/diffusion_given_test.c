/* Chains that start from a picture: the last steps of a chain, ddim backwards, and drawing inside a
 * mask, in fp64 on one number with an exact denoiser. */
#include "diffusion_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diffusion/chain.h"

enum { T = 1000 };

static struct ddpm_chain chain_of(int sampler, int64_t steps)
{
    const struct ddpm_sampling_config config = {.sampler = sampler,
                                                .spacing = DDPM_SPACING_AUTO,
                                                .steps = steps,
                                                .churn = sampler == DDPM_SAMPLER_HEUN ? 5 : 0};
    return ddpm_chain_resolve(&config, DDPM_OBJECTIVE_NOISE, T);
}

/* The turns of `chain` with these inputs; free them with ddpm_turns_clear(). */
static struct ddpm_turns turns_given(struct ddpm_chain chain, struct ddpm_chain_given given)
{
    struct ddpm_diffusion_config diffusion = schedule_config(0, T);
    struct ddpm_turns turns = {0};
    diffusion.drawing_steps = chain.kind->distilled;
    assert_ok(ddpm_chain_give(&chain, &given));
    assert_ok(ddpm_chain_turns(&chain, &diffusion, true, &turns));
    return turns;
}

/* The levels of a chain with `steps` steps. */
static void chain_levels(const struct ddpm_chain *chain, struct ddpm_level *levels)
{
    const struct ddpm_diffusion_config diffusion = schedule_config(0, T);
    struct ddpm_path path = make_path(&diffusion);
    assert_ok(
        ddpm_levels_space(&path, chain->spacing, chain->steps, chain->kind->discrete, levels));
    clear_path(&path);
}

static size_t steps_of(const struct ddpm_turns *turns)
{
    return turns->count ? turns->items[turns->count - 1].step + 1 : 0;
}

static void strength_runs_the_last_steps(void **state)
{
    (void)state;
    static const struct {
        double strength;
        size_t run;
    } wanted[] = {{0, 0}, {0.02, 0}, {0.03, 1}, {0.35, 7}, {0.97, 19}};
    for (int sampler = 0; sampler < DDPM_SAMPLER_AUTO; ++sampler)
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i) {
            const struct ddpm_chain chain = chain_of(sampler, 20);
            struct ddpm_level levels[21];
            struct ddpm_turns turns = turns_given(
                chain, (struct ddpm_chain_given){.from = true, .strength = wanted[i].strength});
            chain_levels(&chain, levels);
            const struct ddpm_level *first = &levels[20 - wanted[i].run];
            assert_int_equal(steps_of(&turns), wanted[i].run);
            assert_true(turns.picture == first->alpha && turns.noise == first->sigma);
            if (turns.count) { /* the first turn must not use earlier results */
                assert_true(turns.items[0].at.time == first->time);
                for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
                    assert_true(turns.items[0].kept[j] == 0);
            }
            ddpm_turns_clear(&turns);
        }
}

static void strength_one_is_the_chain(void **state)
{
    (void)state;
    for (int sampler = 0; sampler < DDPM_SAMPLER_AUTO; ++sampler) {
        const struct ddpm_chain chain = chain_of(sampler, 20);
        struct ddpm_turns plain = turns_given(chain, (struct ddpm_chain_given){0});
        struct ddpm_turns turns =
            turns_given(chain, (struct ddpm_chain_given){.from = true, .strength = 0.98});
        assert_true(turns.picture == 0 && turns.noise == 0);
        assert_int_equal(turns.count, plain.count);
        for (size_t i = 0; i < plain.count; ++i) {
            const struct ddpm_turn *a = &turns.items[i], *b = &plain.items[i];
            assert_true(a->x0 == b->x0 && a->x == b->x && a->out == b->out);
            assert_true(a->noise == b->noise && a->keep_x0 == b->keep_x0 && a->step == b->step);
            assert_memory_equal(a->kept, b->kept, sizeof a->kept);
        }
        ddpm_turns_clear(&plain);
        ddpm_turns_clear(&turns);
    }
}

/* Run turns without noise or memory on one number. */
static double run(const struct ddpm_turns *turns, double x)
{
    for (size_t i = 0; i < turns->count; ++i) {
        const struct ddpm_turn *turn = &turns->items[i];
        const struct affine denoiser = exact_denoiser(&turn->at);
        assert_true(turn->evaluate && turn->noise == 0 && turn->keep_x0 < 0);
        x = turn->x0 * (denoiser.slope * x + denoiser.offset) + turn->x * x;
    }
    return x;
}

/* Where the flow takes a value of the clean picture at the first level: it keeps its quantile. */
static double exact_latent(const struct ddpm_level *first, double x)
{
    const double wide = hypot(first->alpha * DATA_DEVIATION, first->sigma);
    return first->alpha * DATA_MEAN + (x - DATA_MEAN) / DATA_DEVIATION * wide;
}

static void inversion_goes_back_along_the_flow(void **state)
{
    (void)state;
    double before = INFINITY;
    for (int64_t steps = 50; steps <= 400; steps *= 2) {
        const struct ddpm_chain chain = chain_of(DDPM_SAMPLER_DDIM, steps);
        struct ddpm_level levels[401];
        struct ddpm_turns back = turns_given(chain, (struct ddpm_chain_given){.invert = true});
        struct ddpm_turns forth = turns_given(chain, (struct ddpm_chain_given){0});
        chain_levels(&chain, levels);
        assert_true(back.picture == 1 && back.noise == 0);
        assert_int_equal(back.count, steps);
        assert_int_equal(steps_of(&back), steps);
        const double x = 0.9, latent = run(&back, x), again = run(&forth, latent);
        const double error = fabs(latent - exact_latent(&levels[0], x));
        assert_true(error < 0.65 * before); /* first order: all but halved */
        assert_true(fabs(again - x) < 4.0 / (double)steps);
        before = error;
        ddpm_turns_clear(&back);
        ddpm_turns_clear(&forth);
    }
    assert_true(before < 0.01);
}

/* Without a schedule, and with a first level that keeps nothing of the picture: alpha = 1 - t. */
static void inversion_knows_no_schedule(void **state)
{
    (void)state;
    enum { STEPS = 400 };
    struct ddpm_level levels[STEPS + 1];
    for (int i = 0; i <= STEPS; ++i)
        levels[i] = (struct ddpm_level){.time = 1 - (double)i / STEPS,
                                        .alpha = (double)i / STEPS,
                                        .sigma = 1 - (double)i / STEPS};
    const struct ddpm_sampler_request request = {.levels = levels, .count = STEPS + 1};
    struct ddpm_turns back = {0};
    assert_ok(ddpm_sampler_invert(&request, &back));
    const double latent = run(&back, 0.9);
    assert_true(fabs(latent - exact_latent(&levels[0], 0.9)) < 0.02);
    struct ddpm_turns forth = make_turns("ddim", &request);
    assert_true(fabs(run(&forth, latent) - 0.9) < 0.02);
    ddpm_turns_clear(&forth);
    levels[7].sigma = levels[6].sigma;
    levels[7].alpha = levels[6].alpha;
    assert_refused(ddpm_sampler_invert(&request, &back), "want it to fall");
    ddpm_turns_clear(&back);
}

/* One turn that only adds noise must end at a level of the chain; returns which. */
static int64_t level_reached(const struct ddpm_turn *turn, const struct ddpm_level *levels,
                             int64_t steps)
{
    const double alpha = turn->x * turn->at.alpha;
    const double sigma = hypot(turn->x * turn->at.sigma, turn->noise);
    for (int64_t i = 0; i <= steps; ++i)
        if (fabs(levels[i].alpha - alpha) < 1e-12 && fabs(levels[i].sigma - sigma) < 1e-12)
            return i;
    return -1;
}

static void masks_are_drawn_again_and_again(void **state)
{
    (void)state;
    enum { STEPS = 20, TIMES = 3, JUMP = 6 };
    for (int sampler = 0; sampler < DDPM_SAMPLER_AUTO; ++sampler) {
        struct ddpm_chain chain = chain_of(sampler, STEPS);
        chain.churn = 0;
        struct ddpm_level levels[STEPS + 1];
        struct ddpm_turns plain = turns_given(chain, (struct ddpm_chain_given){0});
        struct ddpm_turns turns = turns_given(
            chain, (struct ddpm_chain_given){
                       .from = true, .strength = 1, .mask = true, .resample = TIMES, .jump = JUMP});
        chain_levels(&chain, levels);
        int64_t at = 0, jumps = 0;
        assert_int_equal(steps_of(&turns), STEPS * TIMES);
        for (size_t i = 0; i < turns.count; ++i) {
            const struct ddpm_turn *turn = &turns.items[i];
            const bool ends = i + 1 == turns.count || turns.items[i + 1].step != turn->step;
            assert_int_equal(turn->blend, ends);
            if (!turn->evaluate) {
                const int64_t reached = level_reached(turn, levels, STEPS);
                assert_true(at - reached == JUMP || (at == STEPS && at - reached == 2));
                assert_false(ends);
                at = reached;
                ++jumps;
                for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j) /* must not look back over the jump */
                    assert_true(turns.items[i + 1].kept[j] == 0);
            }
            if (ends) {
                ++at;
                assert_true(turn->known == levels[at].alpha);
                assert_true(turn->known_noise == levels[at].sigma);
            }
        }
        assert_int_equal(at, STEPS);
        assert_int_equal(jumps, 4 * (TIMES - 1)); /* 6, 6, 6 and 2 steps */
        assert_true(ddpm_turns_evaluations(&turns) >= TIMES * STEPS);
        assert_true(ddpm_turns_evaluations(&turns) <= TIMES * ddpm_turns_evaluations(&plain));
        ddpm_turns_clear(&turns);
        ddpm_turns_clear(&plain);
    }
}

/* Each step once: the plain chain, apart from the blends. */
static void a_mask_without_jumps_leaves_the_chain(void **state)
{
    (void)state;
    const struct ddpm_chain chain = chain_of(DDPM_SAMPLER_UNIPC, 20);
    struct ddpm_turns plain = turns_given(chain, (struct ddpm_chain_given){0});
    struct ddpm_turns turns = turns_given(
        chain, (struct ddpm_chain_given){.from = true, .strength = 1, .mask = true, .resample = 1});
    assert_int_equal(turns.count, plain.count);
    for (size_t i = 0; i < plain.count; ++i) {
        assert_true(turns.items[i].blend);
        assert_memory_equal(turns.items[i].kept, plain.items[i].kept, sizeof plain.items[i].kept);
    }
    ddpm_turns_clear(&plain);
    ddpm_turns_clear(&turns);
}

/* The drawn part keeps the distribution of the data through all jumps. Everything is affine, so the
 * test follows mean and variance exactly. */
static void jumps_keep_the_distribution(void **state)
{
    (void)state;
    double mean = 0, variance = 1;
    struct ddpm_turns turns =
        turns_given(chain_of(DDPM_SAMPLER_ANCESTRAL, 500),
                    (struct ddpm_chain_given){
                        .from = true, .strength = 1, .mask = true, .resample = 4, .jump = 10});
    for (size_t i = 0; i < turns.count; ++i) {
        const struct ddpm_turn *turn = &turns.items[i];
        const struct affine denoiser = exact_denoiser(&turn->at);
        const double slope = turn->x0 * denoiser.slope + turn->x;
        mean = slope * mean + turn->x0 * denoiser.offset;
        variance = slope * slope * variance + turn->noise * turn->noise;
    }
    assert_true(fabs(mean - DATA_MEAN) < 0.01);
    assert_true(fabs(sqrt(variance) - DATA_DEVIATION) < 0.02);
    ddpm_turns_clear(&turns);
}

static void defaults_are_the_papers(void **state)
{
    (void)state;
    char text[DDPM_CHAIN_BYTES];
    const struct ddpm_chain_given given = {.from = true, .strength = 1, .mask = true};
    struct ddpm_chain chain = chain_of(DDPM_SAMPLER_DDIM, 250);
    assert_ok(ddpm_chain_give(&chain, &given));
    assert_int_equal(chain.given.resample, 10);
    assert_int_equal(chain.given.jump, 10);
    chain = chain_of(DDPM_SAMPLER_DPMPP, 20);
    assert_ok(ddpm_chain_give(&chain, &given));
    assert_string_equal(ddpm_chain_text(&chain, text),
                        "dpmpp, 20 steps, karras, inside a mask, every step 10 times");
    chain = chain_of(DDPM_SAMPLER_HEUN, 18);
    ddpm_chain_quieten(&chain);
    assert_ok(ddpm_chain_give(&chain, &(struct ddpm_chain_given){.invert = true}));
    assert_string_equal(ddpm_chain_text(&chain, text), "ddim, 18 steps, karras, inverted");
    chain = chain_of(DDPM_SAMPLER_DPMPP, 20);
    assert_ok(ddpm_chain_give(&chain, &(struct ddpm_chain_given){.from = true, .strength = 0.25}));
    assert_string_equal(ddpm_chain_text(&chain, text), "dpmpp, 20 steps, karras, strength 0.25");
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        int sampler;
        struct ddpm_chain_given given;
        const char *words;
    } wrong[] = {
        {DDPM_SAMPLER_DDIM, {.from = true, .strength = 1.01}, "got strength 1.01, want 0 to 1"},
        {DDPM_SAMPLER_DDIM, {.from = true, .strength = -0.1}, "got strength -0.1"},
        {DDPM_SAMPLER_DDIM, {.from = true, .strength = (double)NAN}, "strength"},
        {DDPM_SAMPLER_DDIM, {.strength = 0.5}, "without pictures"},
        {DDPM_SAMPLER_DDIM, {.mask = true}, "a mask without pictures"},
        {DDPM_SAMPLER_DDIM, {.from = true, .jump = 2}, "without a mask"},
        {DDPM_SAMPLER_DDIM, {.from = true, .mask = true, .resample = -1}, "resample -1"},
        {DDPM_SAMPLER_DDIM, {.from = true, .mask = true, .resample = 50001}, "at most 1000000"},
        {DDPM_SAMPLER_DDIM, {.invert = true, .from = true}, "an inversion with a strength"},
        {DDPM_SAMPLER_ANCESTRAL, {.invert = true}, "got sampler ancestral, which adds noise"},
        {DDPM_SAMPLER_DPMPP_SDE, {.invert = true}, "got sampler dpmpp-sde, which adds noise"},
        {DDPM_SAMPLER_HEUN, {.invert = true}, "heun with churn, which adds noise"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        struct ddpm_chain chain = chain_of(wrong[i].sampler, 20);
        assert_refused(ddpm_chain_give(&chain, &wrong[i].given), wrong[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strength_runs_the_last_steps),
        cmocka_unit_test(strength_one_is_the_chain),
        cmocka_unit_test(inversion_goes_back_along_the_flow),
        cmocka_unit_test(inversion_knows_no_schedule),
        cmocka_unit_test(masks_are_drawn_again_and_again),
        cmocka_unit_test(a_mask_without_jumps_leaves_the_chain),
        cmocka_unit_test(jumps_keep_the_distribution),
        cmocka_unit_test(defaults_are_the_papers),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("chains from pictures", tests, NULL, NULL);
}
