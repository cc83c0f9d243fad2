/* The trainer's public interface: invalid arguments, the error when numbers are not finite, the
 * gradient it returns, pictures from a file. */
#include "run_support.h"

static void the_trainer_refuses_what_does_not_fit(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_trainer *trainer;
    struct ddpm_data *data;
    struct ddpm_step_result result;
    struct ddpm_network *network = tiny_network("out-dim=6");
    assert_error(ddpm_trainer_create(network, NULL, NULL, &trainer), DDPM_ERROR_ARGUMENT, "got 6");
    assert_null(trainer);
    ddpm_network_destroy(&network);
    network = tiny_network("batch-size=65536 accumulate=65536");
    assert_error(ddpm_trainer_create(network, NULL, NULL, &trainer), DDPM_ERROR_ARGUMENT, "2^31");
    ddpm_network_destroy(&network);

    network = tiny_network(NULL);
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_error(ddpm_trainer_step(trainer, &result), DDPM_ERROR_ARGUMENT, "data source");
    struct given given = make_given(network, 0);
    given.timesteps[1] = 25;
    assert_error(step_on(trainer, &given, &result), DDPM_ERROR_ARGUMENT, "got 25, want 0 to 24");
    assert_int_equal(ddpm_trainer_steps_done(trainer), 0);
    float values[8];
    assert_error(ddpm_trainer_gradient(trainer, "none", values, 8), DDPM_ERROR_ARGUMENT, "none");
    assert_error(ddpm_trainer_gradient(trainer, "init_conv.bias", values, 4), DDPM_ERROR_ARGUMENT,
                 "want 8");
    ddpm_trainer_destroy(&trainer);

    struct ddpm_config *config = tiny_config("image-size=16");
    assert_error(ddpm_data_open(config, &data), DDPM_ERROR_ARGUMENT, "no pictures given");
    assert_null(data);
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "none")));
    assert_error(ddpm_data_open(config, &data), DDPM_ERROR_IO, "none");
    write_pictures(in_folder(folder, "p.npy"), 4, 16);
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
    assert_ok(ddpm_data_open(config, &data));
    assert_int_equal(ddpm_data_count(data), 4);
    assert_error(ddpm_trainer_create(network, NULL, data, &trainer), DDPM_ERROR_MISMATCH, "16x16");
    ddpm_data_close(&data);
    assert_null(data);
    ddpm_config_destroy(&config);
    free_given(&given);
    ddpm_network_destroy(&network);
    remove_folder(folder);
}

/* Fail one step on purpose and check the state after it. */
static void assert_failed_step_changes_nothing(struct ddpm_trainer *trainer,
                                               struct ddpm_network *network,
                                               const struct given *given, const char *text)
{
    struct ddpm_step_result result;
    const int64_t done = ddpm_trainer_steps_done(trainer);
    float *before = all_weights(network, DDPM_WEIGHTS_MODEL);
    float *ema_before = all_weights(network, DDPM_WEIGHTS_EMA);
    assert_error(step_on(trainer, given, &result), DDPM_ERROR_NOT_FINITE, text);
    float *after = all_weights(network, DDPM_WEIGHTS_MODEL);
    float *ema_after = all_weights(network, DDPM_WEIGHTS_EMA);
    const size_t bytes = (size_t)ddpm_network_weight_count(network) * sizeof(float);
    assert_memory_equal(before, after, bytes);
    assert_memory_equal(ema_before, ema_after, bytes);
    assert_int_equal(ddpm_trainer_steps_done(trainer), done);
    free(before);
    free(ema_before);
    free(after);
    free(ema_after);
}

static void a_picture_that_is_not_finite_is_told(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network(NULL);
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(step_made_up(trainer, network, 0, &result));
    struct given given = make_given(network, 1);
    given.pictures[given.count - 1] = NAN;
    assert_failed_step_changes_nothing(trainer, network, &given, "step 2: the loss is nan");
    assert_failed_step_changes_nothing(trainer, network, &given, "the weights are those of step 1");

    /* The run continues as if nothing had happened. */
    struct ddpm_network *calm = tiny_network(NULL);
    struct ddpm_trainer *other;
    struct ddpm_step_result wanted;
    assert_ok(ddpm_trainer_create(calm, NULL, NULL, &other));
    assert_ok(step_made_up(other, calm, 0, &wanted));
    assert_ok(step_made_up(other, calm, 1, &wanted));
    assert_ok(step_made_up(trainer, network, 1, &result));
    assert_true(result.loss == wanted.loss && result.grad_norm == wanted.grad_norm);
    assert_same_weights(network, calm, DDPM_WEIGHTS_MODEL);
    ddpm_trainer_destroy(&other);
    ddpm_network_destroy(&calm);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    free_given(&given);
}

static void weights_that_explode_are_told_with_the_layer(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("dim-mults=1");
    struct ddpm_trainer *trainer;
    struct ddpm_parameter_info info = {0};
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    for (size_t i = 0; i < ddpm_network_parameter_count(network); ++i)
        if (strcmp(ddpm_network_parameter(network, i).name, "mid_block1.block.1.weight") == 0)
            info = ddpm_network_parameter(network, i);
    assert_non_null(info.name);
    float *huge = malloc((size_t)info.count * sizeof *huge);
    for (int64_t i = 0; i < info.count; ++i)
        huge[i] = i % 2 ? 3e38f : -3e38f;
    assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, info.name, huge, (size_t)info.count));
    struct given given = make_given(network, 0);
    assert_failed_step_changes_nothing(trainer, network, &given, "mid_block1.block.1");
    free(huge);
    free_given(&given);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

/* A learning rate far too high: the weights diverge within a few steps, and a step then fails with
 * that error. */
static void a_run_that_diverges_names_step_and_pictures(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 5, 8);
    struct ddpm_config *config = tiny_config("lr=100 norm=off weight-decay=100");
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    assert_ok(ddpm_network_create(config, &network));
    assert_ok(ddpm_data_open(config, &data));
    assert_ok(ddpm_trainer_create(network, NULL, data, &trainer));
    ddpm_status status = DDPM_OK;
    int64_t step = 0;
    while (status == DDPM_OK && step < 200) {
        status = ddpm_trainer_step(trainer, &result);
        ++step;
    }
    char wanted[32];
    snprintf(wanted, sizeof wanted, "step %lld: ", (long long)step);
    assert_error(status, DDPM_ERROR_NOT_FINITE, wanted);
    assert_non_null(strstr(ddpm_error_message(), "#"));
    assert_non_null(strstr(ddpm_error_message(), "picture"));
    float *left = all_weights(network, DDPM_WEIGHTS_MODEL);
    for (int64_t i = 0; i < ddpm_network_weight_count(network); ++i)
        assert_true(isfinite(left[i]));
    free(left);
    ddpm_trainer_destroy(&trainer);
    ddpm_data_close(&data);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
    remove_folder(folder);
}

/* Step k uses batch k, even if an earlier step failed or used given values. */
static void a_step_after_a_failure_is_on_its_own_pictures(void **state)
{
    (void)state;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 9, 8);
    struct ddpm_step_result results[2][3];
    for (int failing = 0; failing < 2; ++failing) {
        struct ddpm_config *config = tiny_config("batch-size=1");
        struct ddpm_network *network;
        struct ddpm_data *data;
        struct ddpm_trainer *trainer;
        float bias[3], sick[3] = {0, NAN, 0};
        assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
        assert_ok(ddpm_network_create(config, &network));
        assert_ok(ddpm_data_open(config, &data));
        assert_ok(ddpm_trainer_create(network, NULL, data, &trainer));
        assert_ok(ddpm_network_get(network, DDPM_WEIGHTS_MODEL, "final_conv.bias", bias, 3));
        if (failing) {
            assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, "final_conv.bias", sick, 3));
            assert_error(ddpm_trainer_step(trainer, &results[1][0]), DDPM_ERROR_NOT_FINITE,
                         "step 1");
            assert_ok(ddpm_network_set(network, DDPM_WEIGHTS_MODEL, "final_conv.bias", bias, 3));
        }
        for (int i = 0; i < 3; ++i)
            assert_ok(ddpm_trainer_step(trainer, &results[failing][i]));
        ddpm_trainer_destroy(&trainer);
        ddpm_data_close(&data);
        ddpm_network_destroy(&network);
        ddpm_config_destroy(&config);
    }
    for (int i = 0; i < 3; ++i)
        assert_true(results[0][i].loss == results[1][i].loss &&
                    results[0][i].grad_norm == results[1][i].grad_norm);
    remove_folder(folder);
}

/* The returned gradient is that of the loss: compare it with a finite difference along one
 * weight. */
static void the_gradient_is_that_of_the_loss(void **state)
{
    (void)state;
    struct ddpm_network *network = tiny_network("seed=6");
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    double loss[2];
    float gradient[3], bias[3];
    for (int side = 0; side < 2; ++side) {
        struct ddpm_network *shifted = tiny_network("seed=6");
        assert_ok(ddpm_network_get(shifted, DDPM_WEIGHTS_MODEL, "final_conv.bias", bias, 3));
        bias[1] += side ? 0.01f : -0.01f;
        assert_ok(ddpm_network_set(shifted, DDPM_WEIGHTS_MODEL, "final_conv.bias", bias, 3));
        assert_ok(ddpm_trainer_create(shifted, NULL, NULL, &trainer));
        assert_ok(step_made_up(trainer, shifted, 0, &result));
        loss[side] = result.loss;
        ddpm_trainer_destroy(&trainer);
        ddpm_network_destroy(&shifted);
    }
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    assert_ok(step_made_up(trainer, network, 0, &result));
    assert_ok(ddpm_trainer_gradient(trainer, "final_conv.bias", gradient, 3));
    const double difference = (loss[1] - loss[0]) / 0.02;
    assert_true(fabs(difference - (double)gradient[1]) < 1e-3 * fabs(difference) + 1e-4);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

enum { ARRAY_PICTURES = 40, ARRAY_SIDE = 12, ARRAY_BYTES = 40 * 12 * 12 * 3 };

/* A trainer of an array, or with NULL of a file of the same pictures. */
static void train_on(const uint8_t *array, const char *path, const char *run, bool resume,
                     struct ddpm_step_result *result, struct ddpm_validation_result *validation)
{
    struct ddpm_config *config = tiny_config("validation=0.2 crop=random flip=on");
    struct ddpm_data *data;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    if (array) {
        assert_ok(ddpm_data_open_array(config, array, ARRAY_PICTURES, ARRAY_SIDE, ARRAY_SIDE,
                                       ARRAY_BYTES, &data));
    } else {
        assert_ok(ddpm_config_set(config, "data", path));
        assert_ok(ddpm_data_open(config, &data));
    }
    assert_int_equal(ddpm_data_count(data), ARRAY_PICTURES);
    assert_ok(ddpm_data_split(data, config, NULL));
    assert_ok(ddpm_network_create(config, &network));
    assert_ok(ddpm_trainer_create(network, config, data, &trainer));
    if (resume)
        assert_ok(ddpm_trainer_resume(trainer, run));
    for (int i = 0; i < 3; ++i)
        assert_ok(ddpm_trainer_step(trainer, result));
    assert_ok(ddpm_trainer_validate(trainer, validation));
    if (!resume)
        assert_ok(ddpm_trainer_save(trainer, run));
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    ddpm_data_close(&data);
    ddpm_config_destroy(&config);
}

/* Same pictures, same numbers, and a run started on one continues on the other. */
static void an_array_is_as_a_packed_file(void **state)
{
    (void)state;
    char *folder = make_folder();
    char path[256], run[256];
    struct ddpm_step_result of[2];
    struct ddpm_validation_result measured[2];
    const int64_t shape[] = {ARRAY_PICTURES, ARRAY_SIDE, ARRAY_SIDE, 3};
    uint8_t *array = malloc(ARRAY_BYTES);
    assert_non_null(array);
    for (size_t i = 0; i < ARRAY_BYTES; ++i)
        array[i] = (uint8_t)ddpm_philox(6, (uint32_t)(i / 9), 0, 0, DDPM_STREAM_BENCH).v[0];
    snprintf(path, sizeof path, "%s", in_folder(folder, "p.npy"));
    snprintf(run, sizeof run, "%s", in_folder(folder, "run"));
    assert_ok(ddpm_npy_write(path, DDPM_NPY_U8, 4, shape, array));
    train_on(NULL, path, in_folder(folder, "other"), false, &of[0], &measured[0]);
    train_on(array, NULL, run, false, &of[1], &measured[1]);
    assert_true(of[0].step == 3 && of[0].loss == of[1].loss && of[0].grad_norm == of[1].grad_norm);
    assert_memory_equal(&measured[0], &measured[1], sizeof measured[0]);
    assert_true(measured[0].loss > 0);
    train_on(NULL, path, run, true, &of[0], &measured[0]);
    train_on(array, NULL, run, true, &of[1], &measured[1]);
    assert_true(of[0].step == 6 && of[0].loss == of[1].loss);
    assert_memory_equal(&measured[0], &measured[1], sizeof measured[0]);
    free(array);
    remove_folder(folder);
}

/* Once the file is whole again, the run goes on as if nothing had happened. */
static void a_step_after_a_failed_read_reads_again(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct run whole, cut;
    struct ddpm_step_result result;
    void *bytes;
    size_t count;
    write_pictures(in_folder(folder, "p.npy"), 7, 8);
    assert_ok(ddpm_file_read_whole(&bytes, &count, in_folder(folder, "p.npy"), 1 << 20));
    start(&whole, folder, "prefetch=2 decode-threads=1");
    steps(&whole, 12);
    start(&cut, folder, "prefetch=2 decode-threads=1");
    steps(&cut, 2);
    assert_int_equal(truncate(in_folder(folder, "p.npy"), 200), 0);
    for (int i = 0; i < 2; ++i) { /* it stays an error */
        ddpm_status status = DDPM_OK;
        while (status == DDPM_OK && ddpm_trainer_steps_done(cut.trainer) < 12)
            status = ddpm_trainer_step(cut.trainer, &result);
        assert_int_not_equal(status, DDPM_OK);
    }
    FILE *file = fopen(in_folder(folder, "p.npy"), "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    fclose(file);
    steps(&cut, 12 - (int)ddpm_trainer_steps_done(cut.trainer));
    assert_same_weights(whole.network, cut.network, DDPM_WEIGHTS_MODEL);
    end(&whole);
    end(&cut);
    free(bytes);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_trainer_refuses_what_does_not_fit),
        cmocka_unit_test(a_picture_that_is_not_finite_is_told),
        cmocka_unit_test(weights_that_explode_are_told_with_the_layer),
        cmocka_unit_test(a_run_that_diverges_names_step_and_pictures),
        cmocka_unit_test(a_step_after_a_failure_is_on_its_own_pictures),
        cmocka_unit_test(the_gradient_is_that_of_the_loss),
        cmocka_unit_test(an_array_is_as_a_packed_file),
        cmocka_unit_test(a_step_after_a_failed_read_reads_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
