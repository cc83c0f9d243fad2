/* Noise levels from the caller, by objective: those of a training step, and the times of a forward
 * pass. */
#include "run_support.h"

#include "training/trainer_state.h"

static struct ddpm_network *model_of(const char *options)
{
    char text[240];
    snprintf(text, sizeof text, "%s sigma-data=0.5", options);
    return tiny_network(text);
}

/* A step of two pictures at these levels. */
static ddpm_status step_at(const char *options, const double *sigmas, size_t count,
                           const int64_t *timesteps, size_t size)
{
    struct ddpm_network *network = model_of(options);
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result = {0};
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    struct given given = make_given(network, 0);
    const struct ddpm_step_input input = {
        .size = size,
        .pictures = given.pictures,
        .picture_count = (size_t)given.count,
        .timesteps = timesteps,
        .timestep_count = timesteps ? 2 : 0,
        .noise = given.noise,
        .noise_count = (size_t)given.count,
        .sigmas = sigmas,
        .sigma_count = count,
    };
    const ddpm_status status = ddpm_trainer_step_given(trainer, &input, &result);
    assert_int_equal(ddpm_trainer_steps_done(trainer), status == DDPM_OK);
    assert_true(status != DDPM_OK || (result.loss > 0 && isfinite(result.loss)));
    free_given(&given);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    return status;
}

static void given_levels_must_fit(void **state)
{
    (void)state;
    const size_t size = sizeof(struct ddpm_step_input);
    const size_t before_sigmas = offsetof(struct ddpm_step_input, sigmas);
    const int64_t timesteps[] = {3, 4};
    static const struct {
        const char *options;
        double sigmas[2];
        const char *words; /* NULL: the step succeeds */
    } cases[] = {
        {"objective=flow", {0.5, 1}, NULL},
        {"objective=flow", {0.5, 0}, "sigma 1: got 0, want more than 0 and at most 1"},
        {"objective=flow", {-0.25, 1}, "sigma 0: got -0.25"},
        {"objective=flow", {0.5, 1.5}, "sigma 1: got 1.5, want more than 0 and at most 1"},
        {"objective=flow", {NAN, 1}, "sigma 0: got "},
        {"objective=edm", {0.001, 90}, NULL},
        {"objective=edm", {0.001, INFINITY}, "sigma 1: got inf, want more than 0, and finite"},
        {"objective=edm", {0, 1}, "sigma 0: got 0, want more than 0, and finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        if (cases[i].words)
            assert_error(step_at(cases[i].options, cases[i].sigmas, 2, NULL, size),
                         DDPM_ERROR_ARGUMENT, cases[i].words);
        else
            assert_ok(step_at(cases[i].options, cases[i].sigmas, 2, NULL, size));
    const double good[] = {0.5, 0.25, 0.125};
    assert_error(step_at("objective=flow", good, 3, NULL, size), DDPM_ERROR_ARGUMENT, "sigmas");
    assert_error(step_at("objective=flow", NULL, 0, timesteps, size), DDPM_ERROR_ARGUMENT,
                 "got NULL as sigmas, which objective flow needs");
    assert_error(step_at("objective=edm", good, 2, timesteps, before_sigmas), DDPM_ERROR_ARGUMENT,
                 "got NULL as sigmas");
    assert_error(step_at("objective=v", good, 2, NULL, size), DDPM_ERROR_ARGUMENT,
                 "got NULL as timesteps");
    assert_ok(step_at("objective=v", NULL, 0, timesteps, before_sigmas));
}

enum { SIDE = 8, COUNT = 3 * SIDE * SIDE };

static struct ddpm_forward_input one_picture(const float x[COUNT], const float *time)
{
    return (struct ddpm_forward_input){.size = sizeof(struct ddpm_forward_input),
                                       .x = x,
                                       .x_count = COUNT,
                                       .times = time,
                                       .time_count = 1,
                                       .batch = 1,
                                       .height = SIDE,
                                       .width = SIDE};
}

/* A forward pass of one picture at this time. */
static ddpm_status forward_at(const char *options, float time)
{
    struct ddpm_network *network = model_of(options);
    float x[COUNT] = {0}, y[COUNT];
    const struct ddpm_forward_input input = one_picture(x, &time);
    const ddpm_status status = ddpm_network_forward(network, DDPM_WEIGHTS_MODEL, &input, y, COUNT);
    for (int i = 0; i < COUNT && status == DDPM_OK; ++i)
        assert_true(isfinite(y[i]));
    ddpm_network_destroy(&network);
    return status;
}

/* With 25 timesteps: a caller may use every time that a sampler uses. */
static void a_network_is_told_its_objectives_times(void **state)
{
    (void)state;
    assert_ok(forward_at("objective=v", 24));
    assert_error(forward_at("objective=v", 24.5f), DDPM_ERROR_ARGUMENT, "got 24.5, want 0 to 24");
    assert_ok(forward_at("objective=flow", 24.5f));
    assert_ok(forward_at("objective=flow", 25));
    assert_error(forward_at("objective=flow", 25.5f), DDPM_ERROR_ARGUMENT,
                 "got 25.5, want 0 to 25");
    assert_error(forward_at("objective=flow", -1), DDPM_ERROR_ARGUMENT, "got -1, want 0 to 25");
    assert_ok(forward_at("objective=edm", -1.55f)); /* of sigma 0.002 */
    assert_ok(forward_at("objective=edm", 1.1f));   /* of sigma 80 */
    assert_error(forward_at("objective=edm", NAN), DDPM_ERROR_ARGUMENT, "want -22 to 22");
    assert_error(forward_at("objective=edm", 80), DDPM_ERROR_ARGUMENT, "got 80, want -22 to 22");
}

/* The level of a time is the one that a predicted picture is computed at. */
static void a_time_has_a_level(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        double time, sum; /* alpha² + sigma², or alpha + sigma for flow */
    } cases[] = {
        {"objective=v", 0, 1},
        {"objective=v", 17.5, 1},
        {"objective=v", 24, 1},
        {"objective=v drawing-steps=2 drawing-level=2", 24, 1},
        {"objective=v zero-terminal-snr=on shift=2", 24, 1},
        {"objective=flow shift=3", 10, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct ddpm_network *network = model_of(cases[i].options);
        const bool flow = strstr(cases[i].options, "flow");
        const float time = (float)cases[i].time;
        float x[COUNT], y[COUNT], x0[COUNT];
        double alpha, sigma;
        for (int k = 0; k < COUNT; ++k)
            x[k] = sinf((float)k);
        const struct ddpm_forward_input input = one_picture(x, &time);
        assert_ok(ddpm_network_level(network, cases[i].time, &alpha, &sigma));
        assert_ok(ddpm_network_forward(network, DDPM_WEIGHTS_MODEL, &input, y, COUNT));
        assert_ok(ddpm_network_predict_x0(network, DDPM_WEIGHTS_MODEL, &input, x0, COUNT));
        const double sum = flow ? alpha + sigma : alpha * alpha + sigma * sigma;
        assert_true(fabs(sum - cases[i].sum) < 1e-12);
        for (int k = 0; k < COUNT; ++k) {
            const double want = (flow ? 1 : alpha) * (double)x[k] - sigma * (double)y[k];
            if (!(fabs((double)x0[k] - want) < 1e-6))
                fail_msg("%s at %g: x_0 is %g, want %g", cases[i].options, cases[i].time,
                         (double)x0[k], want);
        }
        ddpm_network_destroy(&network);
    }
}

static void levels_end_where_the_path_ends(void **state)
{
    (void)state;
    double alpha = 7, sigma = 7;
    struct ddpm_network *network = model_of("objective=v zero-terminal-snr=on");
    assert_ok(ddpm_network_level(network, 24, &alpha, &sigma));
    assert_true(alpha == 0 && sigma == 1);
    assert_error(ddpm_network_level(network, 24.5, &alpha, &sigma), DDPM_ERROR_ARGUMENT,
                 "time: got 24.5, want 0 to 24");
    assert_error(ddpm_network_level(network, NAN, &alpha, &sigma), DDPM_ERROR_ARGUMENT,
                 "want 0 to 24");
    assert_true(alpha == 0 && sigma == 1);
    ddpm_network_destroy(&network);
    double drawn[2]; /* a distilled model draws from a lower level, but its times mean the same */
    network = model_of("objective=v drawing-steps=2 drawing-level=2");
    assert_ok(ddpm_network_level(network, 23, &drawn[0], &drawn[1]));
    ddpm_network_destroy(&network);
    network = model_of("objective=v");
    assert_ok(ddpm_network_level(network, 23, &alpha, &sigma));
    assert_true(sigma / alpha > 2 && drawn[0] == alpha && drawn[1] == sigma);
    ddpm_network_destroy(&network);
    network = model_of("objective=edm");
    assert_ok(ddpm_network_level(network, log(80) / 4, &alpha, &sigma));
    assert_true(alpha == 1 && fabs(sigma - 80) < 1e-9);
    ddpm_network_destroy(&network);
}

/* With timestep-per-batch the pictures of a batch share a level, accumulated batches do not. */
static void every_batch_has_a_level(void **state)
{
    (void)state;
    char *folder = make_folder();
    float levels[2][2];
    write_pictures(in_folder(folder, "p.npy"), 7, 8);
    for (int i = 0; i < 2; ++i) { /* the last batch of a step, which is also the first or not */
        struct run run;
        start(&run, folder,
              i ? "objective=flow timestep-per-batch=on accumulate=2"
                : "objective=flow timestep-per-batch=on");
        steps(&run, 1);
        for (int64_t b = 0; b < 2; ++b)
            levels[i][b] = run.trainer->host_rows[b * run.trainer->task->columns];
        end(&run);
        assert_true(levels[i][0] == levels[i][1]);
    }
    assert_true(levels[0][0] != levels[1][0]);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_has_a_level),
        cmocka_unit_test(given_levels_must_fit),
        cmocka_unit_test(a_network_is_told_its_objectives_times),
        cmocka_unit_test(a_time_has_a_level),
        cmocka_unit_test(levels_end_where_the_path_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
