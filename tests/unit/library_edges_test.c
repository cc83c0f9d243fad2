/* Every public function with wrong arguments: NULL for each pointer in turn, lengths, sizes and
 * numbers that do not fit, networks without weights. None crashes, and every error names what was
 * wrong. library_edges_listed.sh checks that no function is missing here. */
#include "library_edges.h"

static struct ddpm_network *declared_network(void)
{
    struct ddpm_network *network;
    struct ddpm_config *config = tiny_config("");
    assert_ok(ddpm_network_declare(NULL, config, &network));
    ddpm_config_destroy(&config);
    return network;
}

static void configurations(void **state)
{
    (void)state;
    char text[64];
    struct ddpm_config *config = tiny_config(""), *copy = config;
    refused(ddpm_config_create(NULL), "ddpm_config_create: got NULL as out");
    refused(ddpm_config_copy(NULL, &copy), "got NULL as config");
    assert_null(copy);
    refused(ddpm_config_copy(config, NULL), "got NULL as out");
    refused(ddpm_config_set(NULL, "dim", "8"), "got NULL as config");
    refused(ddpm_config_set(config, NULL, "8"), "got NULL as name");
    refused(ddpm_config_set(config, "dim", NULL), "got NULL as value");
    refused(ddpm_config_set(config, "", "8"), "no option is called \"\"");
    refused(ddpm_config_set(config, "dim", ""), "option dim");
    refused(ddpm_config_set(config, "dim", "99999999999999999999"), "option dim");
    refused(ddpm_config_set(config, "lr", "nan"), "option lr");
    refused(ddpm_config_set(config, "image-size", "8x"), "option image-size");
    refused(ddpm_config_get(NULL, "dim", text, sizeof text), "got NULL as config");
    refused(ddpm_config_get(config, NULL, text, sizeof text), "got NULL as name");
    refused(ddpm_config_get(config, "dim", NULL, sizeof text), "got NULL as buffer");
    refused(ddpm_config_get(config, "dim", NULL, 0), "got NULL as buffer");
    refused(ddpm_config_get(config, "dim", text, 0), "option dim");
    refused(ddpm_config_get(config, "dim", text, 1), "option dim");
    refused(ddpm_config_get(config, "", text, sizeof text), "no option is called");
    refused(ddpm_config_read(NULL, "config.json"), "got NULL as config");
    refused(ddpm_config_read(config, NULL), "got NULL as path");
    assert_int_equal(ddpm_config_read(config, ""), DDPM_ERROR_IO);
    refused(ddpm_config_write(NULL, "config.json"), "got NULL as config");
    refused(ddpm_config_write(config, NULL), "got NULL as path");
    refused(ddpm_config_write(config, ""), "got an empty path");
    refused(ddpm_config_check(NULL), "got NULL as config");
    assert_ok(ddpm_config_check(config));
    ddpm_config_destroy(&config);
    ddpm_config_destroy(&config);
    ddpm_config_destroy(NULL);
}

static void tables_texts_and_the_log(void **state)
{
    (void)state;
    assert_true(ddpm_option_count() > 0 && ddpm_option_at(ddpm_option_count() - 1).name);
    assert_null(ddpm_option_at(ddpm_option_count()).name);
    assert_null(ddpm_option_at((size_t)-1).name);
    assert_true(ddpm_sampler_count() > 0 && ddpm_sampler_at(ddpm_sampler_count() - 1).name);
    assert_null(ddpm_sampler_at(ddpm_sampler_count()).name);
    assert_null(ddpm_sampler_at((size_t)-1).help);
    assert_non_null(ddpm_status_name((ddpm_status)-1));
    assert_non_null(ddpm_status_name((ddpm_status)99));
    assert_non_null(ddpm_version());
    assert_non_null(ddpm_error_message());
    ddpm_set_log_callback(NULL, NULL);
}

static void devices_and_new_networks(void **state)
{
    (void)state;
    struct ddpm_device *device;
    struct ddpm_network *network;
    struct ddpm_config *config = tiny_config("");
    refused(ddpm_device_create(NULL, &device), "got NULL as config");
    assert_null(device);
    refused(ddpm_device_create(config, NULL), "got NULL as out");
    assert_ok(ddpm_device_create(config, &device));
    refused(ddpm_network_create(NULL, &network), "ddpm_network_create: got NULL as config");
    assert_null(network);
    refused(ddpm_network_create(config, NULL), "ddpm_network_create: got NULL as out");
    refused(ddpm_network_create_on(NULL, config, &network), "got NULL as device");
    refused(ddpm_network_create_on(device, NULL, &network),
            "ddpm_network_create_on: got NULL as config");
    refused(ddpm_network_create_on(device, config, NULL), "got NULL as out");
    refused(ddpm_network_declare(device, NULL, &network), "got NULL as config");
    refused(ddpm_network_declare(device, config, NULL), "got NULL as out");
    refused(ddpm_network_allocate(NULL), "got NULL as network");
    assert_ok(ddpm_config_set(config, "image-size", "9"));
    refused(ddpm_network_create_on(device, config, &network), "image-size: got 9x9");
    assert_null(network);
    ddpm_device_destroy(&device);
    ddpm_device_destroy(&device);
    ddpm_device_destroy(NULL);
    ddpm_network_destroy(&network);
    ddpm_network_destroy(NULL);
    ddpm_config_destroy(&config);
}

static void questions_about_networks(void **state)
{
    (void)state;
    struct ddpm_picture_format format;
    struct ddpm_network *network = tiny_network("");
    const size_t count = ddpm_network_parameter_count(network);
    assert_null(ddpm_network_config(NULL));
    assert_string_equal(ddpm_network_device(NULL), "");
    assert_int_equal(ddpm_network_parameter_count(NULL), 0);
    assert_int_equal(ddpm_network_weight_count(NULL), 0);
    assert_null(ddpm_network_parameter(NULL, 0).name);
    assert_null(ddpm_network_parameter(network, count).name);
    assert_null(ddpm_network_parameter(network, (size_t)-1).name);
    refused(ddpm_network_picture_format(NULL, &format), "got NULL as network");
    refused(ddpm_network_picture_format(network, NULL), "got NULL as out");
    ddpm_network_destroy(&network);
}

static void single_parameters(void **state)
{
    (void)state;
    float values[PARAMETER + 1];
    struct ddpm_network *network = tiny_network("");
    assert_ok(ddpm_network_get(network, DDPM_WEIGHTS_EMA, NAME, values, PARAMETER));
    refused(ddpm_network_get(NULL, DDPM_WEIGHTS_EMA, NAME, values, PARAMETER), "want a network");
    refused(ddpm_network_get(network, BAD_WEIGHTS, NAME, values, PARAMETER), "got weights 7");
    refused(ddpm_network_get(network, DDPM_WEIGHTS_EMA, NULL, values, PARAMETER), "NULL as name");
    refused(ddpm_network_get(network, DDPM_WEIGHTS_EMA, "", values, PARAMETER), "no parameter");
    refused(ddpm_network_get(network, DDPM_WEIGHTS_EMA, NAME, NULL, PARAMETER), "NULL as values");
    refused(ddpm_network_get(network, DDPM_WEIGHTS_EMA, NAME, values, PARAMETER - 1), NAME);
    refused(ddpm_network_get(network, DDPM_WEIGHTS_EMA, NAME, values, PARAMETER + 1), NAME);
    refused(ddpm_network_set(NULL, DDPM_WEIGHTS_EMA, NAME, values, PARAMETER), "want a network");
    refused(ddpm_network_set(network, BAD_WEIGHTS, NAME, values, PARAMETER), "got weights 7");
    refused(ddpm_network_set(network, DDPM_WEIGHTS_EMA, NULL, values, PARAMETER), "NULL as name");
    refused(ddpm_network_set(network, DDPM_WEIGHTS_EMA, "x", values, PARAMETER), "no parameter x");
    refused(ddpm_network_set(network, DDPM_WEIGHTS_EMA, NAME, NULL, PARAMETER), "NULL as values");
    refused(ddpm_network_set(network, DDPM_WEIGHTS_EMA, NAME, values, 0), NAME);
    refused(ddpm_network_set(network, DDPM_WEIGHTS_EMA, NAME, values, PARAMETER + 1), NAME);
    ddpm_network_destroy(&network);
}

static void files_of_weights(void **state)
{
    (void)state;
    struct ddpm_device *device;
    struct ddpm_config *config = tiny_config("");
    struct ddpm_network *network = tiny_network(""), *other;
    assert_ok(ddpm_device_create(config, &device));
    refused(ddpm_network_load(NULL, DDPM_WEIGHTS_EMA, "x"), "want a network");
    refused(ddpm_network_load(network, BAD_WEIGHTS, "x"), "got weights 7");
    refused(ddpm_network_load(network, DDPM_WEIGHTS_EMA, NULL), "got NULL as path");
    assert_int_equal(ddpm_network_load(network, DDPM_WEIGHTS_EMA, ""), DDPM_ERROR_IO);
    refused(ddpm_network_save(NULL, DDPM_WEIGHTS_EMA, "x"), "want a network");
    refused(ddpm_network_save(network, BAD_WEIGHTS, "x"), "got weights 7");
    refused(ddpm_network_save(network, DDPM_WEIGHTS_EMA, NULL), "got NULL as path");
    refused(ddpm_network_save(network, DDPM_WEIGHTS_EMA, ""), "got an empty path");
    assert_int_equal(ddpm_network_save(network, DDPM_WEIGHTS_EMA, "none/x.safetensors"),
                     DDPM_ERROR_IO);
    assert_non_null(strstr(ddpm_error_message(), "cannot write none/x.safetensors: "));
    refused(ddpm_network_open(NULL, config, DDPM_WEIGHTS_EMA, &other),
            "ddpm_network_open: got NULL as path");
    assert_null(other);
    refused(ddpm_network_open("x", config, BAD_WEIGHTS, &other), "got weights 7");
    refused(ddpm_network_open("x", config, DDPM_WEIGHTS_EMA, NULL), "got NULL as out");
    refused(ddpm_network_open("/dev/null", NULL, DDPM_WEIGHTS_EMA, &other),
            "not a weights file; want a .safetensors file, with its configuration");
    assert_int_equal(ddpm_network_open("", config, DDPM_WEIGHTS_EMA, &other), DDPM_ERROR_IO);
    refused(ddpm_network_open_on(NULL, "x", config, DDPM_WEIGHTS_EMA, &other), "NULL as device");
    refused(ddpm_network_open_on(device, NULL, config, DDPM_WEIGHTS_EMA, &other), "NULL as path");
    refused(ddpm_network_open_on(device, "x", config, BAD_WEIGHTS, &other), "got weights 7");
    refused(ddpm_network_open_on(device, "x", config, DDPM_WEIGHTS_EMA, NULL), "NULL as out");
    assert_int_equal(ddpm_network_open_on(device, "/none", NULL, DDPM_WEIGHTS_EMA, &other),
                     DDPM_ERROR_IO);
    ddpm_network_destroy(&network);
    ddpm_device_destroy(&device);
    ddpm_config_destroy(&config);
}

/* With one member changed, a forward pass fails with `part` in the text. */
#define FORWARD_WITH(member, value, part)                                                          \
    do {                                                                                           \
        struct ddpm_forward_input changed = input;                                                 \
        changed.member = value;                                                                    \
        refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &changed, y, VALUES), part);       \
    } while (0)

static void forward_passes(void **state)
{
    (void)state;
    float x[VALUES + 1] = {0}, y[VALUES + 1];
    const int64_t t[2] = {3, 25}, before = -1;
    const float odd[4] = {NAN, INFINITY, -0.5f, 24.5f};
    struct ddpm_network *network = tiny_network("");
    const struct ddpm_forward_input input = {.size = sizeof input,
                                             .x = x,
                                             .x_count = VALUES,
                                             .timesteps = t,
                                             .time_count = 1,
                                             .batch = 1,
                                             .height = 8,
                                             .width = 8};
    assert_ok(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &input, y, VALUES));
    assert_ok(ddpm_network_predict_x0(network, DDPM_WEIGHTS_EMA, &input, y, VALUES));
    refused(ddpm_network_predict_x0(NULL, DDPM_WEIGHTS_EMA, &input, y, VALUES), "want a network");
    refused(ddpm_network_predict_x0(network, BAD_WEIGHTS, &input, y, VALUES), "got weights 7");
    refused(ddpm_network_predict_x0(network, DDPM_WEIGHTS_EMA, NULL, y, VALUES), "got NULL");
    refused(ddpm_network_predict_x0(network, DDPM_WEIGHTS_EMA, &input, NULL, VALUES), "NULL as x0");
    refused(ddpm_network_predict_x0(network, DDPM_WEIGHTS_EMA, &input, y, VALUES - 1), "x0: got");
    double alpha, sigma;
    assert_ok(ddpm_network_level(network, 3, &alpha, &sigma));
    refused(ddpm_network_level(NULL, 3, &alpha, &sigma), "NULL as network");
    refused(ddpm_network_level(network, 3, NULL, &sigma), "NULL as alpha");
    refused(ddpm_network_level(network, 3, &alpha, NULL), "NULL as sigma");
    refused(ddpm_network_level(network, -1, &alpha, &sigma), "time: got -1, want 0 to 24");
    refused(ddpm_network_forward(NULL, DDPM_WEIGHTS_EMA, &input, y, VALUES), "want a network");
    refused(ddpm_network_forward(network, BAD_WEIGHTS, &input, y, VALUES), "got weights 7");
    refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, NULL, y, VALUES), "got NULL");
    refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &input, NULL, VALUES), "NULL as y");
    refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &input, y, VALUES - 1), "y: got");
    refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &input, y, VALUES + 1), "y: got");
    FORWARD_WITH(x, NULL, "NULL as x");
    FORWARD_WITH(x_count, VALUES - 1, "x: got a buffer of 191, want 192");
    FORWARD_WITH(x_count, VALUES + 1, "x: got");
    FORWARD_WITH(timesteps, NULL, "neither");
    FORWARD_WITH(times, odd, "both");
    FORWARD_WITH(time_count, 0, "timesteps: got");
    FORWARD_WITH(time_count, 2, "timesteps: got");
    FORWARD_WITH(timesteps, t + 1, "timestep 0: got 25");
    FORWARD_WITH(timesteps, &before, "timestep 0: got -1");
    FORWARD_WITH(batch, 0, "batch of 0");
    FORWARD_WITH(batch, -1, "batch of -1");
    FORWARD_WITH(batch, INT64_MAX, "x: got");
    FORWARD_WITH(height, 0, "0x8");
    FORWARD_WITH(height, -8, "-8x8");
    FORWARD_WITH(height, INT64_MAX, "x: got");
    FORWARD_WITH(width, 0, "8x0");
    FORWARD_WITH(width, INT64_MIN, "8x-");
    for (int i = 0; i < 4; ++i) {
        struct ddpm_forward_input timed = input;
        timed.timesteps = NULL;
        timed.times = odd + i;
        refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &timed, y, VALUES), "timestep 0");
    }
    struct ddpm_forward_input odd_size = input;
    odd_size.height = 7;
    odd_size.x_count = 3 * 7 * 8;
    refused(ddpm_network_forward(network, DDPM_WEIGHTS_EMA, &odd_size, y, 3 * 7 * 8), "got 7x8");
    TRY_SIZES(ddpm_forward_input, input, sizeof input, DDPM_OK,
              ddpm_network_forward(network, DDPM_WEIGHTS_EMA, options, y, VALUES));
    ddpm_network_destroy(&network);
}

/* Functions that need weights fail for a network without weights; pure queries do not. */
static void a_network_without_weights(void **state)
{
    (void)state;
    uint8_t pictures[VALUES];
    float x[VALUES] = {0}, y[VALUES];
    const int64_t t = 3;
    struct ddpm_sampler *sampler;
    struct ddpm_trainer *trainer;
    struct ddpm_memory_plan plan;
    struct ddpm_network *network = declared_network();
    const struct ddpm_sampler_options chain = {.size = sizeof chain};
    const struct ddpm_sample_options sample = {.size = sizeof sample, .count = 1};
    const char *want = "got a network without weights";
    refused(ddpm_network_get(network, DDPM_WEIGHTS_EMA, NAME, x, PARAMETER), want);
    refused(ddpm_network_set(network, DDPM_WEIGHTS_EMA, NAME, x, PARAMETER), want);
    refused(forward_on(network, DDPM_WEIGHTS_EMA, x, &t, 1, 8, 8, y), want);
    refused(ddpm_network_load(network, DDPM_WEIGHTS_EMA, "x"), want);
    refused(ddpm_network_save(network, DDPM_WEIGHTS_EMA, "x"), want);
    refused(ddpm_sampler_create(network, &chain, &sampler), want);
    refused(ddpm_sample(network, &sample, pictures, sizeof pictures), want);
    refused(ddpm_trainer_create(network, NULL, NULL, &trainer), want);
    assert_null(trainer);
    assert_ok(ddpm_trainer_measure(network, NULL, &plan));
    assert_ok(ddpm_trainer_check_memory(network, NULL, 0));
    assert_ok(ddpm_sampler_measure(network, &chain, &plan));
    assert_ok(ddpm_network_allocate(network));
    assert_ok(ddpm_network_allocate(network));
    assert_ok(forward_on(network, DDPM_WEIGHTS_EMA, x, &t, 1, 8, 8, y));
    ddpm_network_destroy(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations),           cmocka_unit_test(tables_texts_and_the_log),
        cmocka_unit_test(devices_and_new_networks), cmocka_unit_test(questions_about_networks),
        cmocka_unit_test(single_parameters),        cmocka_unit_test(files_of_weights),
        cmocka_unit_test(forward_passes),           cmocka_unit_test(a_network_without_weights),
    };
    return cmocka_run_group_tests_name("library edges", tests, NULL, NULL);
}
