/* Steps whose results are read late, on the device in DDPM_TEST_DEVICE (cpu, where nothing is late;
 * cuda, emulated or not): the steps are the same, and a bad one still stops the run. Also
 * checkpoints that are copied to the host while the next steps run. */
#include "library_support.h"

enum { STEPS = 5 };

static bool is_late(void)
{
    return strcmp(test_device(), "cpu") != 0;
}

struct run {
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
};

static struct run open_run(const char *pictures)
{
    struct run run;
    run.config = tiny_config("batch-size=2 accumulate=2 precision=fp32");
    assert_ok(ddpm_config_set(run.config, "data", pictures));
    assert_ok(ddpm_network_create(run.config, &run.network));
    assert_ok(ddpm_data_open(run.config, &run.data));
    assert_ok(ddpm_trainer_create(run.network, NULL, run.data, &run.trainer));
    return run;
}

static void close_run(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    ddpm_data_close(&run->data);
    ddpm_network_destroy(&run->network);
    ddpm_config_destroy(&run->config);
}

/* Do late steps until `results` holds all up to `last`; flush the last one. */
static void late_steps(struct run *run, int64_t last, struct ddpm_step_result *results)
{
    struct ddpm_step_result result;
    int64_t expected = ddpm_trainer_steps_done(run->trainer) + (is_late() ? 0 : 1);
    const int64_t first = ddpm_trainer_steps_done(run->trainer);
    for (int64_t step = first; step < last; ++step, ++expected) {
        assert_ok(ddpm_trainer_step_late(run->trainer, &result));
        assert_int_equal(result.step, expected == first ? 0 : expected);
        if (result.step > 0)
            results[result.step - 1] = result;
    }
    assert_ok(ddpm_trainer_flush(run->trainer, &result));
    assert_int_equal(result.step, is_late() ? last : 0);
    if (result.step > 0)
        results[result.step - 1] = result;
    assert_ok(ddpm_trainer_flush(run->trainer, &result));
    assert_int_equal(result.step, 0);
    assert_int_equal(ddpm_trainer_steps_done(run->trainer), last);
}

static void assert_same_results(const struct ddpm_step_result *a, const struct ddpm_step_result *b)
{
    assert_int_equal(a->step, b->step);
    assert_true(a->loss == b->loss && a->grad_norm == b->grad_norm && a->lr == b->lr);
}

static void late_steps_are_the_same_steps(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 9, 8);
    struct run waiting = open_run(in_folder(folder, "p.npy"));
    struct run late = open_run(in_folder(folder, "p.npy"));
    struct ddpm_step_result wanted[STEPS], got[STEPS];
    for (int i = 0; i < STEPS; ++i)
        assert_ok(ddpm_trainer_step(waiting.trainer, &wanted[i]));
    late_steps(&late, 3, got); /* flushed in between */
    late_steps(&late, STEPS, got);
    for (int i = 0; i < STEPS; ++i)
        assert_same_results(&got[i], &wanted[i]);
    assert_same_weights(late.network, waiting.network, DDPM_WEIGHTS_MODEL);
    assert_same_weights(late.network, waiting.network, DDPM_WEIGHTS_EMA);
    close_run(&late);
    close_run(&waiting);
    remove_folder(folder);
}

/* 1e25: the loss overflows, but its gradient is finite; AdamW must still skip the step. */
static void a_bad_step_changes_nothing_and_is_told(void **state)
{
    (void)state;
    static const float sick[2][3] = {{NAN, 0, 0}, {1e25f, 1e25f, 1e25f}};
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 9, 8);
    struct run calm = open_run(in_folder(folder, "p.npy"));
    struct ddpm_step_result wanted[STEPS], got[STEPS], result;
    for (int i = 0; i < STEPS; ++i)
        assert_ok(ddpm_trainer_step(calm.trainer, &wanted[i]));
    for (int i = 0; i < 2; ++i) {
        struct run run = open_run(in_folder(folder, "p.npy"));
        float bias[3];
        late_steps(&run, 2, got);
        assert_ok(ddpm_network_get(run.network, DDPM_WEIGHTS_MODEL, "final_conv.bias", bias, 3));
        assert_ok(ddpm_network_set(run.network, DDPM_WEIGHTS_MODEL, "final_conv.bias", sick[i], 3));
        float *before = all_weights(run.network, DDPM_WEIGHTS_MODEL);
        if (is_late())
            assert_ok(ddpm_trainer_step_late(run.trainer, &result));
        assert_error(ddpm_trainer_step_late(run.trainer, &result), DDPM_ERROR_NOT_FINITE,
                     "step 3: the loss is");
        assert_non_null(strstr(ddpm_error_message(), "picture"));
        assert_non_null(strstr(ddpm_error_message(), "the weights are those of step 2"));
        float *after = all_weights(run.network, DDPM_WEIGHTS_MODEL);
        assert_memory_equal(before, after,
                            (size_t)ddpm_network_weight_count(run.network) * sizeof *before);
        assert_int_equal(ddpm_trainer_steps_done(run.trainer), 2);
        free(before);
        free(after);
        /* The run continues as if nothing had happened. */
        assert_ok(ddpm_network_set(run.network, DDPM_WEIGHTS_MODEL, "final_conv.bias", bias, 3));
        late_steps(&run, STEPS, got);
        for (int k = 0; k < STEPS; ++k)
            assert_same_results(&got[k], &wanted[k]);
        close_run(&run);
    }
    close_run(&calm);
    remove_folder(folder);
}

static void what_needs_the_result_is_refused_until_it_is_taken(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 9, 8);
    struct run run = open_run(in_folder(folder, "p.npy"));
    struct ddpm_step_result result;
    float values[3];
    assert_ok(ddpm_trainer_flush(run.trainer, &result));
    assert_int_equal(result.step, 0);
    assert_ok(ddpm_trainer_step_late(run.trainer, &result));
    if (is_late()) {
        assert_int_equal(ddpm_trainer_steps_done(run.trainer), 0);
        assert_error(ddpm_trainer_step(run.trainer, &result), DDPM_ERROR_ARGUMENT, "step 1");
        assert_error(ddpm_trainer_save(run.trainer, folder), DDPM_ERROR_ARGUMENT, "flush");
        assert_error(ddpm_trainer_gradient(run.trainer, "final_conv.bias", values, 3),
                     DDPM_ERROR_ARGUMENT, "flush");
    }
    assert_ok(ddpm_trainer_flush(run.trainer, &result));
    assert_ok(ddpm_trainer_gradient(run.trainer, "final_conv.bias", values, 3));
    assert_ok(ddpm_trainer_step(run.trainer, &result));
    assert_int_equal(result.step, 2);
    assert_ok(ddpm_trainer_step_late(run.trainer, &result)); /* and closed without a flush */
    close_run(&run);
    remove_folder(folder);
}

static void assert_same_checkpoint(const char *folder, const char *a, const char *b)
{
    static const char *const files[] = {"model", "ema", "optimizer"};
    for (int i = 0; i < 3; ++i) {
        char path[2][128];
        void *bytes[2];
        size_t size[2];
        snprintf(path[0], sizeof path[0], "%s/checkpoints/latest/%s.safetensors", a, files[i]);
        snprintf(path[1], sizeof path[1], "%s/checkpoints/latest/%s.safetensors", b, files[i]);
        for (int k = 0; k < 2; ++k)
            assert_ok(ddpm_file_read_whole(&bytes[k], &size[k], in_folder(folder, path[k]),
                                           (size_t)1 << 30));
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        free(bytes[0]);
        free(bytes[1]);
    }
}

static char last_remark[300];

static void keep_remark(void *user, ddpm_log_level level, const char *text)
{
    (void)user, (void)level;
    snprintf(last_remark, sizeof last_remark, "%s", text);
}

/* So little memory that a checkpoint cannot be copied on the device, if that is the emulated
 * one. */
static void leave_no_room(const struct run *run)
{
    char bytes[32];
    const uint64_t all = (uint64_t)8 << 30;
    const uint64_t available = ddpm_trainer_memory(run->trainer).available;
    if (!strstr(ddpm_network_device(run->network), "emulated"))
        return;
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)(all - available + (64 << 20)));
    assert_int_equal(setenv("DDPM_EMULATED_MEMORY", bytes, 1), 0);
}

/* Steps queued while a checkpoint is being copied do not change it, with or without room on the
 * device. */
static void checkpoints_are_of_their_step(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 9, 8);
    struct run waiting = open_run(in_folder(folder, "p.npy"));
    struct run late = open_run(in_folder(folder, "p.npy"));
    struct ddpm_step_result results[STEPS];
    for (int i = 0; i < 3; ++i)
        assert_ok(ddpm_trainer_step(waiting.trainer, &results[i]));
    assert_ok(ddpm_trainer_save(waiting.trainer, in_folder(folder, "waiting")));
    late_steps(&late, 3, results);
    ddpm_set_log_callback(keep_remark, NULL);
    for (int crowded = 0; crowded < 2; ++crowded) {
        const char *name = crowded ? "crowded" : "late";
        if (crowded) {
            late = open_run(in_folder(folder, "p.npy"));
            assert_ok(ddpm_trainer_resume(late.trainer, in_folder(folder, "late")));
            leave_no_room(&late);
        }
        last_remark[0] = '\0';
        assert_ok(ddpm_trainer_save_begin(late.trainer, in_folder(folder, name)));
        if (getenv("DDPM_EMULATED_MEMORY"))
            assert_non_null(strstr(last_remark, "training waits while a checkpoint"));
        else
            assert_string_equal(last_remark, "");
        late_steps(&late, STEPS, results);
        assert_ok(ddpm_trainer_save_end(late.trainer));
        assert_same_checkpoint(folder, "waiting", name);
        close_run(&late);
    }
    ddpm_set_log_callback(NULL, NULL);
    assert_int_equal(unsetenv("DDPM_EMULATED_MEMORY"), 0);
    close_run(&waiting);
    remove_folder(folder);
}

int main(void)
{
    if (!has_test_device())
        return EXIT_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_steps_are_the_same_steps),
        cmocka_unit_test(a_bad_step_changes_nothing_and_is_told),
        cmocka_unit_test(what_needs_the_result_is_refused_until_it_is_taken),
        cmocka_unit_test(checkpoints_are_of_their_step),
    };
    return cmocka_run_group_tests_name("late results", tests, NULL, NULL);
}
