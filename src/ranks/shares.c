/* The sum of shares in a fixed order, for any number of ranks: every rank sums one piece of all
 * shares, and the pieces are put together. One chunk at a time, so that the buffers stay small. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "ranks/state.h"

enum { MOST_PIECE = 1 << 18 }; /* floats of one rank's piece */

/* One share after another, for `count` elements; looping over one element at a time would be
 * slower. */
static void add_up(const float *pieces, size_t shares, size_t count, float *restrict sum)
{
    memcpy(sum, pieces, count * sizeof *sum);
    for (size_t share = 1; share < shares; ++share) {
        const float *piece = pieces + share * count;
        for (size_t i = 0; i < count; ++i)
            sum[i] += piece[i];
    }
}

/* Chunk [begin, begin + length) of the shares, in pieces of `piece` floats. The last piece is
 * padded with zeros. */
static ddpm_status sum_chunk(struct ddpm_ranks *ranks, float *const shares[], int own, float *sum,
                             size_t begin, size_t length)
{
    const struct ddpm_share_buffers *buffers = &ranks->shares;
    const size_t count = (size_t)ranks->count, piece = (length + count - 1) / count;
    const size_t bytes = piece * sizeof(float);
    memset(buffers->to, 0, count * (size_t)own * bytes);
    for (size_t rank = 0; rank < count; ++rank) {
        const size_t first = rank * piece < length ? rank * piece : length;
        const size_t here = length - first < piece ? length - first : piece;
        for (size_t share = 0; share < (size_t)own; ++share)
            memcpy(buffers->to + (rank * (size_t)own + share) * piece,
                   shares[share] + begin + first, here * sizeof(float));
    }
    DDPM_TRY(ddpm_ranks_run(ranks, &(struct ddpm_collective_call){.what = DDPM_COLLECTIVE_EXCHANGE,
                                                                  .send = buffers->to,
                                                                  .receive = buffers->from,
                                                                  .count = (size_t)own * bytes}));
    add_up(buffers->from, count * (size_t)own, piece, buffers->sums + (size_t)ranks->index * piece);
    DDPM_TRY(ddpm_ranks_gather(ranks, buffers->sums, bytes));
    memcpy(sum + begin, buffers->sums, length * sizeof(float));
    return DDPM_OK;
}

size_t ddpm_ranks_shares_bytes(const struct ddpm_ranks *ranks, int own)
{
    const size_t pieces = 2 * (size_t)own + 1;
    return ranks ? (size_t)ranks->count * pieces * MOST_PIECE * sizeof(float) : 0;
}

static ddpm_status allocate(struct ddpm_ranks *ranks, int own)
{
    struct ddpm_share_buffers *buffers = &ranks->shares;
    const size_t count = (size_t)ranks->count, all = count * (size_t)own * MOST_PIECE;
    buffers->own = own;
    DDPM_TRY(ddpm_new_array((void **)&buffers->to, all, sizeof(float), "shares"));
    DDPM_TRY(ddpm_new_array((void **)&buffers->from, all, sizeof(float), "shares"));
    return ddpm_new_array((void **)&buffers->sums, count * MOST_PIECE, sizeof(float), "shares");
}

static ddpm_status provide(struct ddpm_ranks *ranks, int own)
{
    if (ranks->shares.own == 0)
        DDPM_TRY(ddpm_ranks_agree(ranks, allocate(ranks, own), NULL));
    if (ranks->shares.own != own)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d shares, want %d as before", own,
                          ranks->shares.own);
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_shares(struct ddpm_ranks *ranks, float *const shares[], int own,
                                  float *sum, size_t count)
{
    const size_t chunk = (size_t)ranks->count * MOST_PIECE;
    DDPM_TRY(provide(ranks, own));
    for (size_t begin = 0; begin < count; begin += chunk)
        DDPM_TRY(sum_chunk(ranks, shares, own, sum, begin,
                           count - begin < chunk ? count - begin : chunk));
    return DDPM_OK;
}

/* The most floats in a rank's piece: MPI's count, an int, covers the pieces of all shares. */
static int64_t most_of(const struct ddpm_ranks *ranks, int own)
{
    const int64_t most = INT32_MAX / ((int64_t)ranks->count * own);
    return most < MOST_PIECE ? most : MOST_PIECE;
}

/* One piece of every rank's stretch: all send it to that rank, which adds it up into `sum`. */
static ddpm_status sum_pieces(struct ddpm_ranks *ranks, float *const shares[], int own, float *sum,
                              const struct ddpm_stretch *parts, int64_t done)
{
    const struct ddpm_share_buffers *buffers = &ranks->shares;
    const struct ddpm_part_buffers *out = &ranks->parts;
    const int64_t most = most_of(ranks, own);
    const struct ddpm_stretch mine = ddpm_rest_of(&parts[ranks->index], done, most);
    float *to = buffers->to;
    for (int rank = 0; rank < ranks->count; ++rank) {
        const struct ddpm_stretch piece = ddpm_rest_of(&parts[rank], done, most);
        out->starts[rank] = (int)(to - buffers->to);
        out->counts[rank] = own * (int)piece.count;
        out->received_counts[rank] = own * (int)mine.count;
        out->received_starts[rank] = rank * own * (int)mine.count;
        for (int share = 0; share < own; ++share, to += piece.count)
            memcpy(to, shares[share] + piece.first, (size_t)piece.count * sizeof *to);
    }
    DDPM_TRY(ddpm_ranks_run(ranks, &(struct ddpm_collective_call){
                                       .what = DDPM_COLLECTIVE_EXCHANGE,
                                       .send = buffers->to,
                                       .receive = buffers->from,
                                       .parts = {out->counts, out->starts},
                                       .received = {out->received_counts, out->received_starts}}));
    add_up(buffers->from, (size_t)ranks->count * (size_t)own, (size_t)mine.count, sum + mine.first);
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_shares_at(struct ddpm_ranks *ranks, float *const shares[], int own,
                                     float *sum, const struct ddpm_stretch *parts)
{
    const int64_t most = most_of(ranks, own), longest = ddpm_ranks_longest_part(ranks, parts);
    DDPM_TRY(ddpm_ranks_want_parts(ranks));
    DDPM_TRY(provide(ranks, own));
    for (int64_t done = 0; done < longest; done += most)
        DDPM_TRY(sum_pieces(ranks, shares, own, sum, parts, done));
    return DDPM_OK;
}
