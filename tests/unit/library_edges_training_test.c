/* Wrong arguments to functions that train, see library_edges_test.c. */
#include "library_edges.h"

static void data_sources(void **state)
{
    (void)state;
    struct ddpm_data *data;
    struct ddpm_config *config = tiny_config("");
    refused(ddpm_data_open(NULL, &data), "got NULL as config");
    assert_null(data);
    refused(ddpm_data_open(config, NULL), "got NULL as out");
    refused(ddpm_data_open(config, &data), "no pictures given");
    assert_ok(ddpm_config_set(config, "data", "/none"));
    assert_int_equal(ddpm_data_open(config, &data), DDPM_ERROR_IO);
    assert_null(data);
    refused(ddpm_data_measure(NULL, config), "got NULL as data");
    assert_int_equal(ddpm_data_count(NULL), 0);
    assert_int_equal(ddpm_data_skipped(NULL), 0);
    assert_int_equal(ddpm_data_fingerprint(NULL), 0);
    ddpm_data_close(&data);
    ddpm_data_close(NULL);
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 2, 8);
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
    assert_ok(ddpm_data_open(config, &data));
    refused(ddpm_data_measure(data, NULL), "got NULL as config");
    ddpm_data_close(&data);
    remove_folder(folder);
    ddpm_config_destroy(&config);
}

/* A trainer refuses to rotate them even if their data was opened without rotation. */
static void rotation_of_pictures_that_are_not_square(void **state)
{
    (void)state;
    static const uint8_t pixels[3 * VALUES];
    struct ddpm_network *network;
    struct ddpm_trainer *trainer;
    struct ddpm_data *data;
    struct ddpm_config *config = tiny_config("image-size=4x16");
    assert_ok(ddpm_data_open_array(config, pixels, 3, 4, 16, 3 * VALUES, &data));
    assert_ok(ddpm_network_create(config, &network));
    assert_ok(ddpm_config_set(config, "rotate", "on"));
    refused(ddpm_trainer_create(network, config, data, &trainer), "pictures of 4x16, want square");
    assert_null(trainer);
    ddpm_data_close(&data);
    refused(ddpm_data_open_array(config, pixels, 3, 4, 16, 3 * VALUES, &data), "want square");
    assert_null(data);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
}

static void arrays_of_pictures(void **state)
{
    (void)state;
    static const uint8_t pixels[3 * VALUES];
    struct ddpm_data *data;
    struct ddpm_config *config = tiny_config("");
    refused(ddpm_data_open_array(NULL, pixels, 3, 8, 8, 3 * VALUES, &data), "NULL as config");
    assert_null(data);
    refused(ddpm_data_open_array(config, NULL, 3, 8, 8, 3 * VALUES, &data), "NULL as pictures");
    refused(ddpm_data_open_array(config, pixels, 3, 8, 8, 3 * VALUES, NULL), "NULL as out");
    refused(ddpm_data_open_array(config, pixels, 0, 8, 8, 0, &data), "0 pictures of 8x8");
    refused(ddpm_data_open_array(config, pixels, -1, 8, 8, 0, &data), "-1 pictures of 8x8");
    refused(ddpm_data_open_array(config, pixels, 3, 0, 8, 0, &data), "3 pictures of 0x8");
    refused(ddpm_data_open_array(config, pixels, 3, 8, INT64_MIN, 0, &data), "3 pictures of 8x-");
    refused(ddpm_data_open_array(config, pixels, 3, 8, 8, 3 * VALUES - 1, &data),
            "an array of pictures: got a buffer of 575, want 576");
    refused(ddpm_data_open_array(config, pixels, INT64_MAX, INT64_MAX, INT64_MAX, SIZE_MAX, &data),
            "an array of pictures: got a buffer of");
    assert_error(ddpm_data_open_array(config, pixels, 3, 4, 16, 3 * VALUES, &data),
                 DDPM_ERROR_MISMATCH, "the array: got pictures of 4x16 (height x width), want 8x8");
    assert_error(ddpm_data_open_array(config, pixels, 1, 12, 16, 3 * VALUES, &data),
                 DDPM_ERROR_MISMATCH, "set image-size, or set crop to random");
    assert_null(data);
    assert_ok(ddpm_config_set(config, "data", "/none"));
    refused(ddpm_data_open_array(config, pixels, 3, 8, 8, 3 * VALUES, &data),
            "option data: got /none as well as an array");
    ddpm_config_destroy(&config);
}

static void splits(void **state)
{
    (void)state;
    struct ddpm_config *config = tiny_config("validation=0.5");
    struct ddpm_data *data;
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 12, 8);
    assert_ok(ddpm_config_set(config, "data", in_folder(folder, "p.npy")));
    assert_ok(ddpm_data_open(config, &data));
    refused(ddpm_data_split(NULL, config, NULL), "got NULL as data");
    refused(ddpm_data_split(data, NULL, NULL), "got NULL as config");
    refused(ddpm_data_keep_hashes(NULL, "x"), "got NULL as data");
    refused(ddpm_data_keep_hashes(data, NULL), "got NULL as path");
    assert_ok(ddpm_data_keep_hashes(data, in_folder(folder, "h.npy"))); /* there are none yet */
    assert_false(ddpm_path_exists(in_folder(folder, "h.npy")));
    assert_ok(ddpm_data_split(data, config, in_folder(folder, "h.npy"))); /* which is not there */
    refused(ddpm_data_split(data, config, NULL), "already split");
    assert_ok(ddpm_data_keep_hashes(data, in_folder(folder, "h.npy")));
    assert_true(ddpm_path_exists(in_folder(folder, "h.npy")));
    assert_int_equal(ddpm_data_keep_hashes(data, "/dev/null/h.npy"), DDPM_ERROR_IO);
    ddpm_data_close(&data);
    ddpm_config_destroy(&config);
    remove_folder(folder);
}

static void trainers(void **state)
{
    (void)state;
    struct ddpm_trainer *trainer;
    struct ddpm_memory_plan plan;
    struct ddpm_network *network = tiny_network(""), *wide = tiny_network("out-dim=6");
    refused(ddpm_trainer_create(NULL, NULL, NULL, &trainer), "want a network");
    assert_null(trainer);
    refused(ddpm_trainer_create(network, NULL, NULL, NULL), "ddpm_trainer_create: got NULL as out");
    refused(ddpm_trainer_create(wide, NULL, NULL, &trainer), "6 output channels");
    refused(ddpm_trainer_measure(NULL, NULL, &plan), "ddpm_trainer_measure: got NULL as network");
    refused(ddpm_trainer_measure(network, NULL, NULL), "ddpm_trainer_measure: got NULL as out");
    refused(ddpm_trainer_measure(wide, NULL, &plan), "6 output channels");
    refused(ddpm_trainer_check_memory(NULL, NULL, 0),
            "ddpm_trainer_check_memory: got NULL as network");
    assert_int_equal(ddpm_trainer_check_memory(network, NULL, UINT64_MAX / 4), DDPM_ERROR_MEMORY);
    assert_int_equal(ddpm_trainer_check_memory(network, NULL, UINT64_MAX), DDPM_ERROR_MEMORY);
    assert_int_equal(ddpm_trainer_steps_done(NULL), 0);
    assert_int_equal(ddpm_trainer_memory(NULL).weights, 0);
    ddpm_trainer_destroy(&trainer);
    ddpm_trainer_destroy(NULL);
    ddpm_network_destroy(&wide);
    ddpm_network_destroy(&network);
}

static void steps_and_checkpoints(void **state)
{
    (void)state;
    float values[PARAMETER + 1];
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    struct ddpm_network *network = tiny_network("");
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    refused(ddpm_trainer_step(NULL, &result), "got NULL as trainer");
    refused(ddpm_trainer_step(trainer, NULL), "got NULL as result");
    refused(ddpm_trainer_step(trainer, &result), "without a data source");
    refused(ddpm_trainer_step_late(NULL, &result), "got NULL as trainer");
    refused(ddpm_trainer_step_late(trainer, NULL), "got NULL as result");
    refused(ddpm_trainer_step_late(trainer, &result), "without a data source");
    refused(ddpm_trainer_flush(NULL, &result), "got NULL as trainer");
    refused(ddpm_trainer_flush(trainer, NULL), "got NULL as result");
    assert_ok(ddpm_trainer_flush(trainer, &result));
    assert_int_equal(result.step, 0);
    struct ddpm_validation_result validated;
    struct ddpm_validation_plan plan;
    refused(ddpm_trainer_validate(NULL, &validated), "got NULL as trainer");
    refused(ddpm_trainer_validate(trainer, NULL), "got NULL as result");
    refused(ddpm_trainer_validate(trainer, &validated), "ddpm_data_split()");
    refused(ddpm_trainer_validation_plan(NULL, &plan), "got NULL as trainer");
    refused(ddpm_trainer_validation_plan(trainer, NULL), "got NULL as out");
    assert_ok(ddpm_trainer_validation_plan(trainer, &plan));
    assert_int_equal(plan.pictures, 0);
    refused(ddpm_trainer_gradient(NULL, NAME, values, PARAMETER), "got NULL as trainer");
    refused(ddpm_trainer_gradient(trainer, NULL, values, PARAMETER), "got NULL as name");
    refused(ddpm_trainer_gradient(trainer, "", values, PARAMETER), "no parameter");
    refused(ddpm_trainer_gradient(trainer, NAME, NULL, PARAMETER), "got NULL as values");
    refused(ddpm_trainer_gradient(trainer, NAME, values, PARAMETER - 1), NAME);
    refused(ddpm_trainer_gradient(trainer, NAME, values, PARAMETER + 1), NAME);
    refused(ddpm_trainer_save(NULL, "x"), "got NULL as trainer");
    refused(ddpm_trainer_save(trainer, NULL), "ddpm_trainer_save: got NULL as run");
    refused(ddpm_trainer_save(trainer, ""), "a checkpoint: got an empty path");
    assert_int_equal(ddpm_trainer_save(trainer, "/dev/null/run"), DDPM_ERROR_IO);
    refused(ddpm_trainer_save_begin(NULL, "x"), "got NULL as trainer");
    refused(ddpm_trainer_save_begin(trainer, NULL), "got NULL as run");
    refused(ddpm_trainer_save_best_begin(NULL, "x"), "got NULL as trainer");
    refused(ddpm_trainer_save_best_begin(trainer, NULL), "got NULL as run");
    refused(ddpm_trainer_save_best_begin(trainer, ""), "a checkpoint: got an empty path");
    refused(ddpm_trainer_save_end(NULL), "got NULL as trainer");
    assert_ok(ddpm_trainer_save_end(trainer));
    refused(ddpm_trainer_resume(NULL, "x"), "got NULL as trainer");
    refused(ddpm_trainer_resume(trainer, NULL), "got NULL as path");
    assert_int_equal(ddpm_trainer_resume(trainer, ""), DDPM_ERROR_IO);
    ddpm_trainer_destroy(&trainer);
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&network);
}

#define STEP_WITH(member, value, part)                                                             \
    do {                                                                                           \
        struct ddpm_step_input changed = input;                                                    \
        changed.member = value;                                                                    \
        refused(ddpm_trainer_step_given(trainer, &changed, &result), part);                        \
    } while (0)

static void steps_on_given_values(void **state)
{
    (void)state;
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    struct ddpm_network *network = tiny_network("");
    struct given given = make_given(network, 0);
    const size_t count = (size_t)given.count, images = (size_t)given.images;
    const int64_t late[2] = {0, 25}, early[2] = {-1, 0};
    const struct ddpm_step_input input = {.size = sizeof input,
                                          .pictures = given.pictures,
                                          .picture_count = count,
                                          .timesteps = given.timesteps,
                                          .timestep_count = images,
                                          .noise = given.noise,
                                          .noise_count = count};
    assert_ok(ddpm_trainer_create(network, NULL, NULL, &trainer));
    refused(ddpm_trainer_step_given(NULL, &input, &result), "got NULL as trainer");
    refused(ddpm_trainer_step_given(trainer, NULL, &result), "ddpm_step_input");
    refused(ddpm_trainer_step_given(trainer, &input, NULL), "got NULL as result");
    STEP_WITH(pictures, NULL, "NULL as pictures");
    STEP_WITH(picture_count, count - 1, "pictures: got");
    STEP_WITH(picture_count, count + 1, "pictures: got");
    STEP_WITH(timesteps, NULL, "NULL as timesteps");
    STEP_WITH(timestep_count, images - 1, "timesteps: got");
    STEP_WITH(timestep_count, images + 1, "timesteps: got");
    STEP_WITH(timesteps, late, "timestep 1: got 25");
    STEP_WITH(timesteps, early, "timestep 0: got -1");
    STEP_WITH(noise, NULL, "NULL as noise");
    STEP_WITH(noise_count, count - 1, "noise: got");
    STEP_WITH(noise_count, count + 1, "noise: got");
    given.pictures[5] = NAN;
    assert_error(step_on(trainer, &given, &result), DDPM_ERROR_NOT_FINITE, "step 1");
    assert_int_equal(ddpm_trainer_steps_done(trainer), 0);
    given.pictures[5] = 0;
    TRY_SIZES(ddpm_step_input, input, offsetof(struct ddpm_step_input, sigmas), DDPM_OK,
              ddpm_trainer_step_given(trainer, options, &result));
    ddpm_trainer_destroy(&trainer);
    free_given(&given);
    ddpm_network_destroy(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_sources),
        cmocka_unit_test(rotation_of_pictures_that_are_not_square),
        cmocka_unit_test(arrays_of_pictures),
        cmocka_unit_test(splits),
        cmocka_unit_test(trainers),
        cmocka_unit_test(steps_and_checkpoints),
        cmocka_unit_test(steps_on_given_values),
    };
    return cmocka_run_group_tests_name("library edges: training", tests, NULL, NULL);
}
