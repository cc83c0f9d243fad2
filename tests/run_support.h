/* A trainer on pictures, with all that it stands on, and the comparison of files that it wrote. */
#ifndef DDPM_TESTS_RUN_SUPPORT_H
#define DDPM_TESTS_RUN_SUPPORT_H

#include "library_support.h"

struct run {
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
};

/* A tiny network on the packed pictures p.npy of `folder`, made as the program does. */
static inline void start(struct run *run, const char *folder, const char *options)
{
    run->config = tiny_config(options);
    assert_ok(ddpm_config_set(run->config, "data", in_folder(folder, "p.npy")));
    assert_ok(ddpm_data_open(run->config, &run->data));
    assert_ok(ddpm_data_measure(run->data, run->config));
    assert_ok(ddpm_network_create(run->config, &run->network));
    assert_ok(ddpm_trainer_create(run->network, NULL, run->data, &run->trainer));
}

static inline void end(struct run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    ddpm_data_close(&run->data);
    ddpm_network_destroy(&run->network);
    ddpm_config_destroy(&run->config);
}

static inline void steps(struct run *run, int count)
{
    struct ddpm_step_result result;
    for (int i = 0; i < count; ++i) {
        assert_ok(ddpm_trainer_step(run->trainer, &result));
        assert_true(isfinite(result.loss) && result.loss > 0);
    }
}

static inline void assert_same_file(const char *a, const char *b)
{
    void *x, *y;
    size_t x_bytes, y_bytes;
    assert_ok(ddpm_file_read_whole(&x, &x_bytes, a, (size_t)1 << 30));
    assert_ok(ddpm_file_read_whole(&y, &y_bytes, b, (size_t)1 << 30));
    assert_int_equal(x_bytes, y_bytes);
    assert_memory_equal(x, y, x_bytes);
    free(x);
    free(y);
}

#endif
