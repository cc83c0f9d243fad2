/* ddpm sample: draw pictures from a run, a checkpoint or a weights file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <ddpm/sampler.h>

#include "config/config.h"
#include "core/clock.h"
#include "drawing.h"
#include "from_pictures.h"
#include "interpolation.h"
#include "processes.h"
#include "progress.h"
#include "sample_help.h"
#include "shared_drawing.h"
#include "trajectory.h"

/* How many pictures to draw and write at a time without --batch, and how many frames a trajectory
 * has without --every. */
enum { CHUNK = 16, FRAMES = 50, DEFAULT_COUNT = 4 };

struct drawing {
    const struct ddpm_arguments *arguments;
    struct ddpm_opened_model model;
    struct ddpm_config *config; /* the model's configuration, changed by the command line */
    struct ddpm_sampler *sampler;
    struct ddpm_draw draw; /* all pictures together */
    int64_t batch;
    float *init; /* x at the first level; NULL: draw it */
    struct ddpm_from from;
    struct ddpm_interpolation between;
    int64_t chunk; /* pictures being drawn now, by all processes */
    struct ddpm_sample_output output;
    struct ddpm_shared_drawing shared;
    struct ddpm_metadata metadata;
    struct ddpm_trajectory trajectory;
    struct ddpm_progress progress; /* evaluations of the network per picture */
    ddpm_status status;            /* of the callback */
    char reason[1024]; /* its message, which replaces the library's own about the stop */
    double seconds;    /* time spent drawing */
};

static int after_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct drawing *drawing = user;
    const struct ddpm_sample_output *output = &drawing->output;
    drawing->status = ddpm_check_signal();
    if (drawing->status == DDPM_OK && drawing->trajectory.path && output->done == 0)
        drawing->status = ddpm_trajectory_add(&drawing->trajectory, progress);
    if (drawing->status != DDPM_OK)
        snprintf(drawing->reason, sizeof drawing->reason, "%s", ddpm_error_message());
    const double pictures = (double)output->done + (double)drawing->chunk *
                                                       (double)progress->evaluations /
                                                       (double)progress->evaluations_total;
    if (ddpm_processes_lead())
        ddpm_progress_bar(&drawing->progress, "sampling",
                          (int64_t)(pictures * (double)ddpm_sampler_evaluations(drawing->sampler)));
    ddpm_ranks_still_here(ddpm_processes_ranks());
    return drawing->status != DDPM_OK;
}

/* Errors that can be found before a network is loaded. */
static ddpm_status read_options(struct drawing *drawing)
{
    const struct ddpm_arguments *arguments = drawing->arguments;
    struct ddpm_draw *draw = &drawing->draw;
    struct ddpm_probe probe;
    draw->size = sizeof *draw;
    draw->callback = after_step;
    draw->user = drawing;
    DDPM_TRY(ddpm_arguments_integer(arguments, "count", 1, 1000000, 0, &draw->count));
    DDPM_TRY(ddpm_arguments_integer(arguments, "first", 0, 1000000000, 0, &draw->first));
    DDPM_TRY(ddpm_arguments_integer(arguments, "batch", 1, 4096, 0, &drawing->batch));
    DDPM_TRY(ddpm_arguments_integer(arguments, "every", 1, 1000000, 0, &draw->every));
    DDPM_TRY(ddpm_interpolation_read_options(&drawing->between, arguments));
    DDPM_TRY(ddpm_from_read_options(&drawing->from, arguments));
    if (draw->count == 0)
        draw->count =
            drawing->between.text ? drawing->between.frames : ddpm_from_usual_count(&drawing->from);
    DDPM_TRY(ddpm_sample_output_read_options(&drawing->output, arguments));
    DDPM_TRY(ddpm_arguments_probe(arguments, &probe));
    draw->seed = probe.seed;
    return DDPM_OK;
}

/* The model's configuration, changed by the command line. */
static ddpm_status settle_config(struct drawing *drawing, const struct ddpm_network *network)
{
    const struct ddpm_arguments *arguments = drawing->arguments;
    int64_t evaluations;
    ddpm_config_destroy(&drawing->config);
    DDPM_TRY(ddpm_config_copy(ddpm_network_config(network), &drawing->config));
    DDPM_TRY(ddpm_arguments_apply(arguments, NULL, drawing->config));
    DDPM_TRY(ddpm_config_check(drawing->config));
    DDPM_TRY(ddpm_drawing_check(arguments, drawing->config, &evaluations));
    return ddpm_interpolation_check(&drawing->between, drawing->config);
}

/* The shape of the output. */
static ddpm_status settle_output(struct drawing *drawing, int64_t count)
{
    const struct ddpm_config *config = drawing->config;
    struct ddpm_sample_output *output = &drawing->output;
    output->count = count;
    output->height = config->diffusion.image_height;
    output->width = config->diffusion.image_width;
    output->channels = config->network.channels;
    output->scale = (int)config->training.scale;
    return ddpm_sample_output_check(output);
}

/* What the chain is planned with, except for the batch size. */
static struct ddpm_sampler_options sampler_options(const struct drawing *drawing)
{
    struct ddpm_sampler_options options = ddpm_drawing_options(drawing->config);
    options.weights = drawing->model.which;
    if (drawing->between.text || ddpm_arguments_get(drawing->arguments, "init"))
        options.start = "noise";
    ddpm_from_plan(&drawing->from, drawing->arguments, &options);
    return options;
}

/* What drawing `count` pictures needs in memory in addition to the sampler. */
static uint64_t host_bytes(const struct drawing *drawing, int64_t count)
{
    const uint64_t values = ddpm_sample_output_values(&drawing->output);
    const int64_t chunk = count < CHUNK ? count : CHUNK;
    const uint64_t first_x = drawing->between.text ? (uint64_t)count * values * sizeof(float) : 0;
    const size_t each = drawing->output.array ? sizeof(float) : 1;
    return ((uint64_t)chunk + 2 * ddpm_grid_cells(count)) * values + first_x +
           ddpm_shared_bytes(chunk, values * each) +
           ddpm_from_bytes(&drawing->from, count, chunk, values);
}

/* Do the options fit the network, and does everything fit into memory? The batch must fit if it
 * was given, otherwise one picture. */
static ddpm_status look(void *user, struct ddpm_network *network)
{
    struct drawing *drawing = user;
    struct ddpm_memory_plan plan;
    DDPM_TRY(settle_config(drawing, network));
    struct ddpm_sampler_options options = sampler_options(drawing);
    const int64_t count = drawing->draw.count ? drawing->draw.count : DEFAULT_COUNT;
    DDPM_TRY(settle_output(drawing, count));
    options.batch = drawing->batch ? drawing->batch : 1;
    options.pictures = count;
    DDPM_TRY(ddpm_sampler_measure(network, &options, &plan));
    return ddpm_check_room(network, &plan, host_bytes(drawing, count));
}

/* The network is open: read what drawing starts from. */
static ddpm_status settle(struct drawing *drawing)
{
    const char *init = ddpm_arguments_get(drawing->arguments, "init");
    struct ddpm_draw *draw = &drawing->draw;
    if (!drawing->config)
        DDPM_TRY(settle_config(drawing, drawing->model.network));
    if (init)
        DDPM_TRY(ddpm_drawing_read_init(init, drawing->config, draw->count, &drawing->init,
                                        &draw->count));
    if (!draw->count)
        draw->count = DEFAULT_COUNT;
    const struct ddpm_sampler_options options = sampler_options(drawing);
    if (drawing->between.text)
        return ddpm_interpolation_make(&drawing->between, drawing->model.network, drawing->config,
                                       &options, draw->first, &drawing->init);
    const struct ddpm_picture_shape shape = {(int)drawing->config->diffusion.image_height,
                                             (int)drawing->config->diffusion.image_width,
                                             (int)drawing->config->network.channels};
    return ddpm_from_read(&drawing->from, &shape, draw->first, draw->count);
}

static ddpm_status make_sampler(struct drawing *drawing)
{
    struct ddpm_sampler_options options = sampler_options(drawing);
    options.batch = drawing->batch;
    options.pictures = drawing->draw.count;
    DDPM_TRY(ddpm_sampler_create(drawing->model.network, &options, &drawing->sampler));
    /* Whole batches at a time. */
    const int64_t batch = ddpm_sampler_in_force(drawing->sampler)->batch;
    drawing->chunk = batch < CHUNK ? CHUNK / batch * batch : batch;
    drawing->chunk = drawing->chunk < drawing->draw.count ? drawing->chunk : drawing->draw.count;
    if (!ddpm_arguments_get(drawing->arguments, "trajectory")) /* each shows a whole batch */
        drawing->chunk = ddpm_shared_chunk(drawing->chunk, drawing->draw.count);
    return DDPM_OK;
}

/* Everything else that can fail before the first step. */
static ddpm_status prepare(struct drawing *drawing)
{
    const struct ddpm_arguments *arguments = drawing->arguments;
    const char *path = arguments->arguments[0];
    const char *trajectory = ddpm_arguments_get(arguments, "trajectory");
    const bool force = ddpm_arguments_get(arguments, "force") != NULL;
    struct ddpm_draw *draw = &drawing->draw;
    struct ddpm_sample_output *output = &drawing->output;
    const char *init = drawing->between.text ? drawing->between.text
                       : drawing->init       ? "given"
                                             : NULL;
    const int64_t steps = ddpm_sampler_steps(drawing->sampler);
    if (trajectory && steps == 0)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "option --trajectory: with this --strength no steps run, so there is nothing to show");
    DDPM_TRY(ddpm_from_begin(&drawing->from, drawing->chunk));
    DDPM_TRY(settle_output(drawing, draw->count));
    DDPM_TRY(ddpm_metadata_fill(&drawing->metadata, &drawing->model, path, drawing->sampler,
                                draw->seed, init));
    output->metadata = &drawing->metadata;
    output->first = draw->first;
    output->chunk = drawing->chunk;
    DDPM_TRY(ddpm_processes_lead() ? ddpm_sample_output_begin(output, force)
                                   : ddpm_sample_output_stand_in(output));
    DDPM_TRY(ddpm_shared_begin(&drawing->shared, output));
    if (!draw->every)
        draw->every = steps > FRAMES ? steps / FRAMES : 1;
    return trajectory && ddpm_processes_lead()
               ? ddpm_trajectory_begin(&drawing->trajectory, trajectory, drawing->output.scale,
                                       force, &drawing->metadata)
               : DDPM_OK;
}

/* Draw `count` pictures, starting with number `offset`. */
static ddpm_status draw_chunk(struct drawing *drawing, int64_t offset, int64_t count)
{
    struct ddpm_sample_output *output = &drawing->output;
    const size_t each = ddpm_sample_output_values(output);
    const size_t values = (size_t)count * each;
    struct ddpm_draw chunk = drawing->draw;
    if (count == 0) /* another process draws the last ones */
        return DDPM_OK;
    chunk.first += offset;
    chunk.count = count;
    chunk.every = drawing->trajectory.path && output->done == 0 ? chunk.every : 0;
    if (drawing->init) {
        chunk.init = drawing->init + (size_t)offset * each;
        chunk.init_count = values;
    }
    ddpm_from_give(&drawing->from, offset, &chunk);
    const double begin = ddpm_now();
    ddpm_status status =
        output->values ? ddpm_sampler_draw_array(drawing->sampler, &chunk, output->values, values)
                       : ddpm_sampler_draw(drawing->sampler, &chunk, output->pictures, values);
    drawing->seconds += ddpm_now() - begin;
    if (status != DDPM_OK && drawing->status != DDPM_OK)
        return ddpm_raise(drawing->status, "%s", drawing->reason);
    return status;
}

/* One chunk per process. */
static ddpm_status draw_round(struct drawing *drawing)
{
    struct ddpm_sample_output *output = &drawing->output;
    const int64_t left = output->count - output->done;
    const int64_t all = output->chunk * ddpm_processes_count();
    int64_t offset, count;
    drawing->chunk = left < all ? left : all;
    ddpm_shared_turn(output, ddpm_ranks_index(ddpm_processes_ranks()), &offset, &count);
    return ddpm_shared_add(&drawing->shared, output, draw_chunk(drawing, offset, count));
}

static void say_what_is_drawn(const struct drawing *drawing)
{
    char step[DDPM_TEXT_BYTES];
    const struct ddpm_opened_model *model = &drawing->model;
    ddpm_progress_remark(
        "%s%s%s, %s weights, %" PRId64 " picture%s of %" PRId64 "x%" PRId64 " with %s, on %s",
        drawing->arguments->arguments[0], model->step >= 0 ? ", step " : "",
        model->step >= 0 ? ddpm_count_text(step, model->step) : "",
        model->which == DDPM_WEIGHTS_EMA ? "EMA" : "raw", drawing->draw.count,
        drawing->draw.count == 1 ? "" : "s", drawing->output.height, drawing->output.width,
        ddpm_sampler_description(drawing->sampler), ddpm_network_device(model->network));
}

static void say_what_was_drawn(const struct drawing *drawing)
{
    char kinds[DDPM_KINDS_TEXT_BYTES];
    const bool counted =
        !drawing->from.invert && drawing->output.channels <= DDPM_PNG_MOST_CHANNELS;
    ddpm_progress_clear();
    ddpm_progress_remark("%s %" PRId64 " picture%s in %.2f s%s%s%s with %s",
                         drawing->from.invert ? "inverted" : "drew", drawing->output.done,
                         drawing->output.done == 1 ? "" : "s", drawing->seconds,
                         counted ? ": " : "",
                         counted ? ddpm_kinds_text(kinds, drawing->output.kinds) : "",
                         counted ? ";" : "", ddpm_sampler_description(drawing->sampler));
}

static void say_what_was_left(const struct drawing *drawing)
{
    if (ddpm_processes_lead())
        ddpm_progress_remark("stopped, drew %" PRId64 " of %" PRId64 " pictures",
                             drawing->output.done, drawing->draw.count);
}

static ddpm_status open_all(struct drawing *drawing)
{
    const struct ddpm_arguments *arguments = drawing->arguments;
    DDPM_TRY(read_options(drawing));
    DDPM_TRY(ddpm_open_model(arguments, arguments->arguments[0], look, drawing, &drawing->model));
    DDPM_TRY(settle(drawing));
    return make_sampler(drawing);
}

static ddpm_status finish(struct drawing *drawing)
{
    if (!ddpm_processes_lead())
        return DDPM_OK;
    DDPM_TRY(ddpm_trajectory_finish(&drawing->trajectory));
    DDPM_TRY(ddpm_sample_output_finish(&drawing->output));
    say_what_was_drawn(drawing);
    return DDPM_OK;
}

static ddpm_status draw(struct drawing *drawing)
{
    struct ddpm_ranks *ranks = ddpm_processes_ranks();
    DDPM_TRY(ddpm_ranks_agree(ranks, open_all(drawing), NULL));
    DDPM_TRY(ddpm_shared_settle_chunk(&drawing->chunk));
    DDPM_TRY(ddpm_ranks_agree(ranks, prepare(drawing), NULL));
    if (ddpm_processes_lead())
        say_what_is_drawn(drawing);
    ddpm_catch_signals();
    ddpm_processes_tell_apart();
    const int64_t count = drawing->draw.count;
    ddpm_progress_start(&drawing->progress, 0, count * ddpm_sampler_evaluations(drawing->sampler));
    while (drawing->output.done < count)
        DDPM_TRY(draw_round(drawing));
    return ddpm_ranks_agree(ranks, finish(drawing), NULL);
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct drawing drawing = {.arguments = arguments};
    ddpm_status status = draw(&drawing);
    ddpm_progress_clear();
    if (status == DDPM_STOPPED)
        say_what_was_left(&drawing);
    ddpm_trajectory_clear(&drawing.trajectory);
    ddpm_shared_clear(&drawing.shared);
    ddpm_sample_output_clear(&drawing.output);
    ddpm_metadata_clear(&drawing.metadata);
    ddpm_sampler_destroy(&drawing.sampler);
    ddpm_close_model(&drawing.model);
    ddpm_config_destroy(&drawing.config);
    ddpm_from_clear(&drawing.from);
    ddpm_interpolation_clear(&drawing.between);
    free(drawing.init);
    return status;
}

static const char *const settings[] = {
    "seed",      "scale",     "clip",         "image-size", "sampler",      "sampling-steps",
    "spacing",   "start",     "threshold",    "eta",        "solver-order", "churn",
    "churn-min", "churn-max", "churn-noise",  "threads",    "precision",    "device",
    "conv",      "ranks",     "rank-timeout", NULL};

static const char *const common[] = {"out",        "count", "seed",   "sampler",  "sampling-steps",
                                     "image-size", "scale", "from",   "strength", "interpolate",
                                     "trajectory", "array", "device", "force",    NULL};

const struct ddpm_verb ddpm_verb_sample = {
    .name = "sample",
    .arguments = "RUN|CHECKPOINT|MODEL.safetensors",
    .argument_count = 1,
    .summary = "Draw pictures from a model.",
    .notes = ddpm_sample_notes,
    .examples = ddpm_sample_examples,
    .common = common,
    .options = ddpm_sample_options,
    .option_count = DDPM_SAMPLE_OPTIONS,
    .settings = settings,
    .joins = true,
    .run = run,
};
