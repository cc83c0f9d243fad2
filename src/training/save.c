/* Checkpoints of a trainer: copying the state from the device into a checkpoint, and back.
 *
 * If tensors are in host memory, the slabs are written directly, without a copy. Otherwise they are
 * copied out and written by a thread while training continues. If the device takes snapshots
 * (kernels/backend.h), the copying also overlaps the next steps; training waits for it only if
 * there is no room on the device or no pinned memory. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "core/threads.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

void ddpm_player_slabs(const struct ddpm_player *player, void *out[DDPM_MAX_STATE_SLABS])
{
    const struct ddpm_weight_set *set = &player->network->weights;
    out[DDPM_SLAB_WEIGHTS] = set->slabs[0];
    out[DDPM_SLAB_EMA] = set->slabs[1];
    out[DDPM_SLAB_M] = player->optimizer.m;
    out[DDPM_SLAB_V] = player->optimizer.v;
    out[DDPM_SLAB_SECOND_EMA] = player->optimizer.second_ema;
}

/* The same for the whole state, if it is divided among ranks. */
static void whole_slabs(const struct ddpm_trainer *trainer, int p, void *out[DDPM_MAX_STATE_SLABS])
{
    ddpm_player_slabs(&trainer->players[p], out);
    for (int i = DDPM_SLAB_EMA; i < DDPM_MAX_STATE_SLABS && ddpm_trainer_is_divided(trainer); ++i)
        out[i] = trainer->shard.full[i];
}

static int slab_count(const struct ddpm_trainer *trainer)
{
    return ddpm_state_slabs(&trainer->config.training);
}

static size_t slab_bytes(const struct ddpm_player *player)
{
    return ddpm_weight_set_bytes(&player->network->weights);
}

static struct ddpm_run_state describe(const struct ddpm_trainer *trainer)
{
    struct ddpm_run_state run_state = {
        .player_count = trainer->player_count,
        .config = &trainer->config,
        .has_data = trainer->data != NULL,
        .data_fingerprint = trainer->data ? ddpm_source_fingerprint(trainer->data->source) : 0,
        .validation = trainer->data && trainer->data->aside ? trainer->data->aside->text : NULL,
        .step = trainer->step,
        .start = trainer->players[0].network->start,
    };
    for (int p = 0; p < trainer->player_count; ++p) {
        const struct ddpm_player *player = &trainer->players[p];
        run_state.players[p].name = player->name;
        run_state.players[p].parameters = &player->network->weights.parameters;
    }
    return run_state;
}

static void free_slabs(struct ddpm_run_state *run_state)
{
    for (int p = 0; p < run_state->player_count; ++p)
        for (int i = 0; i < DDPM_MAX_STATE_SLABS; ++i) {
            ddpm_free_aligned(run_state->players[p].slabs[i]);
            run_state->players[p].slabs[i] = NULL;
        }
}

static ddpm_status allocate_slabs(const struct ddpm_trainer *trainer,
                                  struct ddpm_run_state *run_state)
{
    ddpm_status status = DDPM_OK;
    for (int p = 0; p < trainer->player_count; ++p)
        for (int i = 0; i < slab_count(trainer) && status == DDPM_OK; ++i)
            status = ddpm_new_aligned((void **)&run_state->players[p].slabs[i],
                                      slab_bytes(&trainer->players[p]), "a checkpoint");
    if (status != DDPM_OK)
        free_slabs(run_state);
    return status;
}

static void *write_run_state(void *argument)
{
    struct ddpm_saver *saver = argument;
    struct ddpm_device *device = saver->device;
    saver->status = saver->arriving ? device->backend->snapshot_end(device) : DDPM_OK;
    if (saver->status == DDPM_OK)
        saver->status = ddpm_checkpoint_write(&saver->run_state, saver->run);
    snprintf(saver->message, sizeof saver->message, "%s", ddpm_error_message());
    return NULL;
}

/* Host memory for the saver's slabs: pinned and kept for the next checkpoint, if the device takes
 * snapshots; otherwise, or if that fails, ordinary memory. */
static ddpm_status provide_slabs(struct ddpm_trainer *trainer)
{
    struct ddpm_saver *saver = &trainer->saver;
    const struct ddpm_backend *backend = saver->device->backend;
    size_t bytes = 0;
    for (int p = 0; p < trainer->player_count; ++p)
        bytes += (size_t)slab_count(trainer) * slab_bytes(&trainer->players[p]);
    if (backend->snapshot_begin && !saver->pinned &&
        backend->allocate_host(saver->device, bytes, &saver->pinned) != DDPM_OK)
        ddpm_log(DDPM_LOG_INFO, "training waits while a checkpoint is copied out: %s",
                 ddpm_error_message());
    if (!saver->pinned)
        return allocate_slabs(trainer, &saver->run_state);
    char *next = saver->pinned;
    for (int p = 0; p < trainer->player_count; ++p)
        for (int i = 0; i < slab_count(trainer); ++i, next += slab_bytes(&trainer->players[p]))
            saver->run_state.players[p].slabs[i] = (float *)next;
    return DDPM_OK;
}

static void release_slabs(struct ddpm_saver *saver)
{
    if (!saver->pinned)
        free_slabs(&saver->run_state);
}

/* Copy one player's slabs out and wait. */
static ddpm_status download_slabs(struct ddpm_trainer *trainer, int p)
{
    struct ddpm_device *device = trainer->device;
    void *from[DDPM_MAX_STATE_SLABS];
    ddpm_player_slabs(&trainer->players[p], from);
    for (int i = 0; i < slab_count(trainer); ++i)
        DDPM_TRY(device->backend->download(device, trainer->saver.run_state.players[p].slabs[i],
                                           from[i], slab_bytes(&trainer->players[p])));
    return DDPM_OK;
}

/* Copy the slabs out, or start to: those of one player may still be in transit on return. */
static ddpm_status copy_out(struct ddpm_trainer *trainer)
{
    struct ddpm_saver *saver = &trainer->saver;
    struct ddpm_device *device = saver->device;
    void *from[DDPM_MAX_STATE_SLABS], *to[DDPM_MAX_STATE_SLABS];
    saver->arriving = false;
    for (int p = 1; p < trainer->player_count; ++p)
        DDPM_TRY(download_slabs(trainer, p));
    if (!saver->pinned)
        return download_slabs(trainer, 0);
    ddpm_player_slabs(&trainer->players[0], from);
    for (int i = 0; i < slab_count(trainer); ++i)
        to[i] = saver->run_state.players[0].slabs[i];
    ddpm_status status = device->backend->snapshot_begin(device, to, from, slab_count(trainer),
                                                         slab_bytes(&trainer->players[0]));
    saver->arriving = status == DDPM_OK;
    if (status != DDPM_ERROR_MEMORY)
        return status;
    ddpm_log(DDPM_LOG_INFO, "training waits while a checkpoint is copied out: %s",
             ddpm_error_message());
    return download_slabs(trainer, 0);
}

/* Copy the state out and start the thread that writes it. */
static ddpm_status write_in_background(struct ddpm_trainer *trainer, const char *run, bool best)
{
    struct ddpm_saver *saver = &trainer->saver;
    saver->device = trainer->device;
    saver->run_state = describe(trainer);
    saver->run_state.best = best;
    if (snprintf(saver->run, sizeof saver->run, "%s", run) >= (int)sizeof saver->run)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the path of the run is too long: %s", run);
    DDPM_TRY(provide_slabs(trainer));
    ddpm_status status = copy_out(trainer);
    int error = 0;
    if (status == DDPM_OK)
        error = ddpm_thread_start(&saver->thread, write_run_state, saver);
    saver->running = status == DDPM_OK && error == 0;
    if (error != 0) {
        ddpm_log(DDPM_LOG_WARNING, "training waits while a checkpoint is written: %s",
                 ddpm_thread_words(error));
        write_run_state(saver);
    }
    if (!saver->running)
        release_slabs(saver);
    return status;
}

/* Let `run_state` refer to the state itself, which is in host memory. */
static void borrow_slabs(const struct ddpm_trainer *trainer, struct ddpm_run_state *run_state)
{
    for (int p = 0; p < trainer->player_count; ++p) {
        void *slabs[DDPM_MAX_STATE_SLABS];
        whole_slabs(trainer, p, slabs);
        for (int i = 0; i < slab_count(trainer); ++i)
            run_state->players[p].slabs[i] = slabs[i];
    }
}

static ddpm_status save_begin(struct ddpm_trainer *trainer, const char *run, bool best)
{
    if (!*run) /* that would be the root's folder "checkpoints" */
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a checkpoint: got an empty path, want the run's");
    DDPM_TRY(ddpm_trainer_refuse_broken(trainer));
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a checkpoint is written"));
    DDPM_TRY(ddpm_shard_check(trainer));
    DDPM_TRY(ddpm_trainer_save_end(trainer));
    ddpm_trainer_fit_start(trainer);
    if (!trainer->device->backend->host_memory)
        return write_in_background(trainer, run, best);
    struct ddpm_run_state run_state = describe(trainer);
    run_state.best = best;
    borrow_slabs(trainer, &run_state);
    return ddpm_checkpoint_write(&run_state, run);
}

ddpm_status ddpm_trainer_save_begin(struct ddpm_trainer *trainer, const char *run)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(run);
    return save_begin(trainer, run, false);
}

ddpm_status ddpm_trainer_save_best_begin(struct ddpm_trainer *trainer, const char *run)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(run);
    return save_begin(trainer, run, true);
}

ddpm_status ddpm_trainer_save_end(struct ddpm_trainer *trainer)
{
    DDPM_REQUIRE(trainer);
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
    (void)ddpm_trainer_save_end(trainer); /* anyone who needed it has asked by now */
    if (saver->pinned)
        saver->device->backend->release_host(saver->device, saver->pinned);
    saver->pinned = NULL;
}

ddpm_status ddpm_trainer_save(struct ddpm_trainer *trainer, const char *run)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(run);
    DDPM_TRY(ddpm_trainer_save_begin(trainer, run));
    return ddpm_trainer_save_end(trainer);
}

static ddpm_status upload_slabs(struct ddpm_trainer *trainer,
                                const struct ddpm_run_state *run_state)
{
    struct ddpm_device *device = trainer->device;
    for (int p = 0; p < trainer->player_count; ++p) {
        struct ddpm_player *player = &trainer->players[p];
        void *to[DDPM_MAX_STATE_SLABS];
        whole_slabs(trainer, p, to);
        for (int i = 0; i < slab_count(trainer); ++i)
            DDPM_TRY(device->backend->upload(device, to[i], run_state->players[p].slabs[i],
                                             slab_bytes(player)));
    }
    return device->backend->synchronize(device);
}

/* Read a checkpoint into the state: straight into it if it is in host memory, so that resuming
 * takes no more memory than training. */
static ddpm_status read_state(struct ddpm_trainer *trainer, const char *folder,
                              struct ddpm_run_state *run_state)
{
    const bool borrows = trainer->device->backend->host_memory;
    if (borrows)
        borrow_slabs(trainer, run_state);
    else
        DDPM_TRY(allocate_slabs(trainer, run_state));
    ddpm_status status = ddpm_checkpoint_read(folder, run_state);
    if (!borrows && status == DDPM_OK)
        status = upload_slabs(trainer, run_state);
    if (!borrows)
        free_slabs(run_state);
    for (int p = 0; p < trainer->player_count; ++p) /* after a failure too: part may be read */
        ddpm_weight_set_changed(&trainer->players[p].network->weights);
    return status;
}

ddpm_status ddpm_trainer_resume(struct ddpm_trainer *trainer, const char *path)
{
    char folder[PATH_MAX];
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(path);
    struct ddpm_run_state run_state = describe(trainer);
    if (trainer->prefetch)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "cannot resume: this trainer has already done a step");
    trainer->broken = true;
    DDPM_TRY(ddpm_checkpoint_find(path, folder, sizeof folder));
    DDPM_TRY(read_state(trainer, folder, &run_state));
    DDPM_TRY(ddpm_trainer_read_start(trainer, folder));
    trainer->step = run_state.step;
    trainer->broken = false;
    return DDPM_OK;
}
