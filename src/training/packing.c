/* Packing the weights of a step together with the other ranks of this machine. */
#include "training/packing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/arguments.h"
#include "core/hash.h"
#include "core/memory.h"
#include "ranks/memory.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

void ddpm_packing_plan(struct ddpm_trainer *trainer)
{
    size_t bytes;
    trainer->packing = (struct ddpm_packing){
        .shared = trainer->device->backend->host_memory &&
                  ddpm_ranks_shared_memory(trainer->team.ranks, &bytes) != NULL,
        .part = ddpm_ranks_neighbour(trainer->team.ranks),
        .parts = ddpm_ranks_neighbours(trainer->team.ranks),
    };
}

size_t ddpm_packing_bytes(const struct ddpm_trainer *trainer)
{
    const size_t bytes = trainer->graph->packed_bytes;
    return trainer->packing.shared ? bytes / (size_t)trainer->packing.parts : bytes;
}

size_t ddpm_packing_bytes_needed(const struct ddpm_trainer *trainer)
{
    size_t bytes;
    const bool there = ddpm_ranks_shared_memory(trainer->team.ranks, &bytes) != NULL;
    return trainer->packing.shared && there ? 0 : ddpm_packing_bytes(trainer);
}

ddpm_status ddpm_packing_begin(struct ddpm_trainer *trainer)
{
    struct ddpm_packing *packing = &trainer->packing;
    struct ddpm_graph *g = trainer->graph;
    size_t bytes;
    void *memory = ddpm_ranks_shared_memory(trainer->team.ranks, &bytes);
    if (!packing->shared)
        return DDPM_OK;
    if (bytes < g->packed_bytes)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "packed weights: got %zu bytes of shared memory, want %zu", bytes,
                          g->packed_bytes);
    free(packing->part_of);
    DDPM_TRY(ddpm_new_array((void **)&packing->part_of, g->node_count, sizeof *packing->part_of,
                            "who packs which weights"));
    ddpm_graph_divide_packing(g, packing->parts, packing->part_of);
    ddpm_graph_lend_packed(g, memory);
    return DDPM_OK;
}

void ddpm_packing_release(struct ddpm_trainer *trainer)
{
    free(trainer->packing.part_of);
    trainer->packing = (struct ddpm_packing){0};
}

ddpm_status ddpm_packing_pack(struct ddpm_trainer *trainer, ddpm_status status)
{
    const struct ddpm_packing *packing = &trainer->packing;
    struct ddpm_ranks *ranks = trainer->team.ranks;
    if (!packing->shared || ddpm_ranks_lost(ranks))
        return status;
    if (status == DDPM_OK)
        status = ddpm_graph_pack_some(trainer->graph, packing->part_of, packing->part);
    /* After a failure, the neighbours finish their passes with the last step's weights, and learn
     * of it at the end of the step. */
    const ddpm_status met = ddpm_ranks_meet_neighbours(ranks);
    return met == DDPM_OK ? status : met;
}

/* The kernels that pack weights, and how much they pack. */
static uint64_t hash_packed(const struct ddpm_graph *graph, uint64_t hash)
{
    for (size_t i = 0; i < graph->node_count; ++i) {
        const struct ddpm_call *call = &graph->calls[i];
        if (!call->packed_bytes)
            continue;
        hash = ddpm_fnv64(hash, call->kernel->name, strlen(call->kernel->name));
        hash = ddpm_fnv64(hash, &call->packed_bytes, sizeof call->packed_bytes);
    }
    return hash;
}

/* Could this rank share its packed weights? If so, *bytes is their size, and *hash tells which
 * weights they are. */
static ddpm_status plan_sharing(struct ddpm_trainer *trainer, uint64_t beside, size_t *bytes,
                                uint64_t *hash)
{
    uint64_t need;
    if (!trainer->device->backend->host_memory)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "the device has its own memory");
    if (trainer->config.run.low_memory)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "with memory low, each layer packs its own");
    trainer->packing.shared = true;
    trainer->divides_memory = true;
    DDPM_TRY(ddpm_trainer_lay_out_step(trainer, beside, &need));
    *bytes = trainer->graph->packed_bytes;
    *hash = hash_packed(trainer->graph, DDPM_FNV64_START);
    if (*bytes == 0)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "no kernel packs weights");
    DDPM_TRY(ddpm_trainer_lay_out_patches(trainer));
    *hash = hash_packed(trainer->graph, *hash);
    if (trainer->graph->packed_bytes > *bytes)
        *bytes = trainer->graph->packed_bytes;
    if (!ddpm_trainer_has_room(trainer, need, beside))
        return ddpm_raise(DDPM_ERROR_MEMORY, "there is no room for %.1f MB more",
                          (double)*bytes / 1e6);
    return DDPM_OK;
}

static ddpm_status share(struct ddpm_ranks *ranks, struct ddpm_network *network,
                         const struct ddpm_config *config, uint64_t beside, size_t *bytes)
{
    struct ddpm_trainer trainer = {0};
    uint64_t hash = 0;
    char line[96];
    if (!ddpm_ranks_have_neighbours(ranks))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "no two ranks can share memory");
    ddpm_status status = ddpm_trainer_describe(&trainer, network, config, ranks);
    if (status == DDPM_OK)
        status = plan_sharing(&trainer, beside, bytes, &hash);
    ddpm_trainer_forget(&trainer);
    DDPM_TRY(ddpm_ranks_agree(ranks, status, NULL));
    snprintf(line, sizeof line, "packed weights: %zu bytes, %016" PRIx64 "\n", *bytes, hash);
    DDPM_TRY(ddpm_ranks_compare(ranks, line));
    return ddpm_ranks_share_memory(ranks, *bytes);
}

ddpm_status ddpm_trainer_share_packed(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                      const struct ddpm_config *config, uint64_t beside)
{
    size_t bytes = 0;
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(config);
    if (!ranks || config->run.share_weights == DDPM_SHARE_WEIGHTS_OFF)
        return DDPM_OK;
    const ddpm_status status = share(ranks, network, config, beside, &bytes);
    if (ddpm_ranks_lost(ranks))
        return status;
    if (status == DDPM_OK)
        ddpm_log(DDPM_LOG_INFO, "packed weights: %.1f MB, one copy for the %d ranks of a machine",
                 (double)bytes / 1e6, ddpm_ranks_neighbours(ranks));
    else if (network->device->backend->host_memory)
        ddpm_log(DDPM_LOG_INFO, "packed weights are not shared: %s", ddpm_error_message());
    return DDPM_OK;
}
