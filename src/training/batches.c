/* The batches of a trainer's steps, read ahead from its data. */
#include "core/processors.h"
#include "training/trainer_state.h"

/* Pictures in memory that the device can copy quickly. */
static ddpm_status allocate_pixels(void *user, void **out, size_t bytes)
{
    struct ddpm_device *device = user;
    return device->backend->allocate_host(device, bytes, out);
}

static void release_pixels(void *user, void *buffer)
{
    struct ddpm_device *device = user;
    device->backend->release_host(device, buffer);
}

ddpm_status ddpm_trainer_start_prefetch(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->device;
    const struct ddpm_config *config = &trainer->config;
    if (trainer->prefetch)
        return DDPM_OK;
    if (!trainer->data)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "this trainer was made without a data source");
    int threads = (int)config->data.decode_threads;
    const struct ddpm_buffer_allocator pinned = {allocate_pixels, release_pixels, device};
    struct ddpm_prefetch_options options = {
        .batch_size = (int)ddpm_pictures_per_step(&config->training),
        .first = (int)trainer->team.first,
        .part = (int)(trainer->team.count * trainer->team.size),
        .depth = (int)config->data.prefetch,
        .threads = threads > 0 ? threads : ddpm_processor_count(),
        .seed = config->training.seed,
        .start_step = (uint64_t)ddpm_steps_queued(trainer),
        .shuffle = true,
        .height = (int)trainer->size.height,
        .width = (int)trainer->size.width,
        .flip = config->data.flip,
        .rotate = config->data.rotate,
        .allocator = device->backend->allocate_host ? &pinned : NULL,
    };
    return ddpm_prefetch_create(&trainer->prefetch, ddpm_data_trained_on(trainer->data), &options);
}

ddpm_status ddpm_trainer_next_batch(struct ddpm_trainer *trainer, struct ddpm_batch *batch,
                                    double *waited)
{
    const int64_t done = ddpm_steps_queued(trainer);
    const struct ddpm_size size = ddpm_size_after(&trainer->config, done);
    /* After a failed step, or steps on given values, the batches read ahead are those of other
     * steps. */
    if (trainer->next_batch != done)
        ddpm_prefetch_destroy(&trainer->prefetch);
    DDPM_TRY(ddpm_trainer_fit(trainer, size));
    DDPM_TRY(ddpm_trainer_start_prefetch(trainer));
    *waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited;
    ddpm_status status = ddpm_prefetch_next(trainer->prefetch, batch);
    if (status != DDPM_OK) {
        /* It would repeat this error for ever; the next call reads again. */
        ddpm_prefetch_destroy(&trainer->prefetch);
        return status;
    }
    trainer->next_batch = done + 1;
    *waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited - *waited;
    return DDPM_OK;
}
