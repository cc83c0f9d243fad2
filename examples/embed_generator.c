/* Picture generators inside another program: one per model, each in its own thread.
 *
 *     embed_generator COUNT MODEL [MODEL…]
 *
 * MODEL is a run folder or a checkpoint folder of `ddpm train`. Every model draws COUNT pictures to
 * model-M-picture-K.ppm (.pgm for grey ones). Each plans its chain once and draws picture after
 * picture. Failures are values: if a model cannot be opened, only its own pictures are missing. Its
 * error text is printed when all are done. Ctrl-C cancels the draws.
 *
 *     cc -std=c11 -pthread -o embed_generator embed_generator.c $(pkg-config --cflags --libs ddpm)
 *
 * or make, or CMake, in this folder. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <ddpm/ddpm.h>

enum { MOST_MODELS = 8 };

struct generator {
    pthread_t thread;
    const char *model;
    int number;
    int64_t count;
    ddpm_status status;
    char text[512]; /* of a failure: the library stores it per thread, so copy it on that thread */
};

static atomic_int cancelled;

static void cancel(int number)
{
    (void)number;
    cancelled = 1;
}

/* Called after every step. Any other value than 0 ends the draw with DDPM_STOPPED. */
static int after_step(void *user, const struct ddpm_sample_progress *progress)
{
    const struct generator *generator = user;
    if (progress->done == progress->total || progress->done % 100 == 0)
        printf("model %d: %3.0f %%\n", generator->number,
               100.0 * (double)progress->done / (double)progress->total);
    return cancelled;
}

/* One picture, uint8 [height, width, channels], as binary PPM or PGM. */
static int write_picture(const char *path, const uint8_t *pixels, int height, int width,
                         int channels)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return -1;
    const int kept = channels == 1 ? 1 : 3; /* these formats have no alpha */
    fprintf(file, "P%d\n%d %d\n255\n", kept == 1 ? 5 : 6, width, height);
    for (int i = 0; i < height * width; ++i)
        fwrite(pixels + i * channels, 1, (size_t)kept, file);
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}

static int write_numbered(const struct generator *generator, int64_t k, const uint8_t *picture,
                          const struct ddpm_picture_format *format)
{
    char path[64];
    snprintf(path, sizeof path, "model-%d-picture-%lld.%s", generator->number, (long long)k,
             format->channels == 1 ? "pgm" : "ppm");
    return write_picture(path, picture, (int)format->height, (int)format->width,
                         (int)format->channels);
}

/* Draw and write one picture after the other. The library's failures have a text; those of this
 * program get one in generator->text. */
static ddpm_status draw_all(struct generator *generator, struct ddpm_sampler *sampler,
                            const struct ddpm_picture_format *format)
{
    uint8_t *picture = malloc(format->bytes);
    ddpm_status status = DDPM_OK;
    if (!picture) {
        snprintf(generator->text, sizeof generator->text, "no memory for a picture");
        return DDPM_ERROR_MEMORY;
    }
    for (int64_t k = 0; k < generator->count && status == DDPM_OK; ++k) {
        const struct ddpm_draw draw = {.size = sizeof draw,
                                       .count = 1,
                                       .first = k,
                                       .seed = 1,
                                       .callback = after_step,
                                       .user = generator};
        status = ddpm_sampler_draw(sampler, &draw, picture, format->bytes);
        if (status == DDPM_OK && write_numbered(generator, k, picture, format) != 0) {
            snprintf(generator->text, sizeof generator->text, "picture %lld: %s", (long long)k,
                     strerror(errno));
            status = DDPM_ERROR_IO;
        }
    }
    free(picture);
    return status;
}

static void *run_generator(void *argument)
{
    struct generator *generator = argument;
    struct ddpm_sampler_options options = DDPM_SAMPLER_OPTIONS_INIT;
    struct ddpm_picture_format format;
    struct ddpm_network *network;
    struct ddpm_sampler *sampler = NULL;
    options.pictures = 1; /* in one draw */
    ddpm_status status = ddpm_network_open(generator->model, NULL, DDPM_WEIGHTS_EMA, &network);
    if (status == DDPM_OK)
        status = ddpm_network_picture_format(network, &format);
    if (status == DDPM_OK)
        status = ddpm_sampler_create(network, &options, &sampler);
    if (status == DDPM_OK)
        status = draw_all(generator, sampler, &format);
    if (status != DDPM_OK && !generator->text[0])
        snprintf(generator->text, sizeof generator->text, "%s", ddpm_error_message());
    generator->status = status;
    ddpm_sampler_destroy(&sampler);
    ddpm_network_destroy(&network);
    return NULL;
}

int main(int count, char **arguments)
{
    static struct generator generators[MOST_MODELS];
    const int64_t pictures = count > 1 ? atoll(arguments[1]) : 0;
    const int models = count - 2;
    int failures = 0, started = 0;
    if (pictures < 1 || models < 1 || models > MOST_MODELS) {
        fprintf(stderr, "usage: %s COUNT MODEL [MODEL…]   (1 to %d models)\n", arguments[0],
                MOST_MODELS);
        return 2;
    }
    signal(SIGINT, cancel);
    for (; started < models; ++started) {
        generators[started] = (struct generator){
            .model = arguments[2 + started], .number = started, .count = pictures};
        if (pthread_create(&generators[started].thread, NULL, run_generator,
                           &generators[started]) != 0) {
            fprintf(stderr, "no thread for %s\n", arguments[2 + started]);
            ++failures;
            break;
        }
    }
    for (int i = 0; i < started; ++i) {
        pthread_join(generators[i].thread, NULL);
        if (generators[i].status == DDPM_OK)
            continue;
        fprintf(stderr, "%s: %s: %s\n", generators[i].model, ddpm_status_name(generators[i].status),
                generators[i].text);
        ++failures;
    }
    return failures ? 1 : 0;
}
