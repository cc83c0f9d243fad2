/* Which chain a configuration draws with: defaults, and `auto`. */
#include "diffusion_support.h"

#include <string.h>

#include "diffusion/chain.h"

static struct ddpm_chain resolve(struct ddpm_sampling_config config, int64_t timesteps)
{
    return ddpm_chain_resolve(&config, DDPM_OBJECTIVE_NOISE, timesteps);
}

static void expect(struct ddpm_sampling_config config, int64_t timesteps, const char *text)
{
    char made[DDPM_CHAIN_BYTES];
    const struct ddpm_chain chain = resolve(config, timesteps);
    assert_string_equal(ddpm_chain_text(&chain, made), text);
}

static void defaults_are_filled_in(void **state)
{
    (void)state;
    const struct ddpm_sampling_config any = {.sampler = DDPM_SAMPLER_AUTO,
                                             .spacing = DDPM_SPACING_AUTO};
    struct ddpm_sampling_config config = any;
    expect(config, 1000, "dpmpp, 10 steps, karras");
    expect(config, 8, "dpmpp, 8 steps, karras"); /* never more steps than timesteps */
    expect(config, 1, "dpmpp, 1 step, karras");
    config.steps = 50;
    expect(config, 12, "dpmpp, 50 steps, karras"); /* unless requested */
    config = any;
    config.sampler = DDPM_SAMPLER_ANCESTRAL;
    expect(config, 1000, "ancestral, 1000 steps, trailing");
    config.sampler = DDPM_SAMPLER_DDIM;
    config.eta = 0.5;
    config.spacing = DDPM_SPACING_LEADING;
    expect(config, 1000, "ddim, 50 steps, leading, eta 0.5");
    config = any;
    config.sampler = DDPM_SAMPLER_UNIPC;
    config.order = 3;
    expect(config, 1000, "unipc, 20 steps, karras, order 3");
    config = any;
    config.sampler = DDPM_SAMPLER_HEUN;
    config.churn = 4;
    expect(config, 1000, "heun, 18 steps, karras, churn 4");
}

/* Every sampler's defaults work with every schedule, from 21 timesteps on. */
static void defaults_make_turns(void **state)
{
    (void)state;
    for (int schedule = 0; schedule < DDPM_SCHEDULE_COUNT; ++schedule)
        for (int64_t timesteps = 21; timesteps <= 1000; timesteps *= 3)
            for (int sampler = 0; sampler <= DDPM_SAMPLER_AUTO; ++sampler) {
                struct ddpm_diffusion_config diffusion = schedule_config(schedule, timesteps);
                const struct ddpm_chain chain = resolve(
                    (struct ddpm_sampling_config){
                        .sampler = sampler, .spacing = DDPM_SPACING_AUTO, .churn_noise = 1},
                    timesteps);
                struct ddpm_turns turns = {0};
                diffusion.drawing_steps = chain.kind->distilled;
                assert_ok(ddpm_chain_turns(&chain, &diffusion, true, &turns));
                assert_true(ddpm_turns_evaluations(&turns) >= (size_t)chain.steps);
                ddpm_turns_clear(&turns);
            }
}

/* A model from ddpm distill draws with its own sampler and the steps it was trained for; no other
 * model can use that sampler. */
static void distilled_models_have_a_sampler(void **state)
{
    (void)state;
    struct ddpm_diffusion_config diffusion = schedule_config(DDPM_SCHEDULE_LINEAR, 1000);
    struct ddpm_sampling_config config = {.sampler = DDPM_SAMPLER_AUTO,
                                          .spacing = DDPM_SPACING_AUTO};
    struct ddpm_turns turns = {0};
    char text[DDPM_CHAIN_BYTES];
    struct ddpm_chain chain = ddpm_chain_of(&config, &diffusion);
    assert_string_equal(ddpm_chain_text(&chain, text), "dpmpp, 10 steps, karras");
    diffusion.drawing_steps = 4;
    assert_refused(ddpm_chain_turns(&chain, &diffusion, true, &turns),
                   "got sampler dpmpp with a model that was distilled to draw in 4 steps; want "
                   "sampler consistency");
    chain = ddpm_chain_of(&config, &diffusion);
    assert_string_equal(ddpm_chain_text(&chain, text), "consistency, 4 steps, few");
    assert_ok(ddpm_chain_turns(&chain, &diffusion, true, &turns));
    assert_int_equal(ddpm_turns_evaluations(&turns), 4);
    for (size_t i = 0; i < 4; ++i) {
        const struct ddpm_turn *turn = &turns.items[i];
        const struct ddpm_level to = i < 3 ? turn[1].at : DDPM_LEVEL_CLEAN;
        assert_true(turn->x0 == to.alpha && turn->noise == to.sigma && turn->x == 0);
    }
    config.steps = 1;
    chain = ddpm_chain_of(&config, &diffusion);
    assert_string_equal(ddpm_chain_text(&chain, text), "consistency, 1 step, few");
    diffusion.drawing_steps = 0;
    assert_refused(ddpm_chain_turns(&chain, &diffusion, true, &turns),
                   "sampler consistency needs a model made by ddpm distill");
    config = (struct ddpm_sampling_config){.sampler = DDPM_SAMPLER_CONSISTENCY,
                                           .spacing = DDPM_SPACING_KARRAS};
    chain = ddpm_chain_of(&config, &diffusion);
    assert_string_equal(ddpm_chain_text(&chain, text), "consistency, 2 steps, karras");
    ddpm_turns_clear(&turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(defaults_make_turns),
        cmocka_unit_test(distilled_models_have_a_sampler),
    };
    return cmocka_run_group_tests_name("diffusion chains", tests, NULL, NULL);
}
