/* Drawing the pictures to compare. */
#include "evaluate_draw.h"

#include <inttypes.h>

#include "config/config.h"
#include "core/memory.h"
#include "drawing.h"
#include "progress.h"

struct chunk {
    struct ddpm_evaluate_drawing *drawing;
    struct ddpm_progress progress; /* evaluations of the network per picture */
    int64_t done, count;           /* pictures drawn so far, and being drawn */
};

static int after_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct chunk *chunk = user;
    const double pictures = (double)chunk->done + (double)chunk->count *
                                                      (double)progress->evaluations /
                                                      (double)progress->evaluations_total;
    ddpm_progress_bar(
        &chunk->progress, "sampling",
        (int64_t)(pictures * (double)ddpm_sampler_evaluations(chunk->drawing->sampler)));
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
    struct ddpm_config *probe;
    DDPM_TRY(ddpm_config_create(&probe));
    ddpm_status status = ddpm_arguments_apply(drawing->arguments, NULL, probe);
    drawing->seed = probe->training.seed;
    ddpm_config_destroy(&probe);
    return status;
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

static ddpm_status draw_chunks(struct ddpm_evaluate_drawing *drawing, struct ddpm_side *side)
{
    struct chunk chunk = {.drawing = drawing};
    const size_t bytes = ddpm_sampler_picture_bytes(drawing->sampler);
    const int64_t batch = ddpm_sampler_in_force(drawing->sampler)->batch;
    DDPM_TRY(ddpm_new_array((void **)&side->drawn, (size_t)drawing->count, bytes, "pictures"));
    ddpm_progress_start(&chunk.progress, 0,
                        drawing->count * ddpm_sampler_evaluations(drawing->sampler));
    for (; chunk.done < drawing->count; chunk.done += chunk.count) {
        const int64_t left = drawing->count - chunk.done;
        chunk.count = left < batch ? left : batch;
        uint8_t *pictures = side->drawn + (size_t)chunk.done * bytes;
        const struct ddpm_draw draw = {
            .size = sizeof draw,
            .count = chunk.count,
            .first = chunk.done,
            .seed = drawing->seed,
            .callback = after_step,
            .user = &chunk,
        };
        DDPM_TRY(ddpm_check_signal());
        ddpm_status status =
            ddpm_sampler_draw(drawing->sampler, &draw, pictures, (size_t)chunk.count * bytes);
        DDPM_TRY(ddpm_check_signal());
        DDPM_TRY(status);
        DDPM_TRY(
            ddpm_picture_set_add(side->set, pictures, chunk.count, (size_t)chunk.count * bytes));
    }
    return DDPM_OK;
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
    DDPM_TRY(ddpm_picture_set_create(&options, &side->set));
    ddpm_progress_remark("%s: drawing %" PRId64 " pictures of %dx%d by %s, on %s", side->path,
                         drawing->count, side->shape.height, side->shape.width,
                         ddpm_sampler_description(drawing->sampler),
                         ddpm_network_device(drawing->model.network));
    ddpm_status status = draw_chunks(drawing, side);
    ddpm_progress_clear();
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
