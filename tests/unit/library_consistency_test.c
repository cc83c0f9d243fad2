/* Distilled models through the public interface: where training starts, that resuming gives the
 * same results as never stopping, how they draw, and invalid requests. */
#include "run_support.h"

#include <ddpm/likelihood.h>

enum { SIDE = 8, VALUES = 3 * SIDE * SIDE };

static const char *const models[] = {
    "objective=noise",
    "objective=x0 loss=l1",
    "objective=v zero-terminal-snr=on shift=2",
    "objective=flow offset-noise=0.1",
    "objective=edm sigma-data=0.5 timestep-per-batch=on",
};
enum { MODELS = sizeof models / sizeof *models };

/* The gap between the two levels changes during training. */
static void going_on_is_as_never_having_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; ++i) {
        char options[200];
        snprintf(options, sizeof options, "%s drawing-steps=2 accumulate=2 steps=8", models[i]);
        check_going_on(options);
    }
}

static void draw(struct ddpm_network *network, const char *sampler_name, int64_t batch,
                 float values[5 * VALUES])
{
    struct ddpm_sampler *sampler;
    const struct ddpm_sampler_options options = {.size = sizeof options,
                                                 .sampler = sampler_name,
                                                 .steps = sampler_name ? 1 : 0,
                                                 .spacing = sampler_name ? "few" : NULL,
                                                 .batch = batch,
                                                 .weights = DDPM_WEIGHTS_EMA,
                                                 .clip = -1};
    const struct ddpm_draw request = {.size = sizeof request, .count = 5, .seed = 4};
    assert_ok(ddpm_sampler_create(network, &options, &sampler));
    assert_ok(ddpm_sampler_draw_array(sampler, &request, values, 5 * VALUES));
    ddpm_sampler_destroy(&sampler);
}

static struct ddpm_network *model_to_draw(const char *model, int steps)
{
    char options[200];
    snprintf(options, sizeof options, "%s drawing-steps=%d conv=direct", model, steps);
    return tiny_network(options);
}

/* Before its first step a distilled network is its teacher: one step draws the teacher's x̂_0 from
 * noise, like a single step of ddim. */
static void it_begins_as_its_teacher(void **state)
{
    (void)state;
    float teacher[5 * VALUES], student[5 * VALUES];
    for (int i = 0; i < MODELS; ++i) {
        struct ddpm_network *ordinary = model_to_draw(models[i], 0);
        struct ddpm_network *distilled = model_to_draw(models[i], 1);
        draw(ordinary, "ddim", 5, teacher);
        draw(distilled, NULL, 5, student);
        assert_memory_equal(teacher, student, sizeof student);
        ddpm_network_destroy(&ordinary);
        ddpm_network_destroy(&distilled);
    }
}

static void pictures_do_not_depend_on_batches(void **state)
{
    (void)state;
    static const int drawn[] = {1, 2, 4};
    float wanted[5 * VALUES], got[5 * VALUES];
    for (int i = 0; i < MODELS; ++i)
        for (int k = 0; k < 3; ++k) {
            struct ddpm_network *network = model_to_draw(models[i], drawn[k]);
            struct ddpm_sampler *sampler;
            const struct ddpm_sampler_options options = {.size = sizeof options, .clip = -1};
            assert_ok(ddpm_sampler_create(network, &options, &sampler));
            assert_int_equal(ddpm_sampler_evaluations(sampler), drawn[k]);
            assert_non_null(strstr(ddpm_sampler_description(sampler), "consistency"));
            ddpm_sampler_destroy(&sampler);
            draw(network, NULL, 5, wanted);
            draw(network, NULL, 2, got);
            assert_memory_equal(got, wanted, sizeof got);
            ddpm_network_destroy(&network);
        }
}

/* Creating a sampler with these options fails with these words. */
static void expect_refused(struct ddpm_network *network, const char *name, int invert,
                           const char *words)
{
    struct ddpm_sampler *sampler;
    const struct ddpm_sampler_options options = {
        .size = sizeof options, .sampler = name, .clip = -1, .invert = invert};
    assert_error(ddpm_sampler_create(network, &options, &sampler), DDPM_ERROR_ARGUMENT, words);
    assert_null(sampler);
}

static void other_samplers_are_refused(void **state)
{
    (void)state;
    struct ddpm_network *distilled = model_to_draw("", 1), *ordinary = model_to_draw("", 0);
    for (size_t i = 0; i < ordinary_samplers(); ++i)
        expect_refused(distilled, ddpm_sampler_at(i).name, 0,
                       "with a model that was distilled to draw in 1 step; want sampler "
                       "consistency");
    expect_refused(
        distilled, NULL, 1,
        "got invert with a model that was distilled to draw in 1 step, want an ordinary one");
    expect_refused(ordinary, "consistency", 0,
                   "sampler consistency needs a model made by ddpm distill");
    ddpm_network_destroy(&distilled);
    ddpm_network_destroy(&ordinary);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct ddpm_config *config = tiny_config("");
    assert_ok(ddpm_config_set(config, "drawing-steps", "3"));
    assert_error(ddpm_config_check(config), DDPM_ERROR_ARGUMENT,
                 "option drawing-steps: got 3, want 1, 2 or 4");
    assert_error(ddpm_config_set(config, "drawing-steps", "5"), DDPM_ERROR_ARGUMENT, "[0, 4]");
    assert_ok(ddpm_config_set(config, "drawing-steps", "2"));
    assert_ok(ddpm_config_set(config, "learned-variance", "on"));
    assert_error(ddpm_config_check(config), DDPM_ERROR_ARGUMENT,
                 "option drawing-steps: got 2 with learned-variance");
    ddpm_config_destroy(&config);
}

/* Levels are sigma/alpha, whatever the objective; a different number of steps is a different run.
 */
static void levels_are_ratios(void **state)
{
    (void)state;
    static const float values[4 * VALUES];
    static const double sigmas[] = {0.1, 3, 1e9, 1e-9};
    struct ddpm_network *network = tiny_network("objective=flow drawing-steps=1 batch-size=4");
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    struct ddpm_step_input input = {.size = sizeof input,
                                    .pictures = values,
                                    .picture_count = 4 * VALUES,
                                    .noise = values,
                                    .noise_count = 4 * VALUES};
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_error(ddpm_trainer_step_given(trainer, &input, &result), DDPM_ERROR_ARGUMENT,
                 "got NULL as sigmas, which a distilled model needs");
    input.sigmas = sigmas;
    input.sigma_count = 4;
    assert_ok(ddpm_trainer_step_given(trainer, &input, &result));
    assert_true(isfinite(result.loss));
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

/* Bits per dimension of one picture. */
static double likelihood_of(const char *options, enum ddpm_likelihood_method method)
{
    uint8_t picture[VALUES];
    struct ddpm_likelihood *likelihood;
    struct ddpm_network *network = model_to_draw(options, 1);
    const struct ddpm_likelihood_options wanted = {.size = sizeof wanted,
                                                   .method = method,
                                                   .levels = 5,
                                                   .steps = 4,
                                                   .weights = DDPM_WEIGHTS_EMA,
                                                   .clip = -1};
    for (int i = 0; i < VALUES; ++i)
        picture[i] = (uint8_t)(i % 251);
    assert_ok(ddpm_likelihood_create(network, &wanted, &likelihood));
    assert_ok(ddpm_likelihood_add(likelihood, picture, 1, sizeof picture));
    const double bits = ddpm_likelihood_result(likelihood)->of_pictures[0];
    ddpm_likelihood_destroy(&likelihood);
    ddpm_network_destroy(&network);
    return bits;
}

/* Where drawing starts makes no difference to how likely pictures are. */
static void likelihoods_cover_the_whole_path(void **state)
{
    (void)state;
    static const enum ddpm_likelihood_method methods[] = {DDPM_LIKELIHOOD_BOUND,
                                                          DDPM_LIKELIHOOD_FLOW};
    for (int i = 0; i < 2; ++i)
        assert_true(likelihood_of("objective=v drawing-level=10", methods[i]) ==
                    likelihood_of("objective=v", methods[i]));
}

static void no_validation_loss_is_measured(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct run run;
    struct ddpm_validation_plan plan;
    write_pictures(in_folder(folder, "p.npy"), 7, SIDE);
    start(&run, folder, "drawing-steps=2 validation=0.3");
    assert_ok(ddpm_trainer_validation_plan(run.trainer, &plan));
    assert_int_equal(plan.pictures, 0);
    end(&run);
    remove_folder(folder);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(going_on_is_as_never_having_stopped),
        cmocka_unit_test(it_begins_as_its_teacher),
        cmocka_unit_test(pictures_do_not_depend_on_batches),
        cmocka_unit_test(other_samplers_are_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(levels_are_ratios),
        cmocka_unit_test(likelihoods_cover_the_whole_path),
        cmocka_unit_test(no_validation_loss_is_measured),
    };
    return cmocka_run_group_tests_name("library, distilled models", tests, NULL, NULL);
}
