/* A trainer on pictures with everything it needs, and comparing the files it wrote. */
#ifndef DDPM_TESTS_RUN_SUPPORT_H
#define DDPM_TESTS_RUN_SUPPORT_H

#include "library_support.h"

struct run {
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
};

/* A tiny network on the packed pictures p.npy of `folder`, created as the program does. */
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

/* Weights, EMA and moments: six steps in one go, compared with three and three. */
static inline void check_going_on(const char *options)
{
    static const char *const files[] = {"model.safetensors", "ema.safetensors",
                                        "optimizer.safetensors"};
    char *folder = make_folder();
    struct run straight, first, second;
    write_pictures(in_folder(folder, "p.npy"), 7, 8);
    start(&straight, folder, options);
    steps(&straight, 6);
    assert_ok(ddpm_trainer_save(straight.trainer, in_folder(folder, "straight")));
    start(&first, folder, options);
    steps(&first, 3);
    assert_ok(ddpm_trainer_save(first.trainer, in_folder(folder, "run")));
    end(&first);
    start(&second, folder, options);
    assert_ok(ddpm_trainer_resume(second.trainer, in_folder(folder, "run")));
    steps(&second, 3);
    assert_ok(ddpm_trainer_save(second.trainer, in_folder(folder, "run")));
    for (int i = 0; i < 3; ++i) {
        char a[64], b[64];
        snprintf(a, sizeof a, "straight/checkpoints/latest/%s", files[i]);
        snprintf(b, sizeof b, "run/checkpoints/latest/%s", files[i]);
        assert_same_file(in_folder(folder, a), in_folder(folder, b));
    }
    end(&straight);
    end(&second);
    remove_folder(folder);
}

#endif
