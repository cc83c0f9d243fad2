/* Every allocation of every public operation fails in turn: each time the status is
 * DDPM_ERROR_MEMORY, nothing leaks (in a build with AddressSanitizer), and existing objects still
 * work. Only the library's own allocations fail: not those inside jansson, whose lexer ignores
 * failures. */
#include "allocations.h"
#include "core/error.h"
#include "formats/tensor_file.h"
#include "library_support.h"

#define OPTIONS "dim=4 dim-mults=1 image-size=4 timesteps=2 batch-size=1 network=OneResUNet keep=1"

/* The objects that operations use, made before any allocation fails. */
struct bench {
    char *folder;
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    struct given given;
};

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct ddpm_step_result result;
    bench->folder = make_folder();
    write_pictures(in_folder(bench->folder, "p.npy"), 3, 4);
    bench->config = tiny_config(OPTIONS);
    assert_ok(ddpm_config_set(bench->config, "data", in_folder(bench->folder, "p.npy")));
    assert_ok(ddpm_network_create(bench->config, &bench->network));
    assert_ok(ddpm_trainer_create(bench->network, NULL, NULL, &bench->trainer));
    bench->given = make_given(bench->network, 0);
    assert_ok(step_made_up(bench->trainer, bench->network, 0, &result));
    assert_ok(ddpm_trainer_save(bench->trainer, in_folder(bench->folder, "run")));
    assert_ok(ddpm_network_save(bench->network, DDPM_WEIGHTS_MODEL,
                                in_folder(bench->folder, "model.safetensors")));
    assert_ok(ddpm_config_write(bench->config, in_folder(bench->folder, "config.json")));
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    ddpm_trainer_destroy(&bench->trainer);
    ddpm_network_destroy(&bench->network);
    ddpm_config_destroy(&bench->config);
    free_given(&bench->given);
    remove_folder(bench->folder);
    free(bench);
    return 0;
}

/* Remove old checkpoints often, since failed saves do not and they would pile up. */
#define AGAIN_EVERY 8

/* An operation: makes what it needs and cleans up, whatever the result. */
typedef ddpm_status operation(struct bench *bench);

static void every_allocation_fails_once(void **state, operation *run)
{
    struct bench *bench = *state;
    long which = 0;
    bool failed = true;
    while (failed) {
        allocations_fail(++which);
        ddpm_status status = run(bench);
        failed = allocations_have_failed();
        allocations_fail(0);
        if (failed && status != DDPM_ERROR_MEMORY)
            fail_msg("allocation %ld failed: got status \"%s\" (%s)", which,
                     ddpm_status_name(status), ddpm_error_message());
        if (!failed)
            assert_ok(status);
        else if (which % AGAIN_EVERY == 0)
            assert_ok(run(bench)); /* after a failure it works once there is memory */
    }
    print_message("%ld allocations\n", which - 1);
    assert_true(which > 1);
}

static ddpm_status configure(struct bench *bench)
{
    struct ddpm_config *config = NULL, *copy = NULL;
    ddpm_status status = ddpm_config_create(&config);
    if (status == DDPM_OK)
        status = ddpm_config_read(config, in_folder(bench->folder, "config.json"));
    if (status == DDPM_OK)
        status = ddpm_config_set(config, "dim-mults", "1,2");
    if (status == DDPM_OK)
        status = ddpm_config_copy(config, &copy);
    if (status == DDPM_OK)
        status = ddpm_config_write(copy, in_folder(bench->folder, "copy.json"));
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&copy);
    return status;
}

static ddpm_status create_and_step(struct bench *bench)
{
    struct ddpm_network *network;
    struct ddpm_trainer *trainer = NULL;
    struct ddpm_step_result result;
    ddpm_status status = ddpm_network_create(bench->config, &network);
    if (status == DDPM_OK)
        status = ddpm_trainer_create(network, NULL, NULL, &trainer);
    if (status == DDPM_OK)
        status = step_on(trainer, &bench->given, &result);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
    return status;
}

static ddpm_status step_from_data(struct bench *bench)
{
    struct ddpm_data *data;
    struct ddpm_trainer *trainer = NULL;
    struct ddpm_step_result result;
    ddpm_status status = ddpm_data_open(bench->config, &data);
    if (status == DDPM_OK)
        status = ddpm_trainer_create(bench->network, NULL, data, &trainer);
    for (int i = 0; i < 2 && status == DDPM_OK; ++i)
        status = ddpm_trainer_step(trainer, &result);
    ddpm_trainer_destroy(&trainer);
    ddpm_data_close(&data);
    return status;
}

static ddpm_status validate(struct bench *bench)
{
    const char *hashes = in_folder(bench->folder, "hashes.npy");
    struct ddpm_config *config;
    struct ddpm_data *data = NULL;
    struct ddpm_trainer *trainer = NULL;
    struct ddpm_validation_result result;
    ddpm_status status = ddpm_config_copy(bench->config, &config);
    if (status == DDPM_OK)
        status = ddpm_config_set(config, "validation", "0.5");
    if (status == DDPM_OK)
        status = ddpm_data_open(config, &data);
    if (status == DDPM_OK)
        status = ddpm_data_split(data, config, hashes);
    if (status == DDPM_OK)
        status = ddpm_data_keep_hashes(data, hashes);
    if (status == DDPM_OK)
        status = ddpm_trainer_create(bench->network, config, data, &trainer);
    if (status == DDPM_OK)
        status = ddpm_trainer_validate(trainer, &result);
    ddpm_trainer_destroy(&trainer);
    ddpm_data_close(&data);
    ddpm_config_destroy(&config);
    return status;
}

static ddpm_status diagnose(struct bench *bench)
{
    struct ddpm_step_result result;
    float pictures[48], old = bench->given.pictures[0];
    memcpy(pictures, bench->given.pictures, sizeof pictures);
    pictures[0] = NAN;
    struct given given = bench->given;
    given.pictures = pictures;
    ddpm_status status = step_on(bench->trainer, &given, &result);
    assert_true(bench->given.pictures[0] == old);
    return status == DDPM_ERROR_NOT_FINITE ? DDPM_OK : status;
}

static ddpm_status forward(struct bench *bench)
{
    float y[2][48];
    const int64_t t[1] = {1};
    float *x = bench->given.pictures;
    ddpm_status status = forward_on(bench->network, DDPM_WEIGHTS_MODEL, x, t, 1, 4, 4, y[0]);
    /* Another set of weights needs another plan. */
    if (status == DDPM_OK)
        status = forward_on(bench->network, DDPM_WEIGHTS_EMA, x, t, 1, 4, 4, y[1]);
    return status;
}

static ddpm_status sample(struct bench *bench)
{
    uint8_t pictures[2 * 48];
    struct ddpm_sample_options options = {
        .size = sizeof options, .count = 2, .batch = 1, .clip = -1};
    return sample_into(bench->network, &options, pictures);
}

static ddpm_status sample_inside_mask(struct bench *bench)
{
    uint8_t pictures[48];
    static const float mask[16] = {1, 1, 1};
    struct ddpm_sample_options options = {.size = sizeof options,
                                          .count = 1,
                                          .batch = 1,
                                          .clip = -1,
                                          .from = bench->given.pictures,
                                          .from_count = 48,
                                          .strength = 0.5,
                                          .mask = mask,
                                          .mask_count = 16,
                                          .resample = 2,
                                          .jump = 1};
    return sample_into(bench->network, &options, pictures);
}

static ddpm_status parameters(struct bench *bench)
{
    float values[4];
    ddpm_status status =
        ddpm_network_get(bench->network, DDPM_WEIGHTS_MODEL, "init_conv.bias", values, 4);
    if (status == DDPM_OK)
        status = ddpm_network_set(bench->network, DDPM_WEIGHTS_MODEL, "init_conv.bias", values, 4);
    if (status == DDPM_OK)
        status = ddpm_trainer_gradient(bench->trainer, "init_conv.bias", values, 4);
    return status;
}

static ddpm_status save_and_load(struct bench *bench)
{
    ddpm_status status = ddpm_network_save(bench->network, DDPM_WEIGHTS_MODEL,
                                           in_folder(bench->folder, "model.safetensors"));
    if (status == DDPM_OK)
        status = ddpm_network_load(bench->network, DDPM_WEIGHTS_MODEL,
                                   in_folder(bench->folder, "model.safetensors"));
    return status;
}

static ddpm_status open_run(struct bench *bench)
{
    struct ddpm_network *network;
    ddpm_status status =
        ddpm_network_open(in_folder(bench->folder, "run"), NULL, DDPM_WEIGHTS_EMA, &network);
    ddpm_network_destroy(&network);
    return status;
}

/* The step makes a different checkpoint each time, so that an old one is removed too. */
static ddpm_status save_checkpoint(struct bench *bench)
{
    struct ddpm_step_result result;
    ddpm_status status = step_on(bench->trainer, &bench->given, &result);
    if (status == DDPM_OK)
        status = ddpm_trainer_save(bench->trainer, in_folder(bench->folder, "run"));
    return status;
}

static ddpm_status resume(struct bench *bench)
{
    struct ddpm_trainer *trainer;
    ddpm_status status = ddpm_trainer_create(bench->network, NULL, NULL, &trainer);
    if (status == DDPM_OK)
        status = ddpm_trainer_resume(trainer, in_folder(bench->folder, "run"));
    ddpm_trainer_destroy(&trainer);
    return status;
}

static ddpm_status evaluate(struct bench *bench)
{
    enum { COUNT = 12, BYTES = COUNT * 12 * 12 * 3 };
    (void)bench;
    uint8_t pictures[BYTES];
    struct ddpm_picture_set *set;
    struct ddpm_evaluation *found = NULL;
    const struct ddpm_picture_set_options options = {
        .size = sizeof options,
        .features = "builtin",
        .height = 12,
        .width = 12,
        .channels = 3,
        .threads = 1,
    };
    const struct ddpm_evaluate_options how = {.size = sizeof how, .threads = 1};
    for (int i = 0; i < BYTES; ++i)
        pictures[i] = (uint8_t)(i * 7919 % 251);
    ddpm_status status = ddpm_picture_set_create(&options, &set);
    if (status == DDPM_OK)
        status = ddpm_picture_set_add(set, pictures, COUNT, sizeof pictures);
    if (status == DDPM_OK)
        status = ddpm_evaluate(set, set, &how, &found);
    ddpm_evaluation_destroy(&found);
    ddpm_picture_set_destroy(&set);
    return status;
}

/* Files of torch.save in both forms; without libzip the second is an error. */
static ddpm_status tensor_files(struct bench *bench)
{
    static const char *const names[] = {"nested.older.pt", "plain.zip.pt"};
    ddpm_status status = DDPM_OK;
    (void)bench;
    for (int i = 0; i < 2 && status == DDPM_OK; ++i) {
        struct ddpm_tensor_file *file;
        char path[64];
        snprintf(path, sizeof path, "tests/golden/data/torch/%s", names[i]);
        status = ddpm_tensor_file_open(&file, path);
        ddpm_tensor_file_close(&file);
        status = status == DDPM_ERROR_UNSUPPORTED ? DDPM_OK : status;
    }
    return status;
}

/* The file ends after the first layer, to save time. */
static ddpm_status feature_network(struct bench *bench)
{
    struct ddpm_feature_network *network;
    (void)bench;
    ddpm_status status =
        ddpm_feature_network_open("tests/golden/data/torch/first_layer.older.pt", &network);
    ddpm_feature_network_close(&network);
    return status == DDPM_ERROR_MISMATCH ? DDPM_OK : status;
}

#define TEST(operation_)                                                                           \
    static void test_##operation_(void **state)                                                    \
    {                                                                                              \
        every_allocation_fails_once(state, operation_);                                            \
    }

TEST(configure)
TEST(create_and_step)
TEST(step_from_data)
TEST(validate)
TEST(diagnose)
TEST(forward)
TEST(sample)
TEST(sample_inside_mask)
TEST(parameters)
TEST(save_and_load)
TEST(open_run)
TEST(save_checkpoint)
TEST(resume)
TEST(evaluate)
TEST(tensor_files)
TEST(feature_network)

/* After all these failures the newest checkpoint can still be resumed. */
static void the_last_checkpoint_is_whole(void **state)
{
    struct bench *bench = *state;
    assert_ok(save_checkpoint(bench));
    assert_ok(resume(bench));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configure),
        cmocka_unit_test(test_create_and_step),
        cmocka_unit_test(test_step_from_data),
        cmocka_unit_test(test_diagnose),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_sample_inside_mask),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_open_run),
        cmocka_unit_test(test_save_checkpoint),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_validate),
        cmocka_unit_test(the_last_checkpoint_is_whole),
        cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_tensor_files),
        cmocka_unit_test(test_feature_network),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
