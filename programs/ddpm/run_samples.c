/* The sample grids that a run draws with its EMA weights while it trains. */
#include "run_samples.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/memory.h"
#include "drawing.h"
#include "formats/file.h"
#include "formats/png_write.h"
#include "metadata.h"
#include "model/model.h"
#include "processes.h"

ddpm_status ddpm_run_samples_plan(struct ddpm_run_samples *samples, const char *run,
                                  const struct ddpm_config *config)
{
    *samples = (struct ddpm_run_samples){.run = run, .config = config};
    samples->options = ddpm_drawing_options(config);
    samples->options.pictures = config->training.num_samples;
    samples->options.weights = DDPM_WEIGHTS_EMA;
    if (config->diffusion.drawing_level <= 0) /* the first grid comes before anything is fitted */
        samples->options.start = "noise";
    samples->grid = (struct ddpm_grid_shape){
        (int)config->training.num_samples, (int)config->diffusion.image_height,
        (int)config->diffusion.image_width, (int)config->network.channels,
        (int)config->training.scale};
    return config->training.sample_every > 0 ? ddpm_grid_check(&samples->grid) : DDPM_OK;
}

bool ddpm_run_samples_wanted(const struct ddpm_run_samples *samples)
{
    return samples->config->training.sample_every > 0 &&
           samples->grid.channels <= DDPM_PNG_MOST_CHANNELS;
}

void ddpm_run_samples_describe(const struct ddpm_run_samples *samples)
{
    if (samples->grid.channels > DDPM_PNG_MOST_CHANNELS && samples->config->training.sample_every)
        ddpm_progress_remark("samples   none: PNG has at most %d channels; ddpm sample --array "
                             "FILE.npy draws all %d",
                             DDPM_PNG_MOST_CHANNELS, samples->grid.channels);
}

/* Memory for a grid and its pictures, if they share the memory that training computes in. */
static uint64_t grid_bytes(const struct ddpm_run_samples *samples)
{
    const struct ddpm_grid_shape *grid = &samples->grid;
    if (!samples->network->device->backend->host_memory)
        return 0;
    return 2 * (uint64_t)grid->count * (uint64_t)grid->height * (uint64_t)grid->width *
           (uint64_t)grid->channels;
}

/* Find out before the first step whether both fit. If not all pictures of a grid fit at once,
 * they are drawn in smaller batches, see ddpm_sampler_create(). */
ddpm_status ddpm_run_samples_measure(struct ddpm_run_samples *samples, uint64_t training)
{
    struct ddpm_memory_plan memory;
    struct ddpm_sampler_options options = samples->options;
    if (!ddpm_run_samples_wanted(samples))
        return DDPM_OK;
    for (options.batch = 0; options.batch <= 1; ++options.batch) { /* the usual number; one */
        DDPM_TRY(ddpm_sampler_measure(samples->network, &options, &memory));
        samples->bytes = memory.activations + memory.packed + memory.host + grid_bytes(samples);
        if (!memory.available || training + samples->bytes <= memory.available)
            return DDPM_OK;
    }
    return ddpm_raise(DDPM_ERROR_MEMORY,
                      "not enough memory to start: drawing samples while training takes %.2f "
                      "GB more, %.2f GB are free; --sample-every 0 draws none",
                      (double)samples->bytes / 1e9,
                      ((double)memory.available - (double)training) / 1e9);
}

static int after_step(void *user, const struct ddpm_sample_progress *progress)
{
    struct ddpm_run_samples *samples = user;
    samples->progress.total = progress->evaluations_total;
    ddpm_progress_bar(&samples->progress, "sampling", progress->evaluations);
    ddpm_ranks_still_here(ddpm_processes_ranks());
    return ddpm_caught_signal();
}

static ddpm_status write_grid(const struct ddpm_run_samples *samples, int64_t step,
                              const struct ddpm_sampler *sampler, const uint8_t *pictures,
                              const char *path)
{
    const struct ddpm_opened_model model = {
        .network = samples->network, .which = samples->options.weights, .step = step};
    struct ddpm_metadata metadata;
    ddpm_status status = ddpm_metadata_fill(&metadata, &model, samples->run, sampler,
                                            samples->config->training.seed, NULL);
    ddpm_metadata_set_picture(&metadata, 0, samples->grid.count);
    if (status == DDPM_OK)
        status = ddpm_grid_write(path, &samples->grid, pictures, &metadata);
    ddpm_metadata_clear(&metadata);
    return status;
}

static ddpm_status draw_grid(struct ddpm_run_samples *samples, int64_t step, const char *path)
{
    const struct ddpm_draw draw = {.size = sizeof draw,
                                   .count = samples->options.pictures,
                                   .seed = samples->config->training.seed,
                                   .callback = after_step,
                                   .user = samples};
    struct ddpm_sampler *sampler;
    uint8_t *pictures = NULL;
    ddpm_progress_clear();
    ddpm_progress_start(&samples->progress, 0, 0);
    DDPM_TRY(ddpm_sampler_create(samples->network, &samples->options, &sampler));
    const size_t bytes = (size_t)draw.count * ddpm_sampler_picture_bytes(sampler);
    ddpm_status status = ddpm_new_array((void **)&pictures, bytes, 1, "samples");
    if (status == DDPM_OK)
        status = ddpm_sampler_draw(sampler, &draw, pictures, bytes);
    if (status == DDPM_OK)
        status = write_grid(samples, step, sampler, pictures, path);
    free(pictures);
    ddpm_sampler_destroy(&sampler);
    return status;
}

ddpm_status ddpm_run_samples_draw(struct ddpm_run_samples *samples, int64_t step, bool *drawn)
{
    char *path;
    *drawn = false;
    DDPM_TRY(ddpm_format(&path, "%s/samples/step-%06" PRId64 ".png", samples->run, step));
    *drawn = !ddpm_path_exists(path);
    ddpm_status status = *drawn ? draw_grid(samples, step, path) : DDPM_OK;
    free(path);
    return status;
}
