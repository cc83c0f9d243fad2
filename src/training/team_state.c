/* The same state on all ranks: given at the start, compared later. */
#include <inttypes.h>
#include <stdio.h>

#include "core/memory.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

enum { SLABS = 5 };

static size_t slab_bytes(const struct ddpm_trainer *trainer)
{
    return ddpm_weight_set_bytes(&trainer->players[0].network->weights);
}

static ddpm_status share_slab(struct ddpm_trainer *trainer, void *slab, void *host)
{
    struct ddpm_device *device = trainer->device;
    const size_t bytes = slab_bytes(trainer);
    DDPM_TRY(device->backend->download(device, host, slab, bytes));
    DDPM_TRY(ddpm_ranks_broadcast(trainer->team.ranks, 0, host, bytes));
    return device->backend->upload(device, slab, host, bytes);
}

ddpm_status ddpm_trainer_share_state(struct ddpm_trainer *trainer)
{
    struct ddpm_player *player = &trainer->players[0];
    struct ddpm_weight_set *set = &player->network->weights;
    void *const slabs[SLABS] = {set->slabs[0], set->slabs[1], player->optimizer.m,
                                player->optimizer.v, player->optimizer.second_ema};
    void *host;
    if (!trainer->team.ranks)
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_agree(trainer->team.ranks,
                              ddpm_new_aligned(&host, slab_bytes(trainer), "weights of rank 0"),
                              NULL));
    ddpm_status status =
        ddpm_ranks_broadcast(trainer->team.ranks, 0, &trainer->step, sizeof trainer->step);
    for (int i = 0; i < SLABS && status == DDPM_OK; ++i)
        if (slabs[i]) /* there may be no second EMA */
            status = share_slab(trainer, slabs[i], host);
    ddpm_weight_set_changed(set);
    ddpm_free_aligned(host);
    return status;
}

ddpm_status ddpm_trainer_compare_state(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->device;
    const size_t bytes = slab_bytes(trainer);
    uint64_t hash = 14695981039346656037u; /* FNV-1a, a word at a time */
    uint32_t *host = NULL;
    char line[80];
    if (!trainer->team.ranks)
        return DDPM_OK;
    ddpm_status status = ddpm_new_aligned((void **)&host, bytes, "weights to compare");
    if (status == DDPM_OK)
        status = device->backend->download(device, host,
                                           trainer->players[0].network->weights.slabs[0], bytes);
    for (size_t i = 0; i < bytes / sizeof *host && status == DDPM_OK; ++i)
        hash = (hash ^ host[i]) * 1099511628211u;
    ddpm_free_aligned(host);
    DDPM_TRY(ddpm_ranks_agree(trainer->team.ranks, status, NULL));
    snprintf(line, sizeof line, "weights of step %" PRId64 ": %016" PRIx64 "\n", trainer->step,
             hash);
    return ddpm_ranks_compare(trainer->team.ranks, line);
}
