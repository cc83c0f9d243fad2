/* Objectives through the public interface: resuming gives the same results as never stopping, every
 * sampler draws, sigma_data is measured, and options that do not fit give a clear error. */
#include <jansson.h>

#include "run_support.h"

enum { SIDE = 8, VALUES = 3 * SIDE * SIDE };

/* Every objective, and combinations of the options that change training or drawing. */
static const char *const models[] = {
    "objective=noise offset-noise=0.1",
    "objective=x0 loss-weight=soft-min-snr",
    "objective=v loss-weight=min-snr zero-terminal-snr=on",
    "objective=v shift=2 timestep-per-batch=on",
    "objective=flow",
    "objective=flow flow-times=logit-normal shift=3 loss-weight=min-snr",
    "objective=edm",
    "objective=edm loss-weight=soft-min-snr offset-noise=0.05 timestep-per-batch=on",
    "objective=v loss-weight=uncertainty zero-terminal-snr=on optimizer=muon ema=power",
    "objective=flow loss-weight=uncertainty memory=low max-grad-norm=0.5",
};
enum { MODELS = sizeof models / sizeof *models };

static char *folder_with_pictures(void)
{
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 7, SIDE);
    return folder;
}

static void going_on_is_as_never_having_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < MODELS; ++i) {
        char options[200];
        snprintf(options, sizeof options, "%s accumulate=2", models[i]);
        check_going_on(options);
    }
}

/* Learned weights are a part of the model that drawing does not read, and the loss that is reported
 * does not change with them. */
static void learned_weights_are_learned(void **state)
{
    (void)state;
    static const char *const options[] = {"objective=v threads=1",
                                          "objective=v threads=1 loss-weight=uncertainty"};
    char *folder = folder_with_pictures();
    struct run runs[2];
    struct ddpm_step_result results[2];
    float bias[2];
    for (int i = 0; i < 2; ++i) {
        start(&runs[i], folder, options[i]);
        if (i == 1)
            assert_ok(ddpm_network_get(runs[1].network, DDPM_WEIGHTS_MODEL, "uncertainty.bias",
                                       &bias[0], 1));
        assert_ok(ddpm_trainer_step(runs[i].trainer, &results[i]));
    }
    assert_true(results[0].loss == results[1].loss);
    assert_int_equal(ddpm_network_weight_count(runs[1].network),
                     ddpm_network_weight_count(runs[0].network) + 33);
    assert_ok(
        ddpm_network_get(runs[1].network, DDPM_WEIGHTS_MODEL, "uncertainty.bias", &bias[1], 1));
    assert_true(bias[0] != bias[1]);
    for (int i = 0; i < 2; ++i)
        end(&runs[i]);
    remove_folder(folder);
}

static struct ddpm_network *model_to_draw(const char *options)
{
    char text[240];
    snprintf(text, sizeof text, "%s sigma-data=0.5 conv=direct", options);
    return tiny_network(text);
}

/* Seven pictures as arrays, in batches of `batch`. */
static void draw(struct ddpm_network *network, const char *name, int64_t batch, const float *init,
                 float *values)
{
    struct ddpm_sampler *sampler;
    const struct ddpm_sampler_options options = {.size = sizeof options,
                                                 .sampler = name,
                                                 .steps = 5,
                                                 .batch = batch,
                                                 .weights = DDPM_WEIGHTS_EMA,
                                                 .clip = -1};
    const struct ddpm_draw request = {.size = sizeof request,
                                      .count = 7,
                                      .seed = 4,
                                      .init = init,
                                      .init_count = init ? 7 * VALUES : 0};
    assert_ok(ddpm_sampler_create(network, &options, &sampler));
    assert_ok(ddpm_sampler_draw_array(sampler, &request, values, 7 * VALUES));
    ddpm_sampler_destroy(&sampler);
}

static void every_sampler_draws(void **state)
{
    (void)state;
    float wanted[7 * VALUES], got[7 * VALUES];
    for (int i = 0; i < MODELS; ++i) {
        struct ddpm_network *network = model_to_draw(models[i]);
        const bool scheduled = !strstr(models[i], "flow") && !strstr(models[i], "edm");
        for (size_t k = 0; k < ordinary_samplers(); ++k) {
            const char *name = ddpm_sampler_at(k).name;
            if (!scheduled && strcmp(name, "ancestral") == 0)
                continue;
            draw(network, name, 7, NULL, wanted);
            for (int j = 0; j < 7 * VALUES; ++j)
                assert_true(isfinite(wanted[j]));
            assert_memory_not_equal(wanted, wanted + VALUES, VALUES * sizeof *wanted);
            draw(network, name, 3, NULL, got);
            if (memcmp(got, wanted, sizeof got) != 0)
                fail_msg("%s, %s: another picture in batches of 3", models[i], name);
        }
        ddpm_network_destroy(&network);
    }
}

/* One step of DDIM from the noisiest level ends at x̂_0. */
static void the_predicted_picture_is_where_one_step_ends(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        float time, sigma;
    } cases[] = {
        {"objective=noise", 24, 1}, {"objective=noise learned-variance=on", 24, 1},
        {"objective=x0", 24, 1},    {"objective=v zero-terminal-snr=on", 24, 1},
        {"objective=flow", 25, 1},  {"objective=edm sigma-max=64", 1.0397208f, 64}}; /* ln(64)/4 */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct ddpm_network *network = model_to_draw(cases[i].options);
        struct ddpm_sampler_options options = DDPM_SAMPLER_OPTIONS_INIT;
        struct ddpm_sampler *sampler;
        float x[2 * VALUES], wanted[2 * VALUES], got[2 * VALUES];
        const float times[2] = {cases[i].time, cases[i].time};
        for (int j = 0; j < 2 * VALUES; ++j)
            x[j] = cases[i].sigma * sinf((float)j);
        options.sampler = "ddim";
        options.spacing = "trailing";
        options.steps = 1;
        options.clip = 0;
        const struct ddpm_draw request = {
            .size = sizeof request, .count = 2, .init = x, .init_count = 2 * VALUES};
        const struct ddpm_forward_input input = {.size = sizeof input,
                                                 .x = x,
                                                 .x_count = 2 * VALUES,
                                                 .times = times,
                                                 .time_count = 2,
                                                 .batch = 2,
                                                 .height = SIDE,
                                                 .width = SIDE};
        assert_ok(ddpm_sampler_create(network, &options, &sampler));
        assert_ok(ddpm_sampler_draw_array(sampler, &request, wanted, 2 * VALUES));
        assert_ok(ddpm_network_predict_x0(network, DDPM_WEIGHTS_EMA, &input, got, 2 * VALUES));
        for (int j = 0; j < 2 * VALUES; ++j)
            if (!(fabsf(got[j] - wanted[j]) <= 1e-4f * (1 + fabsf(wanted[j]))))
                fail_msg("%s: value %d is %g, want %g", cases[i].options, j, (double)got[j],
                         (double)wanted[j]);
        ddpm_sampler_destroy(&sampler);
        ddpm_network_destroy(&network);
    }
}

/* The first x is noise with the first level's standard deviation: 1, or sigma_max for edm. */
static void a_chain_begins_with_noise_of_its_first_level(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        float sigma;
    } begun[] = {{"objective=v zero-terminal-snr=on", 1},
                 {"objective=flow shift=3", 1},
                 {"objective=edm sigma-max=64", 64},
                 {"objective=edm sigma-max=32 shift=2", 64}};
    float x[7 * VALUES], wanted[7 * VALUES], got[7 * VALUES], picture[VALUES];
    for (size_t i = 0; i < sizeof begun / sizeof *begun; ++i) {
        struct ddpm_network *network = model_to_draw(begun[i].options);
        for (uint32_t k = 0; k < 7; ++k) {
            ddpm_fill_normal(picture, VALUES, 4, DDPM_STREAM_SAMPLE_INIT, 0, k);
            for (int p = 0; p < SIDE * SIDE; ++p)
                for (int c = 0; c < 3; ++c)
                    x[((int)k * 3 + c) * SIDE * SIDE + p] = begun[i].sigma * picture[3 * p + c];
        }
        draw(network, "dpmpp", 7, NULL, wanted);
        draw(network, "dpmpp", 7, x, got);
        assert_memory_equal(got, wanted, sizeof got);
        ddpm_network_destroy(&network);
    }
}

static void ancestral_needs_a_schedule(void **state)
{
    (void)state;
    static const char *const continuous[] = {"objective=flow", "objective=edm"};
    for (int i = 0; i < 2; ++i) {
        struct ddpm_network *network = model_to_draw(continuous[i]);
        struct ddpm_sampler *sampler;
        const struct ddpm_sampler_options options = {
            .size = sizeof options, .sampler = "ancestral", .clip = -1};
        assert_error(ddpm_sampler_create(network, &options, &sampler), DDPM_ERROR_ARGUMENT,
                     "use sampler ddim with eta 1");
        assert_non_null(strstr(ddpm_error_message(), continuous[i] + strlen("objective=")));
        assert_null(sampler);
        ddpm_network_destroy(&network);
    }
}

static void edm_needs_sigma_data(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("objective=edm");
    struct ddpm_trainer *trainer;
    struct ddpm_sampler *sampler;
    struct ddpm_memory_plan plan;
    const struct ddpm_sampler_options options = {.size = sizeof options, .clip = -1};
    static const char wanted[] = "option sigma-data: got 0 with objective edm";
    assert_error(ddpm_trainer_create(network, NULL, NULL, &trainer), DDPM_ERROR_ARGUMENT, wanted);
    assert_null(trainer);
    assert_error(ddpm_trainer_measure(network, NULL, &plan), DDPM_ERROR_ARGUMENT, wanted);
    assert_error(ddpm_trainer_check_memory(network, NULL, 0), DDPM_ERROR_ARGUMENT, wanted);
    assert_error(ddpm_sampler_create(network, &options, &sampler), DDPM_ERROR_ARGUMENT, wanted);
    assert_null(sampler);
    assert_error(ddpm_sampler_measure(network, &options, &plan), DDPM_ERROR_ARGUMENT, wanted);
    ddpm_network_destroy(&network);
}

/* sigma_data measured on pictures whose values alternate between `low` and `high`. */
static ddpm_status measure(const char *folder, const char *options, uint8_t low, uint8_t high,
                           double *measured)
{
    const int64_t shape[] = {5, SIDE, SIDE, 3};
    uint8_t pixels[5 * VALUES];
    char text[64];
    struct ddpm_config *config = tiny_config(options);
    struct ddpm_data *data;
    for (int i = 0; i < 5 * VALUES; ++i)
        pixels[i] = i % 2 ? high : low;
    assert_ok(ddpm_npy_write(in_folder(folder, "m.npy"), DDPM_NPY_U8, 4, shape, pixels));
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "m.npy")));
    assert_ok(ddpm_data_open(config, &data));
    ddpm_status status = ddpm_data_measure(data, config);
    assert_ok(ddpm_config_get(config, "sigma-data", text, sizeof text));
    *measured = atof(text);
    ddpm_data_close(&data);
    ddpm_config_destroy(&config);
    return status;
}

static void the_deviation_of_pictures_is_measured(void **state)
{
    (void)state;
    char *folder = make_folder();
    double measured;
    assert_ok(measure(folder, "objective=edm", 0, 255, &measured));
    assert_true(measured == 1);
    assert_ok(measure(folder, "objective=edm", 100, 151, &measured));
    assert_true(fabs(measured - 25.5 / 127.5) < 1e-12); /* around the mean, not around 0 */
    assert_ok(measure(folder, "objective=edm sigma-data=0.3", 0, 255, &measured));
    assert_true(measured == 0.3);
    assert_ok(measure(folder, "objective=flow", 0, 255, &measured));
    assert_true(measured == 0);
    assert_error(measure(folder, "objective=edm", 9, 9, &measured), DDPM_ERROR_FORMAT,
                 "the same single colour");
    assert_true(measured == 0);
    remove_folder(folder);
}

/* Turn the newest checkpoint into one from a version without objectives. */
static void forget_objectives(const char *folder)
{
    static const char *const since[] = {
        "zero-terminal-snr", "shift",          "objective", "loss-weight",  "min-snr-gamma",
        "offset-noise",      "flow-times",     "flow-mean", "sigma-data",   "sigma-min",
        "sigma-max",         "flow-deviation", "edm-mean",  "edm-deviation"};
    const char *path = in_folder(folder, "run/checkpoints/latest/state.json");
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    json_t *options = json_object_get(json, "options");
    for (size_t i = 0; i < sizeof since / sizeof *since; ++i)
        assert_int_equal(json_object_del(options, since[i]), 0);
    assert_int_equal(json_dump_file(json, path, JSON_INDENT(2)), 0);
    json_decref(json);
}

static void a_checkpoint_without_an_objective_is_of_noise(void **state)
{
    (void)state;
    char *folder = folder_with_pictures();
    struct run run;
    start(&run, folder, "");
    steps(&run, 2);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, "run")));
    end(&run);
    forget_objectives(folder);
    static const struct {
        const char *options, *words;
    } others[] = {{"objective=v", "objective is noise in the checkpoint and v now"},
                  {"objective=edm", "objective is noise in the checkpoint and edm now"},
                  {"loss-weight=min-snr", "loss-weight is none in the checkpoint and min-snr now"},
                  {"shift=2", "shift is 1"},
                  {"offset-noise=0.1", "offset-noise is 0"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i) {
        start(&run, folder, others[i].options);
        assert_error(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")),
                     DDPM_ERROR_MISMATCH, others[i].words);
        end(&run);
    }
    start(&run, folder, "objective=noise");
    assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, "run")));
    assert_int_equal(ddpm_trainer_steps_done(run.trainer), 2);
    steps(&run, 1);
    end(&run);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(going_on_is_as_never_having_stopped),
        cmocka_unit_test(learned_weights_are_learned),
        cmocka_unit_test(every_sampler_draws),
        cmocka_unit_test(the_predicted_picture_is_where_one_step_ends),
        cmocka_unit_test(a_chain_begins_with_noise_of_its_first_level),
        cmocka_unit_test(ancestral_needs_a_schedule),
        cmocka_unit_test(edm_needs_sigma_data),
        cmocka_unit_test(the_deviation_of_pictures_is_measured),
        cmocka_unit_test(a_checkpoint_without_an_objective_is_of_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
