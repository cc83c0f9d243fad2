/* ddpm sample: draw pictures from a run, a checkpoint or a file of weights. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <ddpm/sampler.h>

#include "core/memory.h"
#include "formats/file.h"
#include "formats/grid.h"
#include "health.h"
#include "metadata.h"
#include "options.h"
#include "progress.h"
#include "trajectory.h"

/* Pictures drawn and written at a time unless --batch says more, the most that are kept for the
 * grid, and frames of a trajectory unless --every says otherwise. */
enum { CHUNK = 16, MOST_IN_GRID = 1024, FRAMES = 50 };

struct drawing {
    const struct ddpm_arguments *arguments;
    struct ddpm_opened_model model;
    struct ddpm_sample_options options; /* of all pictures together */
    const char *out;
    int64_t channels, timesteps;
    int64_t done, chunk; /* pictures written, and now being drawn */
    struct ddpm_metadata metadata;
    struct ddpm_trajectory trajectory;
    struct ddpm_progress progress;
    ddpm_status status;  /* of the callback */
    char reason[1024];   /* its text, which the library's own word on the stop replaces */
    uint8_t *pictures;   /* [chunk, H, W, C] */
    uint8_t *grid_cells; /* [grid_count, H, W, C], the first pictures */
    int64_t grid_count;
    int64_t kinds[DDPM_PICTURE_KINDS]; /* how many pictures of each */
    double seconds;                    /* of drawing alone */
};

static size_t picture_bytes(const struct drawing *drawing)
{
    return (size_t)(drawing->options.height * drawing->options.width * drawing->channels);
}

static int after_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct drawing *drawing = user;
    drawing->status = ddpm_check_signal();
    if (drawing->status == DDPM_OK && drawing->trajectory.path && drawing->done == 0)
        drawing->status = ddpm_trajectory_add(&drawing->trajectory, progress);
    if (drawing->status != DDPM_OK)
        snprintf(drawing->reason, sizeof drawing->reason, "%s", ddpm_error_message());
    double pictures = (double)drawing->done +
                      (double)drawing->chunk * (double)progress->done / (double)progress->total;
    ddpm_progress_bar(&drawing->progress, "sampling",
                      (int64_t)(pictures * (double)drawing->timesteps));
    return drawing->status != DDPM_OK;
}

static ddpm_status read_options(const struct ddpm_arguments *arguments, struct drawing *drawing)
{
    struct ddpm_sample_options *options = &drawing->options;
    options->size = sizeof *options;
    DDPM_TRY(ddpm_arguments_integer(arguments, "count", 1, 1000000, 4, &options->count));
    DDPM_TRY(ddpm_arguments_integer(arguments, "first", 0, 1000000000, 0, &options->first));
    DDPM_TRY(ddpm_arguments_integer(arguments, "batch", 1, 4096, 0, &options->batch));
    DDPM_TRY(ddpm_arguments_integer(arguments, "every", 1, 1000000, 0, &options->every));
    drawing->out = ddpm_arguments_get(arguments, "out");
    options->callback = after_step;
    options->user = drawing;
    /* What is wrong with these shows before a network is loaded. */
    struct ddpm_config *probe;
    DDPM_TRY(ddpm_config_create(&probe));
    ddpm_status status = ddpm_arguments_apply(arguments, NULL, probe);
    int64_t seed = 0;
    if (status == DDPM_OK)
        status = ddpm_config_integer(probe, "seed", &seed);
    options->seed = (uint64_t)seed;
    ddpm_config_destroy(&probe);
    return status;
}

/* The sizes and the clipping of the model, unless the command line has its own. */
static ddpm_status merge_config(struct drawing *drawing, const struct ddpm_network *network)
{
    struct ddpm_config *config;
    int height = 0, width = 0;
    char clip[8] = "";
    DDPM_TRY(ddpm_config_copy(ddpm_network_config(network), &config));
    ddpm_status status = ddpm_arguments_apply(drawing->arguments, NULL, config);
    if (status == DDPM_OK)
        status = ddpm_config_check(config);
    if (status == DDPM_OK)
        status = ddpm_config_size(config, "image-size", &height, &width);
    if (status == DDPM_OK)
        status = ddpm_config_integer(config, "channels", &drawing->channels);
    if (status == DDPM_OK)
        status = ddpm_config_integer(config, "timesteps", &drawing->timesteps);
    if (status == DDPM_OK)
        status = ddpm_config_get(config, "clip", clip, sizeof clip);
    ddpm_config_destroy(&config);
    DDPM_TRY(status);
    drawing->options.height = height;
    drawing->options.width = width;
    drawing->options.clip = clip[1] == 'n';
    drawing->options.weights = drawing->model.which;
    if (drawing->channels > 4)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "got a model of %" PRId64 " channels, want at most 4: PNG holds no more",
                          drawing->channels);
    return DDPM_OK;
}

static void choose_chunk(struct drawing *drawing)
{
    const struct ddpm_sample_options *options = &drawing->options;
    drawing->chunk = options->batch > CHUNK ? options->batch : CHUNK;
    if (drawing->chunk > options->count)
        drawing->chunk = options->count;
    drawing->grid_count = options->count < MOST_IN_GRID ? options->count : MOST_IN_GRID;
}

/* Do the options fit the network, and everything into memory? The batch that was asked for must
 * fit; where none was, one picture. */
static ddpm_status look(void *user, struct ddpm_network *network)
{
    struct drawing *drawing = user;
    const struct ddpm_sample_options *options = &drawing->options;
    struct ddpm_memory_plan plan;
    DDPM_TRY(merge_config(drawing, network));
    choose_chunk(drawing);
    const struct ddpm_sampler_options chain = {
        .size = sizeof chain,
        .batch = options->batch ? options->batch : 1,
        .pictures = drawing->chunk,
        .height = options->height,
        .width = options->width,
        .weights = options->weights,
        .clip = options->clip,
    };
    DDPM_TRY(ddpm_sampler_measure(network, &chain, &plan));
    const uint64_t kept = (uint64_t)drawing->chunk + 2 * (uint64_t)drawing->grid_count;
    return ddpm_check_room(network, &plan, kept * picture_bytes(drawing));
}

static ddpm_status write_picture(struct drawing *drawing, int64_t index)
{
    char *path;
    const struct ddpm_sample_options *options = &drawing->options;
    const int64_t number = options->first + drawing->done + index;
    DDPM_TRY(ddpm_format(&path, "%s/%04" PRId64 ".png", drawing->out, number));
    ddpm_metadata_set_picture(&drawing->metadata, number, 1);
    ddpm_status status =
        ddpm_png_write(path, drawing->pictures + (size_t)index * picture_bytes(drawing),
                       (int)options->height, (int)options->width, (int)drawing->channels,
                       drawing->metadata.texts, drawing->metadata.count);
    free(path);
    return status;
}

static ddpm_status draw_chunk(struct drawing *drawing)
{
    struct ddpm_sample_options chunk = drawing->options;
    chunk.first += drawing->done;
    chunk.count = drawing->chunk;
    chunk.every = drawing->trajectory.path && drawing->done == 0 ? chunk.every : 0;
    const double begin = ddpm_clock();
    ddpm_status status = ddpm_sample(drawing->model.network, &chunk, drawing->pictures,
                                     (size_t)chunk.count * picture_bytes(drawing));
    drawing->seconds += ddpm_clock() - begin;
    if (status != DDPM_OK && drawing->status != DDPM_OK)
        return ddpm_raise(drawing->status, "%s", drawing->reason);
    DDPM_TRY(status);
    for (int64_t i = 0; i < chunk.count; ++i) {
        DDPM_TRY(write_picture(drawing, i));
        ++drawing->kinds[ddpm_picture_kind_of(
            drawing->pictures + (size_t)i * picture_bytes(drawing), (int)chunk.height,
            (int)chunk.width, (int)drawing->channels)];
        if (drawing->done + i < drawing->grid_count)
            for (size_t k = 0; k < picture_bytes(drawing); ++k)
                drawing->grid_cells[(size_t)(drawing->done + i) * picture_bytes(drawing) + k] =
                    drawing->pictures[(size_t)i * picture_bytes(drawing) + k];
    }
    drawing->done += chunk.count;
    return DDPM_OK;
}

static ddpm_status write_grid(struct drawing *drawing)
{
    const struct ddpm_sample_options *options = &drawing->options;
    const int count = (int)drawing->grid_count, columns = ddpm_grid_columns(count);
    int height, width;
    uint8_t *grid;
    char *path;
    DDPM_TRY(
        ddpm_grid_size(count, (int)options->height, (int)options->width, columns, &height, &width));
    DDPM_TRY(ddpm_format(&path, "%s/grid.png", drawing->out));
    ddpm_metadata_set_picture(&drawing->metadata, options->first, count);
    ddpm_status status = ddpm_new_array((void **)&grid, (size_t)height * (size_t)width,
                                        (size_t)drawing->channels, "the grid");
    if (status == DDPM_OK)
        status = ddpm_grid_fill(grid, drawing->grid_cells, count, (int)options->height,
                                (int)options->width, (int)drawing->channels, columns);
    if (status == DDPM_OK)
        status = ddpm_png_write(path, grid, height, width, (int)drawing->channels,
                                drawing->metadata.texts, drawing->metadata.count);
    free(grid);
    free(path);
    return status;
}

/* Everything that can fail before the first step. */
static ddpm_status prepare(struct drawing *drawing)
{
    const struct ddpm_arguments *arguments = drawing->arguments;
    const char *path = arguments->arguments[0];
    const char *trajectory = ddpm_arguments_get(arguments, "trajectory");
    const bool force = ddpm_arguments_get(arguments, "force") != NULL;
    struct ddpm_sample_options *options = &drawing->options;
    DDPM_TRY(merge_config(drawing, drawing->model.network));
    DDPM_TRY(ddpm_metadata_fill(&drawing->metadata, &drawing->model, path, options));
    DDPM_TRY(ddpm_make_output_folder(drawing->out, force));
    if (trajectory)
        DDPM_TRY(
            ddpm_trajectory_begin(&drawing->trajectory, trajectory, force, &drawing->metadata));
    if (!options->every)
        options->every = drawing->timesteps > FRAMES ? drawing->timesteps / FRAMES : 1;
    choose_chunk(drawing);
    DDPM_TRY(ddpm_new_array((void **)&drawing->pictures, (size_t)drawing->chunk,
                            picture_bytes(drawing), "pictures"));
    return ddpm_new_array((void **)&drawing->grid_cells, (size_t)drawing->grid_count,
                          picture_bytes(drawing), "pictures");
}

static void say_what_was_drawn(const struct drawing *drawing)
{
    char kinds[DDPM_KINDS_TEXT_BYTES];
    ddpm_progress_clear();
    ddpm_progress_remark("drew %" PRId64 " pictures in %.2f s: %s", drawing->done, drawing->seconds,
                         ddpm_kinds_text(kinds, drawing->kinds));
}

static ddpm_status draw(const struct ddpm_arguments *arguments, struct drawing *drawing)
{
    char step[DDPM_TEXT_BYTES];
    const struct ddpm_sample_options *options = &drawing->options;
    drawing->arguments = arguments;
    DDPM_TRY(ddpm_open_model(arguments, arguments->arguments[0], look, drawing, &drawing->model));
    DDPM_TRY(prepare(drawing));
    ddpm_progress_remark("%s%s%s, %s weights, %" PRId64 " pictures of %" PRId64 "x%" PRId64
                         ", %" PRId64 " steps each, on %s",
                         arguments->arguments[0], drawing->model.step >= 0 ? ", step " : "",
                         drawing->model.step >= 0 ? ddpm_count_text(step, drawing->model.step) : "",
                         options->weights == DDPM_WEIGHTS_EMA ? "EMA" : "raw", options->count,
                         options->height, options->width, drawing->timesteps,
                         ddpm_network_device(drawing->model.network));
    ddpm_catch_signals();
    ddpm_progress_start(&drawing->progress, 0, options->count * drawing->timesteps);
    while (drawing->done < options->count) {
        int64_t left = options->count - drawing->done;
        drawing->chunk = left < drawing->chunk ? left : drawing->chunk;
        DDPM_TRY(draw_chunk(drawing));
    }
    DDPM_TRY(ddpm_trajectory_finish(&drawing->trajectory));
    DDPM_TRY(write_grid(drawing));
    say_what_was_drawn(drawing);
    return DDPM_OK;
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct drawing drawing = {0};
    ddpm_status status = read_options(arguments, &drawing);
    if (status == DDPM_OK)
        status = draw(arguments, &drawing);
    ddpm_progress_clear();
    ddpm_trajectory_clear(&drawing.trajectory);
    ddpm_metadata_clear(&drawing.metadata);
    ddpm_close_model(&drawing.model);
    free(drawing.pictures);
    free(drawing.grid_cells);
    return status;
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "DIR", "folder for 0000.png, 0001.png, … and grid.png"},
    {"count", 'n', false, "N", "pictures (4)"},
    {"first", 0, false, "N",
     "number of the first picture; picture k of a seed is always the same "
     "(0)"},
    {"batch", 0, false, "N", "pictures drawn at once (as many as fit, at most 16)"},
    {"weights", 0, false, "ema|model", "averaged or raw weights (ema)"},
    {"config", 'c', false, "FILE.json", "configuration of a bare .safetensors file"},
    {"trajectory", 0, false, "FILE.png|DIR",
     "the first batch's chain as an animated PNG, or as a "
     "folder of PNGs"},
    {"every", 0, false, "K", "steps between two frames of the trajectory (a fiftieth of all)"},
    {"force", 'f', false, NULL, "write into a folder that is not empty"},
};
static const char *const settings[] = {"seed",      "clip",   "image-size", "threads",
                                       "precision", "device", "conv",       NULL};

const struct ddpm_verb ddpm_verb_sample = {
    .name = "sample",
    .arguments = "RUN|CHECKPOINT|MODEL.safetensors",
    .argument_count = 1,
    .summary = "Draw pictures from a model.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings = settings,
    .run = run,
};
