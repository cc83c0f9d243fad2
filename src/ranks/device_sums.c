/* Sums of gradients in device memory. All ranks join, sum and wait at the same points, so a failure
 * is a failure of all of them. */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "ranks/state.h"

/* Joining may take this fraction of the timeout: a rank that gives up must tell the others before
 * they give up on it. */
static const double part_to_join = 0.75;

static const double patience = 0.25; /* seconds of waiting before it checks on the others */

/* One per process, like the communicator. */
static const struct ddpm_nccl *joined;

bool ddpm_ranks_sums_on_device(const struct ddpm_ranks *ranks)
{
    return ranks && ranks->nccl;
}

/* *late: the time is up, and other ranks have not arrived. */
static ddpm_status wait_to_join(const struct ddpm_nccl *nccl, double timeout, bool *late)
{
    const double end = ddpm_now() + part_to_join * timeout;
    for (bool done = false;;) {
        DDPM_TRY(nccl->join_test(&done));
        if (done)
            return DDPM_OK;
        *late = ddpm_now() > end;
        if (*late)
            return ddpm_raise(DDPM_ERROR_IO,
                              "NCCL has not joined the ranks in %g seconds (rank-timeout); "
                              "NCCL_DEBUG=INFO says more",
                              part_to_join * timeout);
        ddpm_sleep(1e-3);
    }
}

/* Join on the network's device. MPI distributes the id. */
static ddpm_status join_over_transport(struct ddpm_ranks *ranks, int index)
{
    const struct ddpm_nccl *nccl = ranks->nccl;
    unsigned char id[DDPM_NCCL_ID_BYTES] = {0};
    ddpm_status status = ranks->index == 0 ? nccl->make_id(id) : DDPM_OK;
    DDPM_TRY(ddpm_ranks_agree(ranks, status, NULL));
    DDPM_TRY(ddpm_ranks_broadcast(ranks, 0, id, sizeof id));
    status = nccl->join(id, index, ranks->index, ranks->count, ranks->timeout);
    bool late = false;
    if (status == DDPM_OK)
        status = wait_to_join(nccl, ranks->timeout, &late);
    /* A timeout is only reported if no rank knows a better reason. */
    ddpm_status agreed = ddpm_ranks_agree(ranks, late ? DDPM_OK : status, NULL);
    if (agreed == DDPM_OK)
        agreed = ddpm_ranks_agree(ranks, status, NULL);
    if (agreed != DDPM_OK)
        nccl->abort();
    return agreed;
}

ddpm_status ddpm_ranks_join_devices(struct ddpm_ranks *ranks, int index)
{
    ddpm_status status = DDPM_OK;
    joined = ranks->nccl;
    if (joined->device() < 0)
        return join_over_transport(ranks, index);
    if (joined->device() != index)
        status = ddpm_raise(DDPM_ERROR_MISMATCH,
                            "NCCL uses CUDA device %d, but the network is on device %d; want "
                            "option device cuda, or cuda:%d",
                            joined->device(), index, joined->device());
    return ddpm_ranks_agree(ranks, status, NULL);
}

static double begun; /* when this wait started */

static ddpm_status test_sums(int request, bool *done)
{
    (void)request;
    DDPM_TRY(joined->sums_test(done));
    return *done || ddpm_now() - begun < patience ? DDPM_OK : ddpm_nccl_look();
}

ddpm_status ddpm_ranks_sum_on_device(struct ddpm_ranks *ranks, void *queue, float *values,
                                     size_t count)
{
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    if (ranks->nccl->sum(queue, values, count) != DDPM_OK)
        return ddpm_ranks_lose(ranks);
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_bf16_on_device(struct ddpm_ranks *ranks, void *queue, float *values,
                                          size_t count, void *room)
{
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    if (ranks->nccl->sum_bf16(queue, values, count, room) != DDPM_OK)
        return ddpm_ranks_lose(ranks);
    return DDPM_OK;
}

size_t ddpm_ranks_room_bf16_on_device(const struct ddpm_ranks *ranks, size_t count)
{
    const int all = ddpm_ranks_count(ranks);
    return 2 * (size_t)all * ddpm_nccl_piece(count, all) * sizeof(uint16_t);
}

ddpm_status ddpm_ranks_wait_on_device(struct ddpm_ranks *ranks, void *queue)
{
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    begun = ddpm_now();
    DDPM_TRY(ddpm_ranks_wait_until(ranks, test_sums, 0));
    if (ranks->nccl->sums_join(queue) != DDPM_OK)
        return ddpm_ranks_lose(ranks);
    return DDPM_OK;
}
