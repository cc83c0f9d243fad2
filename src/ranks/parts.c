/* Gathers with one part per rank, of any length. One chunk of every part is exchanged at a time,
 * because counts are ints and a call's size is limited. */
#include <stdlib.h>

#include "core/memory.h"
#include "ranks/state.h"

static const int64_t most = DDPM_MOST_COLLECTIVE_BYTES / sizeof(float); /* of a chunk */

ddpm_status ddpm_ranks_allocate_parts(struct ddpm_ranks *ranks)
{
    struct ddpm_part_buffers *buffers = &ranks->parts;
    int **const arrays[] = {&buffers->counts, &buffers->starts, &buffers->received_counts,
                            &buffers->received_starts};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; ++i)
        DDPM_TRY(
            ddpm_new_array((void **)arrays[i], (size_t)ranks->count, sizeof **arrays[i], "ranks"));
    return DDPM_OK;
}

void ddpm_ranks_release_parts(struct ddpm_ranks *ranks)
{
    free(ranks->parts.counts);
    free(ranks->parts.starts);
    free(ranks->parts.received_counts);
    free(ranks->parts.received_starts);
}

ddpm_status ddpm_ranks_want_parts(const struct ddpm_ranks *ranks)
{
    return ranks->apart ? ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                                     "got parts for single ranks over NCCL, want MPI for them")
                        : DDPM_OK;
}

int64_t ddpm_ranks_longest_part(const struct ddpm_ranks *ranks, const struct ddpm_stretch *parts)
{
    int64_t count = 0;
    for (int rank = 0; rank < ranks->count; ++rank)
        count = parts[rank].count > count ? parts[rank].count : count;
    return count;
}

/* What is left of every part after its first `done` floats, up to a chunk. */
static struct ddpm_parts chunk(struct ddpm_ranks *ranks, const struct ddpm_stretch *parts,
                               int64_t done)
{
    const struct ddpm_part_buffers *buffers = &ranks->parts;
    for (int rank = 0; rank < ranks->count; ++rank) {
        const struct ddpm_stretch rest = ddpm_rest_of(&parts[rank], done, most);
        buffers->counts[rank] = (int)rest.count;
        buffers->starts[rank] = (int)rest.first;
    }
    return (struct ddpm_parts){buffers->counts, buffers->starts};
}

/* The call for all chunks; `out` and `in` are the rank's own part if that is sent or received. */
static ddpm_status run_chunks(struct ddpm_ranks *ranks, struct ddpm_collective_call *call,
                              const float *out, float *in, const struct ddpm_stretch *parts)
{
    DDPM_TRY(ddpm_ranks_want_parts(ranks));
    const struct ddpm_stretch *mine = &parts[ranks->index];
    const int64_t longest = ddpm_ranks_longest_part(ranks, parts);
    for (int64_t done = 0; done < longest; done += most) {
        call->parts = chunk(ranks, parts, done);
        /* A rank whose part has ended sends and receives nothing more. */
        const int64_t own = ddpm_rest_of(mine, done, most).first - mine->first;
        if (out)
            call->send = out + own;
        if (in)
            call->receive = in + own;
        DDPM_TRY(ddpm_ranks_run(ranks, call));
    }
    return DDPM_OK;
}

ddpm_status ddpm_ranks_gather_parts(struct ddpm_ranks *ranks, float *all,
                                    const struct ddpm_stretch *parts)
{
    if (!ranks)
        return DDPM_OK;
    struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_GATHER, .receive = all};
    return run_chunks(ranks, &call, NULL, NULL, parts);
}

ddpm_status ddpm_ranks_collect_parts(struct ddpm_ranks *ranks, int root, const float *own,
                                     float *all, const struct ddpm_stretch *parts)
{
    if (!ranks)
        return DDPM_OK;
    struct ddpm_collective_call call = {
        .what = DDPM_COLLECTIVE_COLLECT, .receive = all, .root = root};
    return run_chunks(ranks, &call, own, NULL, parts);
}

ddpm_status ddpm_ranks_spread_parts(struct ddpm_ranks *ranks, int root, const float *all,
                                    float *own, const struct ddpm_stretch *parts)
{
    if (!ranks)
        return DDPM_OK;
    struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_SPREAD, .send = all, .root = root};
    return run_chunks(ranks, &call, NULL, own, parts);
}
