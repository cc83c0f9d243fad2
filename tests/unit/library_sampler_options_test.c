/* Samplers through the public interface: the options in force, and what the callback receives. */
#include "library_support.h"

#include <ddpm/sampler.h>

static void expect(struct ddpm_network *network, const struct ddpm_sampler_options *options,
                   const char *text, int64_t evaluations)
{
    struct ddpm_sampler *sampler;
    assert_ok(ddpm_sampler_create(network, options, &sampler));
    assert_string_equal(ddpm_sampler_description(sampler), text);
    assert_int_equal(ddpm_sampler_evaluations(sampler), evaluations);
    const struct ddpm_sampler_options *all = ddpm_sampler_in_force(sampler);
    assert_int_equal(all->steps, ddpm_sampler_steps(sampler));
    assert_true(all->batch > 0 && all->height > 0 && all->width > 0 && all->clip >= 0);
    ddpm_sampler_destroy(&sampler);
}

static void a_chain_is_configured_or_named(void **state)
{
    (void)state;
    struct ddpm_network *network =
        tiny_network("timesteps=40 sampler=ddim eta=0.5 sampling-steps=7 spacing=leading");
    struct ddpm_sampler_options options = {.size = sizeof options, .clip = -1};
    expect(network, &options, "ddim, 7 steps, leading, eta 0.5", 7);
    options.steps = 5; /* options override the configuration */
    options.spacing = "karras";
    expect(network, &options, "ddim, 5 steps, karras, eta 0.5", 5);
    options = (struct ddpm_sampler_options){.size = sizeof options, .clip = -1};
    options.sampler = "heun"; /* ignores what was configured for another */
    expect(network, &options, "heun, 18 steps, karras", 35);
    options.churn = 2;
    options.steps = 4;
    expect(network, &options, "heun, 4 steps, karras, churn 2", 7);
    options = (struct ddpm_sampler_options){
        .size = sizeof options, .clip = -1, .sampler = "euler", .spacing = "auto"};
    expect(network, &options, "ddim, 40 steps, karras", 40);
    options.sampler = "auto";
    expect(network, &options, "dpmpp, 10 steps, karras", 10);
    options.sampler = "unipc";
    options.order = 3;
    expect(network, &options, "unipc, 20 steps, karras, order 3", 20);
    assert_null(ddpm_sampler_in_force(NULL));
    ddpm_network_destroy(&network);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct ddpm_sampler_options options;
        const char *words;
    } cases[] = {
        {{.sampler = "dpmp"}, "unknown sampler \"dpmp\"; the nearest is \"dpmpp\""},
        {{.spacing = "krras"}, "unknown spacing \"krras\"; the nearest is \"karras\""},
        {{.eta = 0.5}, "got eta 0.5, but sampler dpmpp has none"},
        {{.sampler = "ddim", .eta = 2}, "got eta 2, want 0 to 1"},
        {{.sampler = "ddim", .churn_max = 2}, "sampler ddim has none"},
        {{.sampler = "unipc", .order = 4}, "got order 4, want 2 to 3"},
        {{.sampler = "ancestral", .steps = 26}, "got 26 sampling steps, want at most"},
        {{.steps = -1}, "sampler: steps: got -1, want 0 or more"},
    };
    struct ddpm_network *network = tiny_network(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct ddpm_sampler_options options = cases[i].options;
        struct ddpm_sampler *sampler;
        options.size = sizeof options;
        options.clip = -1;
        assert_error(ddpm_sampler_create(network, &options, &sampler), DDPM_ERROR_ARGUMENT,
                     cases[i].words);
        assert_null(sampler);
    }
    ddpm_network_destroy(&network);
}

/* A caller built against a header without order and churn. */
static void an_older_caller_is_served(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    struct ddpm_sampler_options options = {.sampler = "unipc", .steps = 3, .clip = -1, .order = 9};
    options.size = offsetof(struct ddpm_sampler_options, order);
    expect(network, &options, "unipc, 3 steps, karras", 3);
    ddpm_network_destroy(&network);
}

struct seen {
    int64_t calls, evaluations, total;
};

static int see(void *user, const struct ddpm_sample_progress *progress)
{
    struct seen *seen = user;
    ++seen->calls;
    assert_true(progress->evaluations > seen->evaluations);
    seen->evaluations = progress->evaluations;
    seen->total = progress->evaluations_total;
    return 0;
}

/* Two evaluations per step except the last, in two batches. */
static void evaluations_measure_time(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    uint8_t pictures[3 * 8 * 8 * 3];
    struct seen seen = {0};
    const struct ddpm_sample_options options = {.size = sizeof options,
                                                .count = 3,
                                                .batch = 2,
                                                .clip = -1,
                                                .sampler = "heun",
                                                .steps = 6,
                                                .callback = see,
                                                .user = &seen};
    assert_ok(sample_into(network, &options, pictures));
    assert_int_equal(seen.calls, 12);
    assert_int_equal(seen.evaluations, 22);
    assert_int_equal(seen.total, 22);
    ddpm_network_destroy(&network);
}

static void the_initialisers_hold_the_defaults(void **state)
{
    (void)state;
    static const struct ddpm_sampler_options sampler = DDPM_SAMPLER_OPTIONS_INIT;
    static const struct ddpm_sample_options sample = DDPM_SAMPLE_OPTIONS_INIT;
    assert_int_equal(sampler.size, sizeof sampler);
    assert_int_equal(sampler.weights, DDPM_WEIGHTS_EMA);
    assert_int_equal(sampler.clip, -1);
    assert_null(sampler.sampler);
    assert_int_equal(sample.size, sizeof sample);
    assert_int_equal(sample.count, 1);
    assert_int_equal(sample.weights, DDPM_WEIGHTS_EMA);
    assert_int_equal(sample.clip, -1);
    assert_null(sample.from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_configured_or_named),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(an_older_caller_is_served),
        cmocka_unit_test(evaluations_measure_time),
        cmocka_unit_test(the_initialisers_hold_the_defaults),
    };
    return cmocka_run_group_tests_name("library samplers", tests, NULL, NULL);
}
