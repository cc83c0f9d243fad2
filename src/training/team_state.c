/* The same state on all ranks: copied at the start, compared later. */
#include <inttypes.h>
#include <stdio.h>

#include "core/hash.h"
#include "core/memory.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

static size_t slab_bytes(const struct ddpm_trainer *trainer)
{
    return ddpm_weight_set_bytes(&trainer->players[0].network->weights);
}

/* A slab of the device in host memory: the slab itself if it is there, otherwise a copy in
 * `host`. */
static ddpm_status view_slab(struct ddpm_trainer *trainer, void *slab, void **host)
{
    struct ddpm_device *device = trainer->device;
    if (!device->backend->host_memory)
        return device->backend->download(device, *host, slab, slab_bytes(trainer));
    *host = slab;
    return DDPM_OK;
}

static ddpm_status allocate_view(const struct ddpm_trainer *trainer, void **host)
{
    *host = NULL;
    return trainer->device->backend->host_memory
               ? DDPM_OK
               : ddpm_new_aligned(host, slab_bytes(trainer), "weights of a rank");
}

static ddpm_status share_slab(struct ddpm_trainer *trainer, void *slab, void *host)
{
    struct ddpm_device *device = trainer->device;
    const size_t bytes = slab_bytes(trainer);
    DDPM_TRY(view_slab(trainer, slab, &host));
    DDPM_TRY(ddpm_ranks_broadcast(trainer->team.ranks, 0, host, bytes));
    return host == slab ? DDPM_OK : device->backend->upload(device, slab, host, bytes);
}

ddpm_status ddpm_trainer_share_state(struct ddpm_trainer *trainer)
{
    struct ddpm_player *player = &trainer->players[0];
    void *slabs[DDPM_MAX_STATE_SLABS], *host;
    if (!trainer->team.ranks)
        return DDPM_OK;
    ddpm_player_slabs(player, slabs);
    DDPM_TRY(ddpm_team_join_devices(trainer));
    DDPM_TRY(ddpm_ranks_agree(trainer->team.ranks, allocate_view(trainer, &host), NULL));
    ddpm_status status =
        ddpm_ranks_broadcast(trainer->team.ranks, 0, &trainer->step, sizeof trainer->step);
    const bool divided = ddpm_trainer_is_divided(trainer);
    const int whole = divided ? DDPM_SLAB_EMA : ddpm_state_slabs(&trainer->config.training);
    for (int i = 0; i < whole && status == DDPM_OK; ++i)
        status = share_slab(trainer, slabs[i], host);
    if (status == DDPM_OK)
        status = ddpm_shard_spread(trainer);
    ddpm_weight_set_changed(&player->network->weights);
    ddpm_free_aligned(host);
    return status;
}

ddpm_status ddpm_trainer_compare_state(struct ddpm_trainer *trainer)
{
    uint64_t hash = DDPM_FNV64_START;
    void *own, *host;
    char line[80];
    if (!trainer->team.ranks)
        return DDPM_OK;
    ddpm_status status = allocate_view(trainer, &own);
    host = own;
    if (status == DDPM_OK)
        status = view_slab(trainer, trainer->players[0].network->weights.slabs[0], &host);
    if (status == DDPM_OK)
        hash = ddpm_fnv64(hash, host, slab_bytes(trainer));
    ddpm_free_aligned(own);
    DDPM_TRY(ddpm_ranks_agree(trainer->team.ranks, status, NULL));
    snprintf(line, sizeof line, "weights of step %" PRId64 ": %016" PRIx64 "\n", trainer->step,
             hash);
    return ddpm_ranks_compare(trainer->team.ranks, line);
}
