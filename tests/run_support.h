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

/* A folder with RGB pictures in p.npy, whose windows of a few pixels all differ, mirrored or not.
 */
static inline char *folder_with_windows(int64_t count, int64_t side)
{
    const int64_t shape[] = {count, side, side, 3};
    const size_t bytes = (size_t)(count * side * side * 3);
    char *folder = make_folder();
    uint8_t *pixels = malloc(bytes);
    for (uint32_t i = 0; i < bytes; ++i)
        pixels[i] = (uint8_t)ddpm_philox(5, i, 0, 0, DDPM_STREAM_BENCH).v[0];
    assert_ok(ddpm_npy_write(in_folder(folder, "p.npy"), DDPM_NPY_U8, 4, shape, pixels));
    free(pixels);
    return folder;
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

/* Weights, moments and averages of the newest checkpoints of two runs; `second`: the second
 * average, too. */
static inline void assert_same_state(const char *folder, const char *a, const char *b, bool second)
{
    static const char *const files[] = {"model", "ema", "optimizer", "ema-second"};
    for (int i = 0; i < 3 + second; ++i) {
        char x[96], y[96];
        snprintf(x, sizeof x, "%s/checkpoints/latest/%s.safetensors", a, files[i]);
        snprintf(y, sizeof y, "%s/checkpoints/latest/%s.safetensors", b, files[i]);
        assert_same_file(in_folder(folder, x), in_folder(folder, y));
    }
}

/* `count` steps of the run `name`, which is new or resumed, and a checkpoint. */
static inline void train_and_save(const char *folder, const char *options, const char *name,
                                  bool resume, int count)
{
    struct run run;
    start(&run, folder, options);
    if (resume)
        assert_ok(ddpm_trainer_resume(run.trainer, in_folder(folder, name)));
    steps(&run, count);
    assert_ok(ddpm_trainer_save(run.trainer, in_folder(folder, name)));
    end(&run);
}

/* Weights, EMA and moments: six steps in one go, compared with three and three. */
static inline void check_going_on(const char *options)
{
    char *folder = make_folder();
    write_pictures(in_folder(folder, "p.npy"), 7, 8);
    train_and_save(folder, options, "straight", false, 6);
    train_and_save(folder, options, "run", false, 3);
    train_and_save(folder, options, "run", true, 3);
    assert_same_state(folder, "straight", "run", false);
    remove_folder(folder);
}

#endif
