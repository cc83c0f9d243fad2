/* The public interface: failures say why and change nothing; results are the same with any batch,
 * any number of threads, and with other objects of the same kind around. */
#include "library_support.h"

static void bad_configurations_are_refused(void **state)
{
    (void)state;
    struct ddpm_config *config;
    struct ddpm_network *network;
    assert_ok(ddpm_config_create(&config));
    assert_error(ddpm_config_set(config, "dimm", "8"), DDPM_ERROR_ARGUMENT, "dim");
    assert_error(ddpm_config_set(config, "dim", "-8"), DDPM_ERROR_ARGUMENT, "-8");
    assert_error(ddpm_config_set(config, "dim", "many"), DDPM_ERROR_ARGUMENT, "many");
    assert_error(ddpm_config_set(config, "network", "ResNet"), DDPM_ERROR_ARGUMENT, "OneResUNet");
    char value[16], small[2];
    assert_ok(ddpm_config_get(config, "dim", value, sizeof value));
    assert_string_equal(value, "64");
    assert_error(ddpm_config_get(config, "dim", small, sizeof small), DDPM_ERROR_ARGUMENT, "dim");
    assert_error(ddpm_config_get(config, "dimm", value, sizeof value), DDPM_ERROR_ARGUMENT, "dim");
    assert_error(ddpm_config_read(config, "no/such/file.json"), DDPM_ERROR_IO, "no/such/file.json");

    assert_ok(ddpm_config_set(config, "image-size", "100x64"));
    assert_error(ddpm_network_create(config, &network), DDPM_ERROR_ARGUMENT, "96x64 and 104x64");
    assert_null(network);
    assert_ok(ddpm_config_set(config, "image-size", "64"));
    assert_ok(ddpm_config_set(config, "timesteps", "20"));
    assert_error(ddpm_network_create(config, &network), DDPM_ERROR_ARGUMENT, "21 timesteps");
    ddpm_config_destroy(&config);
    assert_null(config);
}

static void parameters_are_found_by_name_and_count(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    float values[8] = {0};
    assert_error(ddpm_network_get(network, DDPM_WEIGHTS_MODEL, "init_conv.wait", values, 8),
                 DDPM_ERROR_ARGUMENT, "init_conv.wait");
    assert_error(ddpm_network_get(network, DDPM_WEIGHTS_MODEL, "init_conv.bias", values, 7),
                 DDPM_ERROR_ARGUMENT, "want 8");
    assert_error(ddpm_network_set(network, DDPM_WEIGHTS_EMA, "init_conv.bias", values, 9),
                 DDPM_ERROR_ARGUMENT, "want 8");
    const float wanted[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_EMA, "init_conv.bias", wanted, 8));
    assert_ok(ddpm_network_get(network, DDPM_WEIGHTS_EMA, "init_conv.bias", values, 8));
    assert_memory_equal(values, wanted, sizeof values);
    assert_ok(ddpm_network_get(network, DDPM_WEIGHTS_MODEL, "init_conv.bias", values, 8));
    assert_true(values[7] != 8);
    ddpm_network_destroy(&network);
    assert_null(network);
    ddpm_network_destroy(&network);
}

static void forward_refuses_what_it_cannot_do(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("dim-mults=1,2,2");
    float x[2 * 3 * 12 * 8] = {0}, y[2 * 3 * 12 * 8];
    int64_t t[2] = {0, 25};
    assert_error(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 2, 12, 8, y), DDPM_ERROR_ARGUMENT,
                 "got 25, want 0 to 24");
    t[1] = -1;
    assert_error(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 2, 12, 8, y), DDPM_ERROR_ARGUMENT,
                 "got -1, want 0 to 24");
    t[1] = 24;
    assert_error(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 2, 10, 8, y), DDPM_ERROR_ARGUMENT,
                 "12x8");
    assert_error(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 0, 12, 8, y), DDPM_ERROR_ARGUMENT,
                 "batch of 0");
    assert_ok(forward_on(network, DDPM_WEIGHTS_MODEL, x, t, 2, 12, 8, y));
    ddpm_network_destroy(&network);
}

static void loading_a_wrong_file_changes_nothing(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_network *network = tiny_network("seed=1"), *before = tiny_network("seed=1");
    struct ddpm_network *wider = tiny_network("dim=12"),
                        *other = tiny_network("network=OneResUNet");
    struct ddpm_network *sick = tiny_network("seed=2");
    const float nan8[8] = {0, 0, 0, NAN, 0, 0, 0, 0};
    assert_ok(ddpm_network_set(sick, DDPM_WEIGHTS_MODEL, "final_res_block.block.4.bias", nan8, 8));
    const char *paths[] = {in_folder(folder, "wider"), in_folder(folder, "other"),
                           in_folder(folder, "sick")};
    assert_ok(ddpm_network_save(wider, DDPM_WEIGHTS_MODEL, paths[0]));
    assert_ok(ddpm_network_save(other, DDPM_WEIGHTS_MODEL, paths[1]));
    assert_ok(ddpm_network_save(sick, DDPM_WEIGHTS_MODEL, paths[2]));
    assert_error(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, paths[0]), DDPM_ERROR_MISMATCH,
                 "want [8,3,7,7]");
    assert_error(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, paths[1]), DDPM_ERROR_MISMATCH,
                 "tensor ups.");
    assert_error(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, paths[2]), DDPM_ERROR_NOT_FINITE,
                 "final_res_block.block.4.bias");
    assert_error(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, folder), DDPM_ERROR_IO, folder);
    assert_error(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, in_folder(folder, "none")),
                 DDPM_ERROR_IO, "none");
    assert_ok(ddpm_file_write_whole(in_folder(folder, "text"), "not weights", 11));
    assert_error(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, in_folder(folder, "text")),
                 DDPM_ERROR_FORMAT, "text");
    assert_same_weights(network, before, DDPM_WEIGHTS_MODEL);

    ddpm_network_destroy(&other);
    assert_error(ddpm_network_open(paths[0], NULL, DDPM_WEIGHTS_MODEL, &other), DDPM_ERROR_ARGUMENT,
                 "configuration");
    assert_null(other);
    assert_error(ddpm_network_open(folder, NULL, DDPM_WEIGHTS_MODEL, &other), DDPM_ERROR_IO,
                 "neither a run");
    assert_error(ddpm_network_save(network, DDPM_WEIGHTS_MODEL, in_folder(folder, "no/such/place")),
                 DDPM_ERROR_IO, "no/such/place");
    ddpm_network_destroy(&network);
    ddpm_network_destroy(&before);
    ddpm_network_destroy(&wider);
    ddpm_network_destroy(&sick);
    remove_folder(folder);
}

static void weights_go_to_a_file_and_back(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *path = in_folder(folder, "weights.safetensors");
    struct ddpm_network *from = tiny_network("seed=1"), *to = tiny_network("seed=2"), *opened;
    assert_ok(ddpm_network_save(from, DDPM_WEIGHTS_MODEL, path));
    assert_ok(ddpm_network_load(to, DDPM_WEIGHTS_MODEL, path));
    assert_same_weights(from, to, DDPM_WEIGHTS_MODEL);
    assert_ok(ddpm_network_open(path, ddpm_network_config(from), DDPM_WEIGHTS_EMA, &opened));
    assert_same_weights(from, opened, DDPM_WEIGHTS_EMA);
    assert_same_weights(from, opened, DDPM_WEIGHTS_MODEL);
    ddpm_network_destroy(&from);
    ddpm_network_destroy(&to);
    ddpm_network_destroy(&opened);
    remove_folder(folder);
}

/* One trainer's numbers: the losses of four steps, then the first weight. */
struct run {
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    double losses[4];
};

static void start_run(struct run *run, const char *options)
{
    run->network = tiny_network(options);
    assert_ok(ddpm_trainer_create(run->network, NULL, NULL, &run->trainer));
}

static void one_step(struct run *run, uint32_t step)
{
    struct ddpm_step_result result;
    assert_ok(step_made_up(run->trainer, run->network, step, &result));
    assert_int_equal(result.step, step + 1);
    assert_int_equal(ddpm_trainer_steps_done(run->trainer), step + 1);
    run->losses[step] = result.loss;
}

static void end_run(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    assert_null(run->trainer);
    ddpm_network_destroy(&run->network);
}

static void several_trainers_do_not_meet(void **state)
{
    (void)state;
    static const char *const options[] = {"seed=3", "network=AttentionUNet seed=4",
                                          "network=OneResUNet seed=5 threads=2"};
    struct run alone[3], together[3];
    for (int i = 0; i < 3; ++i) {
        start_run(&alone[i], options[i]);
        for (uint32_t step = 0; step < 4; ++step)
            one_step(&alone[i], step);
    }
    for (int i = 0; i < 3; ++i)
        start_run(&together[i], options[i]);
    for (uint32_t step = 0; step < 4; ++step)
        for (int i = 0; i < 3; ++i)
            one_step(&together[i], step);
    for (int i = 0; i < 3; ++i) {
        assert_memory_equal(alone[i].losses, together[i].losses, sizeof alone[i].losses);
        assert_same_weights(alone[i].network, together[i].network, DDPM_WEIGHTS_MODEL);
        assert_same_weights(alone[i].network, together[i].network, DDPM_WEIGHTS_EMA);
        end_run(&alone[i]);
        end_run(&together[i]);
    }
}

static void threads_change_no_number(void **state)
{
    (void)state;
    struct run one, two;
    start_run(&one, "threads=1 image-size=16 accumulate=2 max-grad-norm=1");
    start_run(&two, "threads=2 image-size=16 accumulate=2 max-grad-norm=1");
    for (uint32_t step = 0; step < 4; ++step) {
        one_step(&one, step);
        one_step(&two, step);
    }
    assert_memory_equal(one.losses, two.losses, sizeof one.losses);
    assert_same_weights(one.network, two.network, DDPM_WEIGHTS_MODEL);
    uint8_t drawn[2][2 * 16 * 16 * 3];
    struct ddpm_sample_options options = {
        .size = sizeof options, .count = 2, .seed = 9, .clip = -1};
    assert_ok(sample_into(one.network, &options, drawn[0]));
    assert_ok(sample_into(two.network, &options, drawn[1]));
    assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
    end_run(&one);
    end_run(&two);
}

enum { PICTURE = 8 * 8 * 3, DRAWN = 5 };

static void a_picture_is_the_same_in_every_batch(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    uint8_t whole[DRAWN * PICTURE], parts[DRAWN * PICTURE];
    struct ddpm_sample_options options = {
        .size = sizeof options, .count = DRAWN, .seed = 11, .clip = -1};
    assert_ok(sample_into(network, &options, whole));
    for (options.batch = 1; options.batch <= DRAWN; ++options.batch) {
        assert_ok(sample_into(network, &options, parts));
        assert_memory_equal(whole, parts, sizeof whole);
    }
    options = (struct ddpm_sample_options){
        .size = sizeof options, .count = 1, .first = 3, .seed = 11, .clip = -1};
    assert_ok(sample_into(network, &options, parts));
    assert_memory_equal(whole + 3 * PICTURE, parts, PICTURE);
    assert_memory_not_equal(whole, whole + PICTURE, PICTURE);
    ddpm_network_destroy(&network);
}

struct watcher {
    int64_t stop_at, calls, with_pictures, last_done, total;
};

static int watch(void *user, const struct ddpm_sample_progress *progress)
{
    struct watcher *watcher = user;
    ++watcher->calls;
    watcher->last_done = progress->done;
    watcher->total = progress->total;
    assert_int_equal(progress->channels, 3);
    if (progress->x) {
        ++watcher->with_pictures;
        for (int64_t i = 0; i < progress->count * PICTURE; ++i)
            assert_true(isfinite(progress->x[i]));
    }
    return progress->timestep == watcher->stop_at;
}

static void the_callback_sees_every_step_and_can_stop(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    uint8_t pictures[3 * PICTURE];
    struct watcher watcher = {.stop_at = -1};
    struct ddpm_sample_options options = {.size = sizeof options,
                                          .count = 3,
                                          .batch = 2,
                                          .clip = -1,
                                          .sampler = "ancestral",
                                          .every = 10,
                                          .callback = watch,
                                          .user = &watcher};
    assert_ok(sample_into(network, &options, pictures));
    assert_int_equal(watcher.calls, 50);
    assert_int_equal(watcher.last_done, 50);
    assert_int_equal(watcher.total, 50);
    assert_int_equal(watcher.with_pictures, 6);
    watcher = (struct watcher){.stop_at = 20};
    assert_int_equal(sample_into(network, &options, pictures), DDPM_STOPPED);
    assert_int_equal(watcher.calls, 5);
    options.callback = NULL;
    assert_ok(sample_into(network, &options, pictures));
    options.count = 0;
    assert_error(sample_into(network, &options, pictures), DDPM_ERROR_ARGUMENT, "0");
    ddpm_network_destroy(&network);
}

static void weights_that_are_not_finite_are_told(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    const float nan3[3] = {NAN, 0, 0};
    uint8_t pictures[PICTURE];
    struct ddpm_sample_options options = {.size = sizeof options, .count = 1, .clip = 0};
    assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, "final_conv.bias", nan3, 3));
    assert_error(sample_into(network, &options, pictures), DDPM_ERROR_NOT_FINITE, "picture 0");
    ddpm_network_destroy(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_configurations_are_refused),
        cmocka_unit_test(parameters_are_found_by_name_and_count),
        cmocka_unit_test(forward_refuses_what_it_cannot_do),
        cmocka_unit_test(loading_a_wrong_file_changes_nothing),
        cmocka_unit_test(weights_go_to_a_file_and_back),
        cmocka_unit_test(several_trainers_do_not_meet),
        cmocka_unit_test(threads_change_no_number),
        cmocka_unit_test(a_picture_is_the_same_in_every_batch),
        cmocka_unit_test(the_callback_sees_every_step_and_can_stop),
        cmocka_unit_test(weights_that_are_not_finite_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
