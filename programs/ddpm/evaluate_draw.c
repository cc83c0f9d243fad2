/* Drawing the pictures to compare. */
#include "evaluate_draw.h"

#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "core/memory.h"
#include "drawing.h"
#include "processes.h"
#include "progress.h"
#include "shared_set.h"

struct round {
    struct ddpm_evaluate_drawing *drawing;
    struct ddpm_side *side;
    struct ddpm_shared_set shared;
    struct ddpm_progress progress; /* evaluations of the network per picture */
    int64_t count;                 /* pictures being drawn, by all processes */
    size_t bytes;                  /* of a picture */
};

static int after_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct round *round = user;
    const double pictures = (double)round->shared.done + (double)round->count *
                                                             (double)progress->evaluations /
                                                             (double)progress->evaluations_total;
    if (ddpm_processes_lead())
        ddpm_progress_bar(
            &round->progress, "sampling",
            (int64_t)(pictures * (double)ddpm_sampler_evaluations(round->drawing->sampler)));
    ddpm_ranks_still_here(ddpm_processes_ranks());
    return ddpm_caught_signal() != 0;
}

/* The model's configuration, changed by the command line. */
static ddpm_status settle(struct ddpm_evaluate_drawing *drawing, const struct ddpm_network *network)
{
    int64_t evaluations;
    ddpm_config_destroy(&drawing->config);
    DDPM_TRY(ddpm_config_copy(ddpm_network_config(network), &drawing->config));
    DDPM_TRY(ddpm_arguments_apply(drawing->arguments, NULL, drawing->config));
    DDPM_TRY(ddpm_config_check(drawing->config));
    return ddpm_drawing_check(drawing->arguments, drawing->config, &evaluations);
}

static struct ddpm_sampler_options options_of(const struct ddpm_evaluate_drawing *drawing)
{
    struct ddpm_sampler_options options = ddpm_drawing_options(drawing->config);
    options.batch = drawing->batch;
    options.pictures = drawing->count;
    options.weights = drawing->model.which;
    return options;
}

static ddpm_status look(void *user, struct ddpm_network *network)
{
    struct ddpm_evaluate_drawing *drawing = user;
    struct ddpm_memory_plan plan;
    DDPM_TRY(settle(drawing, network));
    const struct ddpm_config *config = drawing->config;
    struct ddpm_sampler_options options = options_of(drawing);
    options.batch = drawing->batch ? drawing->batch : 1;
    DDPM_TRY(ddpm_sampler_measure(network, &options, &plan));
    const uint64_t pictures = (uint64_t)(drawing->count * config->diffusion.image_height *
                                         config->diffusion.image_width * config->network.channels);
    return ddpm_check_room(network, &plan, pictures);
}

/* The seed of the command line, not the one of training. */
static ddpm_status find_seed(struct ddpm_evaluate_drawing *drawing)
{
    struct ddpm_probe probe;
    DDPM_TRY(ddpm_arguments_probe(drawing->arguments, &probe));
    drawing->seed = probe.seed;
    return DDPM_OK;
}

ddpm_status ddpm_evaluate_open(struct ddpm_evaluate_drawing *drawing, const char *path,
                               struct ddpm_side_shape *shape)
{
    DDPM_TRY(find_seed(drawing));
    DDPM_TRY(ddpm_open_model(drawing->arguments, path, look, drawing, &drawing->model));
    if (!drawing->config)
        DDPM_TRY(settle(drawing, drawing->model.network));
    const struct ddpm_sampler_options options = options_of(drawing);
    DDPM_TRY(ddpm_sampler_create(drawing->model.network, &options, &drawing->sampler));
    shape->height = (int)drawing->config->diffusion.image_height;
    shape->width = (int)drawing->config->diffusion.image_width;
    shape->channels = (int)drawing->config->network.channels;
    return DDPM_OK;
}

/* Draw this process's pictures of a round, and compute their features. */
static ddpm_status draw_turn(struct round *round, int64_t offset, int64_t count)
{
    uint8_t *pictures = ddpm_shared_set_beside(&round->shared);
    const size_t bytes = (size_t)count * round->bytes;
    const struct ddpm_draw draw = {
        .size = sizeof draw,
        .count = count,
        .first = offset,
        .seed = round->drawing->seed,
        .callback = after_step,
        .user = round,
    };
    DDPM_TRY(ddpm_check_signal());
    if (count == 0) /* another process draws the last ones */
        return DDPM_OK;
    const ddpm_status status = ddpm_sampler_draw(round->drawing->sampler, &draw, pictures, bytes);
    DDPM_TRY(ddpm_check_signal());
    DDPM_TRY(status);
    return ddpm_picture_set_add(round->shared.own, pictures, count, bytes);
}

static void keep_pictures(void *user, int64_t place, int64_t count, const void *pictures)
{
    struct round *round = user;
    memcpy(round->side->drawn + (size_t)place * round->bytes, pictures,
           (size_t)count * round->bytes);
}

static ddpm_status draw_rounds(struct round *round)
{
    struct ddpm_shared_set *shared = &round->shared;
    int64_t offset, count;
    ddpm_progress_start(&round->progress, 0,
                        shared->total * ddpm_sampler_evaluations(round->drawing->sampler));
    while (shared->done < shared->total) {
        const int64_t left = shared->total - shared->done;
        const int64_t all = shared->chunk * ddpm_processes_count();
        round->count = left < all ? left : all;
        ddpm_shared_set_turn(shared, &offset, &count);
        DDPM_TRY(
            ddpm_shared_set_add(shared, draw_turn(round, offset, count), keep_pictures, round));
    }
    return DDPM_OK;
}

static ddpm_status prepare(struct round *round, const struct ddpm_picture_set_options *options)
{
    const struct ddpm_evaluate_drawing *drawing = round->drawing;
    struct ddpm_side *side = round->side;
    round->bytes = ddpm_sampler_picture_bytes(drawing->sampler);
    round->shared.total = drawing->count;
    round->shared.chunk = ddpm_sampler_in_force(drawing->sampler)->batch;
    round->shared.beside = round->bytes;
    DDPM_TRY(ddpm_picture_set_create(options, &side->set));
    round->shared.whole = side->set;
    if (!ddpm_processes_lead())
        return DDPM_OK;
    return ddpm_new_array((void **)&side->drawn, (size_t)drawing->count, round->bytes, "pictures");
}

ddpm_status ddpm_evaluate_draw(struct ddpm_evaluate_drawing *drawing, struct ddpm_side *side,
                               const char *features)
{
    const struct ddpm_picture_set_options options = {
        .size = sizeof options,
        .features = features,
        .height = side->shape.height,
        .width = side->shape.width,
        .channels = side->shape.channels,
        .threads = side->shape.threads,
        .network = side->network,
    };
    struct round round = {.drawing = drawing, .side = side};
    ddpm_status status = ddpm_shared_set_begin(&round.shared, prepare(&round, &options), &options,
                                               "pictures to draw");
    if (status == DDPM_OK && ddpm_processes_lead())
        ddpm_progress_remark("%s: drawing %" PRId64 " pictures of %dx%d with %s, on %s", side->path,
                             drawing->count, side->shape.height, side->shape.width,
                             ddpm_sampler_description(drawing->sampler),
                             ddpm_network_device(drawing->model.network));
    if (status == DDPM_OK)
        status = draw_rounds(&round);
    ddpm_progress_clear();
    ddpm_shared_set_clear(&round.shared);
    ddpm_sampler_destroy(&drawing->sampler);
    ddpm_close_model(&drawing->model);
    return status;
}

void ddpm_evaluate_close(struct ddpm_evaluate_drawing *drawing)
{
    ddpm_sampler_destroy(&drawing->sampler);
    ddpm_close_model(&drawing->model);
    ddpm_config_destroy(&drawing->config);
}
