/* A network that is opened from a checkpoint and trained on other pictures. */
#include "library_support.h"

enum { PICTURES = 128, SIDE = 8, BYTES = PICTURES * SIDE * SIDE * 3 };

/* Pictures of a single colour each, plus a little noise: their large-scale colours can be fitted.
 */
static uint8_t *make_pictures(uint32_t seed)
{
    uint8_t *pictures = malloc(BYTES);
    assert_non_null(pictures);
    for (uint32_t i = 0; i < BYTES; ++i) {
        const uint32_t picture = i / (SIDE * SIDE * 3);
        const uint32_t colour = ddpm_philox(seed, picture, i % 3, 0, DDPM_STREAM_BENCH).v[0] % 200;
        pictures[i] = (uint8_t)(colour + ddpm_philox(seed, i, 3, 1, DDPM_STREAM_BENCH).v[0] % 16);
    }
    return pictures;
}

/* Train `network`, or with NULL a new one, for two steps on `pictures` and save `run`. */
static void train(struct ddpm_network *network, const uint8_t *pictures, const char *run)
{
    struct ddpm_config *config =
        tiny_config("objective=v timesteps=1000 image-size=8 validation=off");
    struct ddpm_network *created = NULL;
    struct ddpm_trainer *trainer;
    struct ddpm_data *data;
    struct ddpm_step_result result;
    assert_ok(ddpm_data_open_array(config, pictures, PICTURES, SIDE, SIDE, BYTES, &data));
    if (!network)
        assert_ok(ddpm_network_create(config, &created));
    assert_ok(ddpm_trainer_create(network ? network : created, config, data, &trainer));
    for (int i = 0; i < 2; ++i)
        assert_ok(ddpm_trainer_step(trainer, &result));
    assert_int_equal(result.step, 2);
    assert_ok(ddpm_trainer_save(trainer, run));
    ddpm_trainer_destroy(&trainer);
    ddpm_network_destroy(&created);
    ddpm_data_close(&data);
    ddpm_config_destroy(&config);
}

static bool same_start(const char *run, const char *other)
{
    void *data[2];
    size_t bytes[2];
    char path[512];
    for (int i = 0; i < 2; ++i) {
        snprintf(path, sizeof path, "%s/checkpoints/latest/start.safetensors", i ? other : run);
        assert_ok(ddpm_file_read_whole(&data[i], &bytes[i], path, 1 << 20));
    }
    const bool same = bytes[0] == bytes[1] && memcmp(data[0], data[1], bytes[0]) == 0;
    free(data[0]);
    free(data[1]);
    return same;
}

/* The fitted start describes the new pictures, not those that the opened model was trained on. */
static void the_start_is_fitted_to_the_new_pictures(void **state)
{
    (void)state;
    char *folder = make_folder();
    char paths[3][256];
    static const char *const names[] = {"first", "fresh", "further"};
    uint8_t *before = make_pictures(1), *now = make_pictures(2);
    struct ddpm_network *network;
    for (int i = 0; i < 3; ++i)
        snprintf(paths[i], sizeof paths[i], "%s", in_folder(folder, names[i]));
    train(NULL, before, paths[0]);
    train(NULL, now, paths[1]);
    assert_ok(ddpm_network_open(paths[0], NULL, DDPM_WEIGHTS_EMA, &network));
    train(network, now, paths[2]);
    ddpm_network_destroy(&network);
    assert_true(same_start(paths[1], paths[2]));
    assert_false(same_start(paths[0], paths[2]));
    free(before);
    free(now);
    remove_folder(folder);
}

/* A sampler keeps the start that it was planned with, although saving replaces the network's. */
static void a_sampler_keeps_its_start(void **state)
{
    (void)state;
    char *folder = make_folder();
    uint8_t *before = make_pictures(1), *now = make_pictures(2), drawn[3][SIDE * SIDE * 3];
    const struct ddpm_sampler_options options = {
        .size = sizeof options, .start = "fitted", .steps = 2, .clip = -1};
    const struct ddpm_draw draw = {.size = sizeof draw, .count = 1, .seed = 3};
    struct ddpm_config *config = tiny_config("objective=v timesteps=1000 validation=off");
    struct ddpm_network *network;
    struct ddpm_sampler *kept, *fresh;
    struct ddpm_trainer *trainer;
    struct ddpm_data *data;
    train(NULL, before, in_folder(folder, "run"));
    assert_ok(ddpm_network_open(in_folder(folder, "run"), NULL, DDPM_WEIGHTS_EMA, &network));
    assert_ok(ddpm_sampler_create(network, &options, &kept));
    assert_ok(ddpm_sampler_draw(kept, &draw, drawn[0], sizeof drawn[0]));
    assert_ok(ddpm_data_open_array(config, now, PICTURES, SIDE, SIDE, BYTES, &data));
    assert_ok(ddpm_trainer_create(network, config, data, &trainer));
    assert_ok(ddpm_trainer_save(trainer, in_folder(folder, "further")));
    assert_ok(ddpm_sampler_create(network, &options, &fresh));
    assert_ok(ddpm_sampler_draw(kept, &draw, drawn[1], sizeof drawn[1]));
    assert_ok(ddpm_sampler_draw(fresh, &draw, drawn[2], sizeof drawn[2]));
    assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
    assert_true(memcmp(drawn[0], drawn[2], sizeof drawn[0]) != 0);
    ddpm_sampler_destroy(&kept);
    ddpm_sampler_destroy(&fresh);
    ddpm_trainer_destroy(&trainer);
    ddpm_data_close(&data);
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
    free(before);
    free(now);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_is_fitted_to_the_new_pictures),
        cmocka_unit_test(a_sampler_keeps_its_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
