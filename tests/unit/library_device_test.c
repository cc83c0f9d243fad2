/* Networks, a sampler and a trainer that share one device give the same numbers as alone. */
#include "library_support.h"

enum { VALUES = 3 * 8 * 8 };

static const char *const options[2] = {"network=TwoResUNet", "network=AttentionUNet seed=3"};

/* All results of one network. */
struct answers {
    float y[2][VALUES];
    uint8_t pictures[2][2 * VALUES];
    struct ddpm_step_result step[2];
    float *weights;
};

/* One round with a network: a forward pass, pictures, a step. */
static void ask(struct ddpm_network *network, struct ddpm_sampler *sampler,
                struct ddpm_trainer *trainer, int round, struct answers *answers)
{
    float x[VALUES];
    const int64_t t = 4 + round;
    const struct ddpm_draw draw = {.size = sizeof draw, .count = 2, .seed = 5 + (uint64_t)round};
    ddpm_fill_normal(x, VALUES, 1, DDPM_STREAM_BENCH, 0, (uint32_t)round);
    assert_ok(forward_on(network, DDPM_WEIGHTS_MODEL, x, &t, 1, 8, 8, answers->y[round]));
    assert_ok(ddpm_sampler_draw(sampler, &draw, answers->pictures[round], 2 * VALUES));
    assert_ok(step_made_up(trainer, network, (uint32_t)round, &answers->step[round]));
}

static void make(struct ddpm_network *network, struct ddpm_sampler **sampler,
                 struct ddpm_trainer **trainer)
{
    const struct ddpm_sampler_options chain = {.size = sizeof chain, .batch = 2, .steps = 4};
    assert_ok(ddpm_sampler_create(network, &chain, sampler));
    assert_ok(ddpm_trainer_create(network, NULL, NULL, trainer));
}

static void alone(const char *more, struct answers *answers)
{
    struct ddpm_sampler *sampler;
    struct ddpm_trainer *trainer;
    struct ddpm_network *network = tiny_network(more);
    make(network, &sampler, &trainer);
    for (int round = 0; round < 2; ++round)
        ask(network, sampler, trainer, round, answers);
    answers->weights = all_weights(network, DDPM_WEIGHTS_MODEL);
    ddpm_trainer_destroy(&trainer);
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
}

static void compare(const struct answers *got, const struct answers *wanted, size_t weights)
{
    assert_memory_equal(got->y, wanted->y, sizeof got->y);
    assert_memory_equal(got->pictures, wanted->pictures, sizeof got->pictures);
    for (int round = 0; round < 2; ++round) {
        assert_true(got->step[round].loss == wanted->step[round].loss);
        assert_true(got->step[round].grad_norm == wanted->step[round].grad_norm);
    }
    assert_memory_equal(got->weights, wanted->weights, weights * sizeof(float));
}

static void two_networks_share_a_device(void **state)
{
    (void)state;
    struct answers wanted[2], got[2];
    struct ddpm_network *networks[2];
    struct ddpm_sampler *samplers[2];
    struct ddpm_trainer *trainers[2];
    struct ddpm_device *device;
    struct ddpm_config *config = tiny_config("");
    for (int i = 0; i < 2; ++i)
        alone(options[i], &wanted[i]);
    assert_ok(ddpm_device_create(config, &device));
    for (int i = 0; i < 2; ++i) {
        struct ddpm_config *own = tiny_config(options[i]);
        assert_ok(ddpm_network_create_on(device, own, &networks[i]));
        ddpm_config_destroy(&own);
        make(networks[i], &samplers[i], &trainers[i]);
    }
    for (int round = 0; round < 2; ++round)
        for (int i = 0; i < 2; ++i)
            ask(networks[i], samplers[i], trainers[i], round, &got[i]);
    for (int i = 0; i < 2; ++i) {
        got[i].weights = all_weights(networks[i], DDPM_WEIGHTS_MODEL);
        compare(&got[i], &wanted[i], (size_t)ddpm_network_weight_count(networks[i]));
        free(got[i].weights);
        free(wanted[i].weights);
        ddpm_trainer_destroy(&trainers[i]);
        ddpm_sampler_destroy(&samplers[i]);
        ddpm_network_destroy(&networks[i]);
    }
    ddpm_device_destroy(&device);
    ddpm_config_destroy(&config);
}

/* Open a file on a shared device; the device still works after the network is destroyed. */
static void a_file_is_opened_on_a_shared_device(void **state)
{
    (void)state;
    char *folder = make_folder();
    const char *path = in_folder(folder, "weights.safetensors");
    struct ddpm_device *device;
    struct ddpm_network *first, *second;
    struct ddpm_config *config = tiny_config("seed=4 threads=2"), *one = tiny_config("");
    assert_ok(ddpm_device_create(config, &device));
    assert_ok(ddpm_network_create_on(device, config, &first));
    assert_ok(ddpm_network_save(first, DDPM_WEIGHTS_MODEL, path));
    assert_ok(ddpm_network_open_on(device, path, one, DDPM_WEIGHTS_EMA, &second));
    assert_same_weights(first, second, DDPM_WEIGHTS_EMA);
    assert_same_weights(first, second, DDPM_WEIGHTS_MODEL);
    assert_string_equal(ddpm_network_device(first), ddpm_network_device(second));
    assert_non_null(strstr(ddpm_network_device(second), "2 threads"));
    ddpm_network_destroy(&second);
    assert_error(ddpm_network_open_on(device, "/none", one, DDPM_WEIGHTS_EMA, &second),
                 DDPM_ERROR_IO, "/none");
    assert_null(second);
    assert_ok(ddpm_network_save(first, DDPM_WEIGHTS_MODEL, path));
    ddpm_network_destroy(&first);
    ddpm_device_destroy(&device);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&one);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_networks_share_a_device),
        cmocka_unit_test(a_file_is_opened_on_a_shared_device),
    };
    return cmocka_run_group_tests_name("shared devices", tests, NULL, NULL);
}
