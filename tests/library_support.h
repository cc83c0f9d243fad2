/* Shared by the tests of the public interface: small configurations, made-up pictures, temporary
 * folders, and checks of a failure's status and message. */
#ifndef DDPM_TESTS_LIBRARY_SUPPORT_H
#define DDPM_TESTS_LIBRARY_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <ddpm/ddpm.h>

#include "core/random.h"
#include "formats/file.h"
#include "formats/npy.h"

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        if ((expression) != DDPM_OK)                                                               \
            fail_msg("%s", ddpm_error_message());                                                  \
    } while (0)

#define assert_error(expression, wanted, part)                                                     \
    do {                                                                                           \
        assert_int_equal((expression), (wanted));                                                  \
        if (!strstr(ddpm_error_message(), (part)))                                                 \
            fail_msg("got \"%s\", want \"%s\" in it", ddpm_error_message(), (part));               \
    } while (0)

/* A test program returns this to ctest if its device is missing. */
enum { EXIT_SKIPPED = 77 };

/* The device that the tests run on: DDPM_TEST_DEVICE, or the CPU. */
static inline const char *test_device(void)
{
    const char *device = getenv("DDPM_TEST_DEVICE");
    return device && *device ? device : "cpu";
}

/* A configuration from "name=value name=value …" on top of a tiny one: 8×8 pictures, two levels, 25
 * timesteps, one thread. */
static inline struct ddpm_config *tiny_config(const char *more)
{
    char text[512], *rest, *word;
    struct ddpm_config *config;
    assert_ok(ddpm_config_create(&config));
    snprintf(text, sizeof text,
             "device=%s precision=fp32 threads=1 network=TwoResUNet dim=8 dim-mults=1,2 "
             "image-size=8 timesteps=25 schedule=cosine batch-size=2 lr=1e-3 ema-after=2 "
             "ema-every=1 %s",
             test_device(), more ? more : "");
    for (word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value = '\0';
        assert_ok(ddpm_config_set(config, word, value + 1));
    }
    return config;
}

/* False, with the reason on stderr, if this machine has no such device. */
static inline bool has_test_device(void)
{
    struct ddpm_config *config = tiny_config(NULL);
    struct ddpm_device *device = NULL;
    const ddpm_status status = ddpm_device_create(config, &device);
    ddpm_device_destroy(&device);
    ddpm_config_destroy(&config);
    if (status == DDPM_ERROR_UNSUPPORTED)
        fprintf(stderr, "skipped: %s\n", ddpm_error_message());
    return status != DDPM_ERROR_UNSUPPORTED;
}

static inline struct ddpm_network *tiny_network(const char *more)
{
    struct ddpm_network *network;
    struct ddpm_config *config = tiny_config(more);
    assert_ok(ddpm_network_create(config, &network));
    ddpm_config_destroy(&config);
    return network;
}

/* Samplers that draw with ordinary models: all but the last, consistency, which is for models made
 * by ddpm distill: library_consistency_test.c. */
static inline size_t ordinary_samplers(void)
{
    assert_string_equal(ddpm_sampler_at(ddpm_sampler_count() - 1).name, "consistency");
    return ddpm_sampler_count() - 1;
}

/* An integer option of a network's configuration. */
static inline int64_t option_of(const struct ddpm_network *network, const char *name)
{
    char text[64];
    assert_ok(ddpm_config_get(ddpm_network_config(network), name, text, sizeof text));
    return atoll(text);
}

/* The forward pass, with the right buffer lengths. */
static inline ddpm_status forward_on(struct ddpm_network *network, enum ddpm_weights which,
                                     const float *x, const int64_t *t, int64_t batch,
                                     int64_t height, int64_t width, float *y)
{
    struct ddpm_picture_format format;
    assert_ok(ddpm_network_picture_format(network, &format));
    const size_t area = (size_t)(batch * height * width);
    const struct ddpm_forward_input input = {
        .size = sizeof input,
        .x = x,
        .x_count = area * (size_t)format.channels,
        .timesteps = t,
        .time_count = (size_t)batch,
        .batch = batch,
        .height = height,
        .width = width,
    };
    return ddpm_network_forward(network, which, &input, y, area * (size_t)format.out_channels);
}

/* Draw into a buffer of the length that the options need. */
static inline ddpm_status sample_into(struct ddpm_network *network,
                                      const struct ddpm_sample_options *options, uint8_t *pictures)
{
    struct ddpm_picture_format format;
    assert_ok(ddpm_network_picture_format(network, &format));
    const int64_t height = options->height ? options->height : format.height;
    const int64_t width = options->width ? options->width : format.width;
    return ddpm_sample(network, options, pictures,
                       (size_t)(options->count * height * width * format.channels));
}

/* The inputs of one step, for square pictures. */
struct given {
    float *pictures, *noise;
    int64_t *timesteps;
    int64_t count; /* values of pictures and of noise */
    int64_t images;
};

static inline struct given make_given(const struct ddpm_network *network, uint32_t step)
{
    const int64_t size = option_of(network, "image-size");
    const int64_t images = option_of(network, "batch-size") * option_of(network, "accumulate");
    const int64_t t_end = option_of(network, "timesteps");
    struct given given = {.images = images,
                          .count = images * option_of(network, "channels") * size * size};
    given.pictures = malloc((size_t)given.count * sizeof(float));
    given.noise = malloc((size_t)given.count * sizeof(float));
    given.timesteps = malloc((size_t)images * sizeof(int64_t));
    ddpm_fill_normal(given.noise, given.count, 1, DDPM_STREAM_BENCH, step, 0);
    ddpm_fill_normal(given.pictures, given.count, 2, DDPM_STREAM_BENCH, step, 0);
    for (int64_t i = 0; i < given.count; ++i)
        given.pictures[i] = tanhf(given.pictures[i]);
    for (int64_t b = 0; b < images; ++b)
        given.timesteps[b] = (7 * b + 3 + 5 * (int64_t)step) % t_end;
    return given;
}

static inline void free_given(struct given *given)
{
    free(given->pictures);
    free(given->noise);
    free(given->timesteps);
}

static inline ddpm_status step_on(struct ddpm_trainer *trainer, const struct given *given,
                                  struct ddpm_step_result *result)
{
    const struct ddpm_step_input input = {
        .size = sizeof input,
        .pictures = given->pictures,
        .picture_count = (size_t)given->count,
        .timesteps = given->timesteps,
        .timestep_count = (size_t)given->images,
        .noise = given->noise,
        .noise_count = (size_t)given->count,
    };
    return ddpm_trainer_step_given(trainer, &input, result);
}

static inline ddpm_status step_made_up(struct ddpm_trainer *trainer,
                                       const struct ddpm_network *network, uint32_t step,
                                       struct ddpm_step_result *result)
{
    struct given given = make_given(network, step);
    ddpm_status status = step_on(trainer, &given, result);
    free_given(&given);
    return status;
}

/* All weights in the order of the parameters; free() them. */
static inline float *all_weights(const struct ddpm_network *network, enum ddpm_weights which)
{
    float *values = malloc((size_t)ddpm_network_weight_count(network) * sizeof(float)),
          *at = values;
    for (size_t i = 0; i < ddpm_network_parameter_count(network); ++i) {
        struct ddpm_parameter_info info = ddpm_network_parameter(network, i);
        assert_ok(ddpm_network_get(network, which, info.name, at, (size_t)info.count));
        at += info.count;
    }
    return values;
}

static inline void assert_same_weights(const struct ddpm_network *a, const struct ddpm_network *b,
                                       enum ddpm_weights which)
{
    assert_int_equal(ddpm_network_weight_count(a), ddpm_network_weight_count(b));
    float *x = all_weights(a, which), *y = all_weights(b, which);
    assert_memory_equal(x, y, (size_t)ddpm_network_weight_count(a) * sizeof(float));
    free(x);
    free(y);
}

/* A new folder with a unique name; remove_folder() frees the name. */
static inline char *make_folder(void)
{
    char name[512];
    const char *place = getenv("TMPDIR");
    snprintf(name, sizeof name, "%s/ddpm-library-XXXXXX", place ? place : "/tmp");
    assert_non_null(mkdtemp(name));
    return strdup(name);
}

static inline void remove_folder(char *folder)
{
    assert_ok(ddpm_directory_remove(folder));
    free(folder);
}

/* A path inside a folder, in one of four static buffers in turn. */
static inline const char *in_folder(const char *folder, const char *name)
{
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* A packed file of made-up pictures, uint8 [count, size, size, 3]. */
static inline void write_pictures(const char *path, int64_t count, int64_t size)
{
    const int64_t shape[] = {count, size, size, 3};
    const size_t bytes = (size_t)(count * size * size * 3);
    uint8_t *pixels = malloc(bytes);
    for (size_t i = 0; i < bytes; ++i)
        pixels[i] = (uint8_t)ddpm_philox(5, (uint32_t)(i / 24), 0, 0, DDPM_STREAM_BENCH).v[0];
    assert_ok(ddpm_npy_write(path, DDPM_NPY_U8, 4, shape, pixels));
    free(pixels);
}

#endif
