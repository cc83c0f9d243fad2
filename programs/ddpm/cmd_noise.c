/* ddpm noise: the forward process as a strip of pictures,
 *
 *     x_t = √ᾱ_t·x_0 + √(1-ᾱ_t)·ε      with the same ε for every t. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "core/memory.h"
#include "core/random.h"
#include "diffusion/objective.h"
#include "diffusion/schedule.h"
#include "formats/grid.h"
#include "formats/png_write.h"
#include "options.h"
#include "picture_file.h"
#include "tensor/layout.h"

enum { MOST_CELLS = 256, DEFAULT_CELLS = 9 };

struct strip {
    struct ddpm_config *config;
    struct ddpm_path path;
    int64_t at[MOST_CELLS];
    int cells, height, width, channels;
    uint8_t *x0;   /* [H, W, C] */
    float *noise;  /* [H, W, C] */
    uint8_t *cell; /* [cells, H, W, C] */
    uint8_t *grid;
};

/* Reads "0,100,999", or spaces timesteps evenly from the first to the last. */
static ddpm_status read_timesteps(const char *text, int64_t timesteps, struct strip *strip)
{
    if (!text) {
        int cells = timesteps < DEFAULT_CELLS ? (int)timesteps : DEFAULT_CELLS;
        for (int i = 0; i < cells; ++i)
            strip->at[i] = cells > 1 ? (timesteps - 1) * i / (cells - 1) : 0;
        strip->cells = cells;
        return DDPM_OK;
    }
    for (const char *rest = text;; ++rest) {
        char *end;
        errno = 0;
        long long t = strtoll(rest, &end, 10);
        if (*rest < '0' || *rest > '9' || (*end && *end != ',') || errno || t >= timesteps ||
            strip->cells == MOST_CELLS)
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "option --at: got \"%.80s\", want at most %d timesteps from 0 to "
                              "%" PRId64 " with commas between them",
                              text, MOST_CELLS, timesteps - 1);
        strip->at[strip->cells++] = t;
        rest = end;
        if (!*rest)
            return DDPM_OK;
    }
}

static ddpm_status allocate(struct strip *strip)
{
    size_t count = (size_t)strip->height * (size_t)strip->width * (size_t)strip->channels;
    DDPM_TRY(ddpm_new_array((void **)&strip->x0, count, 1, "a picture"));
    DDPM_TRY(ddpm_new_array((void **)&strip->noise, count, sizeof(float), "noise"));
    return ddpm_new_array((void **)&strip->cell, count, (size_t)strip->cells, "pictures");
}

static void make_noisy(const struct strip *strip, int64_t t, uint8_t *out)
{
    int64_t count = (int64_t)strip->height * strip->width * strip->channels;
    const struct ddpm_level level = ddpm_path_level(&strip->path, (double)t);
    const float keep = (float)level.alpha, add = (float)level.sigma;
    for (int64_t i = 0; i < count; ++i) {
        float x0 = (float)strip->x0[i] / 127.5f - 1;
        out[i] = ddpm_byte_of(keep * x0 + add * strip->noise[i]);
    }
}

static ddpm_status write_strip(struct strip *strip, const char *path)
{
    int height, width;
    char at[MOST_CELLS * 8 + 8] = "";
    size_t used = 0;
    for (int i = 0; i < strip->cells; ++i)
        used +=
            (size_t)snprintf(at + used, sizeof at - used, "%s%" PRId64, i ? "," : "", strip->at[i]);
    const struct ddpm_png_text texts[] = {
        {"Software", "ddpm.c " DDPM_VERSION},
        {"ddpm:at", at},
        {"ddpm:objective", ddpm_objectives[strip->config->diffusion.objective].name},
        {"ddpm:schedule", ddpm_schedules[strip->config->diffusion.schedule].name},
    };
    DDPM_TRY(
        ddpm_grid_size(strip->cells, strip->height, strip->width, strip->cells, &height, &width));
    DDPM_TRY(ddpm_new_array((void **)&strip->grid, (size_t)height * (size_t)width,
                            (size_t)strip->channels, "the strip"));
    DDPM_TRY(ddpm_grid_fill(strip->grid, strip->cell, strip->cells, strip->height, strip->width,
                            strip->channels, strip->cells));
    return ddpm_png_write(path, strip->grid, height, width, strip->channels, texts,
                          sizeof texts / sizeof *texts);
}

static ddpm_status check_channels(int64_t channels)
{
    if (channels == 1 || channels == 3 || channels == 4)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "option channels: got %" PRId64 ", want 1, 3 or 4",
                      channels);
}

/* The strip must not overwrite the picture it shows, which may belong to a training set. */
static ddpm_status check_other_file(const char *picture, const char *out)
{
    struct stat a, b;
    if (stat(picture, &a) != 0 || stat(out, &b) != 0 || a.st_dev != b.st_dev ||
        a.st_ino != b.st_ino)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_IO, "%s: got the picture itself as --out, want another file", out);
}

static ddpm_status draw(const struct ddpm_arguments *arguments, struct strip *strip)
{
    DDPM_TRY(ddpm_config_create(&strip->config));
    /* There is no network, so no constraint on the size from one. */
    DDPM_TRY(ddpm_config_set(strip->config, "dim-mults", "1"));
    DDPM_TRY(ddpm_arguments_apply(arguments, NULL, strip->config));
    DDPM_TRY(ddpm_config_check(strip->config));
    const struct ddpm_diffusion_config *diffusion = &strip->config->diffusion;
    DDPM_TRY(check_channels(strip->config->network.channels));
    strip->channels = (int)strip->config->network.channels;
    strip->height = (int)diffusion->image_height;
    strip->width = (int)diffusion->image_width;
    DDPM_TRY(read_timesteps(ddpm_arguments_get(arguments, "at"), diffusion->timesteps, strip));
    DDPM_TRY(ddpm_path_create(diffusion, &strip->path));
    DDPM_TRY(allocate(strip));
    struct ddpm_picture_file file = {.path = arguments->arguments[0]};
    DDPM_TRY(ddpm_picture_file_read(&file, strip->channels, strip->height, strip->width, false,
                                    strip->x0));
    DDPM_TRY(check_other_file(arguments->arguments[0], ddpm_arguments_get(arguments, "out")));
    int64_t count = (int64_t)strip->height * strip->width * strip->channels;
    ddpm_fill_normal(strip->noise, count, strip->config->training.seed, DDPM_STREAM_NOISE, 0, 0);
    for (int i = 0; i < strip->cells; ++i)
        make_noisy(strip, strip->at[i], strip->cell + (size_t)i * (size_t)count);
    return write_strip(strip, ddpm_arguments_get(arguments, "out"));
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct strip strip = {0};
    ddpm_status status = draw(arguments, &strip);
    ddpm_path_clear(&strip.path);
    ddpm_config_destroy(&strip.config);
    free(strip.x0);
    free(strip.noise);
    free(strip.cell);
    free(strip.grid);
    return status;
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "FILE.png", "the strip, written here; replaces an older file"},
    {"at", 0, false, "T,T,…", "timesteps to show (nine from the first to the last)"},
};
static const char *const settings[] = {
    "objective",   "schedule",    "timesteps",         "cosine-s", "sigmoid-start",
    "sigmoid-end", "sigmoid-tau", "zero-terminal-snr", "shift",    "sigma-min",
    "sigma-max",   "image-size",  "channels",          "seed",     NULL};

const struct ddpm_verb ddpm_verb_noise = {
    .name = "noise",
    .arguments = "PICTURE",
    .argument_count = 1,
    .summary = "Show the forward process on a picture.",
    .examples = "  ddpm noise photo.jpg --out strip.png --schedule cosine\n",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings = settings,
    .run = run,
};
