/* Two networks in two threads of a host program, each with its own threads: they train, draw and
 * save at the same time, and get exactly the numbers that each gets on its own.
 * scripts/check-threads.sh runs this under ThreadSanitizer. */
#include <pthread.h>

#include <ddpm/sampler.h>

#include "library_support.h"

enum { STEPS = 6, HOSTS = 2, SIZE = 8, BYTES = 2 * SIZE * SIZE * 3 };

struct host {
    const char *options, *pictures;
    char *run;
    float losses[STEPS];
    uint8_t drawn[BYTES];
    char failure[512]; /* assertions must run in the test's own thread */
};

static ddpm_status train(struct host *host, struct ddpm_network *network, struct ddpm_data *data)
{
    struct ddpm_trainer *trainer;
    struct ddpm_step_result result;
    ddpm_status status = ddpm_trainer_create(network, NULL, data, &trainer);
    for (int step = 0; status == DDPM_OK && step < STEPS; ++step) {
        status = ddpm_trainer_step(trainer, &result);
        host->losses[step] = (float)result.loss;
    }
    if (status == DDPM_OK)
        status = ddpm_trainer_save(trainer, host->run);
    ddpm_trainer_destroy(&trainer);
    return status;
}

static ddpm_status configure(const struct host *host, struct ddpm_config *config)
{
    static const char *const names[] = {"device",     "precision",  "threads",       "dim",
                                        "dim-mults",  "image-size", "timesteps",     "schedule",
                                        "batch-size", "lr",         "decode-threads"};
    static const char *const values[] = {"cpu", "fp32",   "3", "8",    "1,2", "8",
                                         "25",  "cosine", "4", "1e-3", "2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        ddpm_status status = ddpm_config_set(config, names[i], values[i]);
        if (status != DDPM_OK)
            return status;
    }
    ddpm_status status = ddpm_config_set(config, "network", host->options);
    return status == DDPM_OK ? ddpm_config_set(config, "data", host->pictures) : status;
}

static ddpm_status live(struct host *host, struct ddpm_config *config)
{
    struct ddpm_network *network = NULL;
    struct ddpm_data *data = NULL;
    const struct ddpm_sample_options options = {.size = sizeof options,
                                                .count = 2,
                                                .height = SIZE,
                                                .width = SIZE,
                                                .seed = 3,
                                                .weights = DDPM_WEIGHTS_EMA,
                                                .clip = 1};
    ddpm_status status = configure(host, config);
    if (status == DDPM_OK)
        status = ddpm_data_open(config, &data);
    if (status == DDPM_OK)
        status = ddpm_network_create(config, &network);
    if (status == DDPM_OK)
        status = train(host, network, data);
    if (status == DDPM_OK)
        status = ddpm_sample(network, &options, host->drawn, BYTES);
    ddpm_network_destroy(&network);
    ddpm_data_close(&data);
    return status;
}

static void *run(void *argument)
{
    struct host *host = argument;
    struct ddpm_config *config = NULL;
    ddpm_status status = ddpm_config_create(&config);
    if (status == DDPM_OK)
        status = live(host, config);
    if (status != DDPM_OK)
        snprintf(host->failure, sizeof host->failure, "%s", ddpm_error_message());
    ddpm_config_destroy(&config);
    return NULL;
}

static void make_hosts(struct host hosts[HOSTS], const char *pictures)
{
    static const char *const networks[HOSTS] = {"TwoResUNet", "AttentionUNet"};
    for (int i = 0; i < HOSTS; ++i)
        hosts[i] =
            (struct host){.options = networks[i], .pictures = pictures, .run = make_folder()};
}

static void networks_at_once_come_to_their_own_numbers(void **state)
{
    (void)state;
    static struct host alone[HOSTS], together[HOSTS];
    char *folder = make_folder();
    const char *pictures = in_folder(folder, "pictures.npy");
    char path[1024];
    snprintf(path, sizeof path, "%s", pictures);
    write_pictures(path, 9, SIZE);
    make_hosts(alone, path);
    make_hosts(together, path);
    pthread_t threads[HOSTS];
    for (int i = 0; i < HOSTS; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &together[i]), 0);
    for (int i = 0; i < HOSTS; ++i)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < HOSTS; ++i) {
        run(&alone[i]);
        assert_string_equal(alone[i].failure, "");
        assert_string_equal(together[i].failure, "");
        assert_memory_equal(alone[i].losses, together[i].losses, sizeof alone[i].losses);
        assert_memory_equal(alone[i].drawn, together[i].drawn, sizeof alone[i].drawn);
        assert_true(alone[i].losses[0] > 0);
        remove_folder(alone[i].run);
        remove_folder(together[i].run);
    }
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_at_once_come_to_their_own_numbers),
    };
    return cmocka_run_group_tests_name("threads_networks", tests, NULL, NULL);
}
