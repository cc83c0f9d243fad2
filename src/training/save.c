/* A trainer's checkpoints: the state out of the device and into a checkpoint, and back.
 *
 * Where tensors lie in host memory the slabs are written as they stand, without a copy. Elsewhere
 * they are copied out and written by a thread while training goes on. With a device that takes
 * snapshots (kernels/backend.h) the copying, too, goes on beside the next steps; training waits for
 * it where there is no room on the device or no pinned memory. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "training/trainer_state.h"

static void device_slabs(const struct ddpm_trainer *trainer, void *out[DDPM_SLAB_COUNT])
{
    out[DDPM_SLAB_WEIGHTS] = trainer->network->slabs[DDPM_WEIGHTS_MODEL];
    out[DDPM_SLAB_EMA] = trainer->network->slabs[DDPM_WEIGHTS_EMA];
    out[DDPM_SLAB_M] = trainer->m;
    out[DDPM_SLAB_V] = trainer->v;
}

static struct ddpm_snapshot describe(const struct ddpm_trainer *trainer)
{
    return (struct ddpm_snapshot){
        .parameters = &trainer->network->parameters,
        .config = &trainer->network->config,
        .has_data = trainer->data != NULL,
        .data_fingerprint = trainer->data ? ddpm_source_fingerprint(trainer->data->source) : 0,
        .step = trainer->step,
    };
}

static void free_slabs(struct ddpm_snapshot *snapshot)
{
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i) {
        ddpm_free_aligned(snapshot->slabs[i]);
        snapshot->slabs[i] = NULL;
    }
}

static ddpm_status allocate_slabs(const struct ddpm_trainer *trainer,
                                  struct ddpm_snapshot *snapshot)
{
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    ddpm_status status = DDPM_OK;
    for (int i = 0; i < DDPM_SLAB_COUNT && status == DDPM_OK; ++i)
        status = ddpm_new_aligned((void **)&snapshot->slabs[i], bytes, "a checkpoint");
    if (status != DDPM_OK)
        free_slabs(snapshot);
    return status;
}

static void *write_snapshot(void *argument)
{
    struct ddpm_saver *saver = argument;
    struct ddpm_device *device = saver->device;
    saver->status = saver->arriving ? device->backend->snapshot_end(device) : DDPM_OK;
    if (saver->status == DDPM_OK)
        saver->status = ddpm_checkpoint_write(&saver->snapshot, saver->run);
    snprintf(saver->message, sizeof saver->message, "%s", ddpm_error_message());
    return NULL;
}

/* Host memory for the saver's slabs: pinned, kept for the next checkpoint, where the device takes
 * snapshots; else, and where that cannot be had, ordinary memory. */
static ddpm_status provide_slabs(struct ddpm_trainer *trainer)
{
    struct ddpm_saver *saver = &trainer->saver;
    const struct ddpm_backend *backend = saver->device->backend;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    if (backend->snapshot_begin && !saver->pinned &&
        backend->allocate_host(saver->device, DDPM_SLAB_COUNT * bytes, &saver->pinned) != DDPM_OK)
        ddpm_log(DDPM_LOG_INFO, "training waits while a checkpoint is copied out: %s",
                 ddpm_error_message());
    if (!saver->pinned)
        return allocate_slabs(trainer, &saver->snapshot);
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i)
        saver->snapshot.slabs[i] = (float *)((char *)saver->pinned + (size_t)i * bytes);
    return DDPM_OK;
}

static void release_slabs(struct ddpm_saver *saver)
{
    if (!saver->pinned)
        free_slabs(&saver->snapshot);
}

/* Copy the slabs out, or begin to. */
static ddpm_status copy_out(struct ddpm_trainer *trainer)
{
    struct ddpm_saver *saver = &trainer->saver;
    struct ddpm_device *device = saver->device;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    void *from[DDPM_SLAB_COUNT], *to[DDPM_SLAB_COUNT];
    device_slabs(trainer, from);
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i)
        to[i] = saver->snapshot.slabs[i];
    saver->arriving = false;
    if (saver->pinned) {
        ddpm_status status =
            device->backend->snapshot_begin(device, to, from, DDPM_SLAB_COUNT, bytes);
        saver->arriving = status == DDPM_OK;
        if (status != DDPM_ERROR_MEMORY)
            return status;
        ddpm_log(DDPM_LOG_INFO, "training waits while a checkpoint is copied out: %s",
                 ddpm_error_message());
    }
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i)
        DDPM_TRY(device->backend->download(device, to[i], from[i], bytes));
    return DDPM_OK;
}

/* Copy the state out and start the thread that writes it. */
static ddpm_status write_in_background(struct ddpm_trainer *trainer, const char *run)
{
    struct ddpm_saver *saver = &trainer->saver;
    saver->device = trainer->network->device;
    saver->snapshot = describe(trainer);
    if (snprintf(saver->run, sizeof saver->run, "%s", run) >= (int)sizeof saver->run)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the path of the run is too long: %s", run);
    DDPM_TRY(provide_slabs(trainer));
    ddpm_status status = copy_out(trainer);
    int error = 0;
    if (status == DDPM_OK)
        error = pthread_create(&saver->thread, NULL, write_snapshot, saver);
    saver->running = status == DDPM_OK && error == 0;
    if (error != 0) {
        ddpm_log(DDPM_LOG_WARNING, "training waits while a checkpoint is written: %s",
                 ddpm_thread_words(error));
        write_snapshot(saver);
    }
    if (!saver->running)
        release_slabs(saver);
    return status;
}

ddpm_status ddpm_trainer_save_begin(struct ddpm_trainer *trainer, const char *run)
{
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a checkpoint is written"));
    DDPM_TRY(ddpm_trainer_save_end(trainer));
    if (!trainer->network->device->backend->host_memory)
        return write_in_background(trainer, run);
    void *slabs[DDPM_SLAB_COUNT];
    struct ddpm_snapshot snapshot = describe(trainer);
    device_slabs(trainer, slabs);
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i)
        snapshot.slabs[i] = slabs[i];
    return ddpm_checkpoint_write(&snapshot, run);
}

ddpm_status ddpm_trainer_save_end(struct ddpm_trainer *trainer)
{
    struct ddpm_saver *saver = &trainer->saver;
    if (saver->running) {
        pthread_join(saver->thread, NULL);
        saver->running = false;
        release_slabs(saver);
    }
    ddpm_status status = saver->status;
    saver->status = DDPM_OK;
    return status == DDPM_OK ? DDPM_OK : ddpm_raise(status, "%s", saver->message);
}

void ddpm_trainer_close_saver(struct ddpm_trainer *trainer)
{
    struct ddpm_saver *saver = &trainer->saver;
    (void)ddpm_trainer_save_end(trainer); /* whoever wants to know has asked before */
    if (saver->pinned)
        saver->device->backend->release_host(saver->device, saver->pinned);
    saver->pinned = NULL;
}

ddpm_status ddpm_trainer_save(struct ddpm_trainer *trainer, const char *run)
{
    DDPM_TRY(ddpm_trainer_save_begin(trainer, run));
    return ddpm_trainer_save_end(trainer);
}

static ddpm_status upload_slabs(struct ddpm_trainer *trainer, const struct ddpm_snapshot *snapshot)
{
    struct ddpm_device *device = trainer->network->device;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    void *to[DDPM_SLAB_COUNT];
    device_slabs(trainer, to);
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i)
        DDPM_TRY(device->backend->upload(device, to[i], snapshot->slabs[i], bytes));
    ddpm_network_weights_changed(trainer->network);
    return device->backend->synchronize(device);
}

ddpm_status ddpm_trainer_resume(struct ddpm_trainer *trainer, const char *path)
{
    char folder[PATH_MAX];
    struct ddpm_snapshot snapshot = describe(trainer);
    if (trainer->prefetch)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a trainer resumes before its first step");
    DDPM_TRY(ddpm_checkpoint_find(path, folder, sizeof folder));
    DDPM_TRY(allocate_slabs(trainer, &snapshot));
    ddpm_status status = ddpm_checkpoint_read(folder, &snapshot);
    if (status == DDPM_OK)
        status = upload_slabs(trainer, &snapshot);
    free_slabs(&snapshot);
    if (status == DDPM_OK)
        trainer->step = snapshot.step;
    return status;
}
