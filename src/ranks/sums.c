/* Sums that continue while their rank computes something else.
 *
 * MPI's own sums make progress only while MPI is called, and over a slow link that is not often
 * enough. So we send messages, which the system delivers meanwhile, and sum ourselves: each rank
 * gets one piece of all ranks' values, sums it in fp32 in the order of ranks, and the sums are
 * gathered. That moves as few bytes as any algorithm. Both messages are the same for values that
 * travel as bf16, which MPI cannot sum; then the values and the sums are rounded. The second
 * message starts when the first has arrived, which is not the same moment on every rank, so it has
 * a lane of its own.
 *
 * If only one rank needs the sum, the first message is the only one: everyone's values go to that
 * rank, which adds them up in the same way.
 *
 * Sums are split into chunks, a few of which are in flight: each needs room for what the others
 * send. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "ranks/state.h"
#include "ranks/wire.h"

enum {
    CHUNK = 1 << 20,       /* numbers in flight of one sum, unless pieces would be too small */
    LEAST_PIECE = 1 << 14, /* numbers: below, a message takes longer to start than to arrive */
    MOST_EXCHANGING = 64,  /* ranks; see transport_sums() */
    MOST_COLLECTING = 4,
    EVERYONE = -1, /* as `root`: all ranks need the sum */
    NOBODY = -1,
    STRETCH = 1024 /* numbers that are summed at a time, so that they stay in the cache */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Does the transport do the sum? MPI does with many ranks: our way sends a message from every rank
 * to every other, and if only one rank needs the sum, that rank gets the values of all others,
 * where MPI's tree sends it only a few. NCCL always does. MPI cannot sum bf16. */
static bool transport_sums(const struct ddpm_ranks *ranks, enum ddpm_dtype wire, int root)
{
    return ranks->apart || (wire == DDPM_F32 &&
                            ranks->count > (root == EVERYONE ? MOST_EXCHANGING : MOST_COLLECTING));
}

/* Numbers of a piece, at most, for sums of up to `most` numbers. */
static size_t piece_for(const struct ddpm_ranks *ranks, enum ddpm_dtype wire, size_t most)
{
    const size_t all = (size_t)ranks->count, share = CHUNK / all;
    const size_t piece = share > LEAST_PIECE ? share : LEAST_PIECE;
    return ddpm_wire_pad(wire, smaller(piece, (most + all - 1) / all));
}

/* Bytes of a slot: the pieces of the other ranks, and this rank's values as they travel. */
static size_t slot_bytes(const struct ddpm_ranks *ranks, enum ddpm_dtype wire, size_t piece)
{
    const size_t all = (size_t)ranks->count;
    const size_t pieces = wire == DDPM_BF16 ? 2 * all - 1 : all - 1;
    return ddpm_align_up(ddpm_wire_bytes(wire, pieces * piece));
}

size_t ddpm_ranks_sums_bytes(const struct ddpm_ranks *ranks, enum ddpm_dtype wire, size_t most)
{
    if (!ranks || transport_sums(ranks, wire, EVERYONE))
        return 0;
    return DDPM_SUMS_AT_ONCE * slot_bytes(ranks, wire, piece_for(ranks, wire, most));
}

void ddpm_ranks_release_sums(struct ddpm_ranks *ranks)
{
    ddpm_free_aligned(ranks->sums.room);
    free(ranks->sums.parts);
    ranks->sums = (struct ddpm_sums){0};
}

ddpm_status ddpm_ranks_prepare_sums(struct ddpm_ranks *ranks, enum ddpm_dtype wire, size_t most)
{
    if (!ranks)
        return DDPM_OK;
    ddpm_ranks_release_sums(ranks);
    if (wire == DDPM_BF16)
        DDPM_TRY(ddpm_ranks_want_parts(ranks));
    const size_t bytes = ddpm_ranks_sums_bytes(ranks, wire, most);
    const size_t parts = (size_t)DDPM_SUMS_AT_ONCE * 4 * (size_t)ranks->count;
    ranks->sums.wire = wire;
    ranks->sums.piece = piece_for(ranks, wire, most);
    if (bytes == 0)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&ranks->sums.parts, parts, sizeof *ranks->sums.parts,
                            "gradients on their way"));
    return ddpm_new_aligned((void **)&ranks->sums.room, bytes, "gradients on their way");
}

/* The position of `rank` among all ranks except `without`, and so that of its piece. */
static size_t place(int rank, int without)
{
    return (size_t)(rank - (rank > without));
}

/* Where the piece of a rank begins, and its numbers. */
static size_t first_of(const struct ddpm_sum *sum, enum ddpm_dtype wire, int rank, size_t *length)
{
    const size_t all = ddpm_wire_pad(wire, sum->count);
    const size_t first = smaller((size_t)rank * sum->piece, all);
    *length = smaller(all - first, sum->piece);
    return first;
}

/* Add up `length` numbers of every rank, in the order of ranks, and write the sums to `to`. This
 * rank's own begin at `first` of its values, and the sums may replace them. */
static void add_up(const struct ddpm_ranks *ranks, const struct ddpm_sum *sum, size_t first,
                   size_t length, enum ddpm_dtype type, void *to)
{
    const enum ddpm_dtype wire = ranks->sums.wire;
    float added[STRETCH];
    for (size_t begin = 0; begin < length; begin += STRETCH) {
        const size_t count = smaller(length - begin, STRETCH);
        for (int rank = 0; rank < ranks->count; ++rank) {
            const bool own = rank == ranks->index;
            const size_t at = begin + (own ? first : place(rank, ranks->index) * sum->piece);
            (rank == 0 ? ddpm_wire_read : ddpm_wire_add)(wire, own ? sum->own : sum->others, at,
                                                         count, added);
        }
        ddpm_wire_write(type, added, count, to, first + begin);
    }
}

/* The transport's counts and starts: first those of what is sent, or is gathered; then those of
 * what is received. */

static struct ddpm_parts parts_of(const struct ddpm_ranks *ranks, const struct ddpm_sum *sum,
                                  int which)
{
    const int *const counts = sum->parts + 2 * which * ranks->count;
    return (struct ddpm_parts){counts, counts + ranks->count};
}

/* One piece of all values for every rank except `without`, which sends nothing to itself. */
static void lay_out_values(const struct ddpm_ranks *ranks, struct ddpm_sum *sum, int without)
{
    const enum ddpm_dtype wire = ranks->sums.wire;
    size_t length;
    for (int rank = 0; rank < ranks->count; ++rank) {
        sum->parts[ranks->count + rank] =
            ddpm_wire_floats(wire, first_of(sum, wire, rank, &length));
        sum->parts[rank] = rank == without ? 0 : ddpm_wire_floats(wire, length);
    }
}

/* Pieces of `length` numbers from every rank except `without`. */
static void lay_out_others(const struct ddpm_ranks *ranks, int *parts, size_t piece, size_t length,
                           int without)
{
    const enum ddpm_dtype wire = ranks->sums.wire;
    for (int rank = 0; rank < ranks->count; ++rank) {
        parts[rank] = rank == without ? 0 : ddpm_wire_floats(wire, length);
        parts[ranks->count + rank] = ddpm_wire_floats(wire, place(rank, without) * piece);
    }
}

static struct ddpm_collective_call whole(struct ddpm_sum *sum, int root)
{
    sum->stage = DDPM_SUM_WHOLE;
    return (struct ddpm_collective_call){.what = root == EVERYONE ? DDPM_COLLECTIVE_SUM
                                                                  : DDPM_COLLECTIVE_SUM_AT,
                                         .receive = sum->values,
                                         .count = sum->count,
                                         .root = root == EVERYONE ? 0 : root};
}

static struct ddpm_collective_call exchange(const struct ddpm_ranks *ranks, struct ddpm_sum *sum)
{
    const enum ddpm_dtype wire = ranks->sums.wire;
    const size_t all = (size_t)ranks->count;
    size_t length;
    sum->stage = DDPM_SUM_EXCHANGE;
    sum->piece = ddpm_wire_pad(wire, (sum->count + all - 1) / all);
    (void)first_of(sum, wire, ranks->index, &length);
    lay_out_values(ranks, sum, ranks->index);
    lay_out_others(ranks, sum->parts + 2 * all, sum->piece, length, ranks->index);
    return (struct ddpm_collective_call){.what = DDPM_COLLECTIVE_EXCHANGE,
                                         .send = sum->own,
                                         .receive = sum->others,
                                         .lane = DDPM_LANE_FIRST,
                                         .parts = parts_of(ranks, sum, 0),
                                         .received = parts_of(ranks, sum, 1)};
}

static struct ddpm_collective_call collect(const struct ddpm_ranks *ranks, struct ddpm_sum *sum,
                                           int root)
{
    sum->stage = DDPM_SUM_COLLECT;
    sum->piece = ddpm_wire_pad(ranks->sums.wire, sum->count);
    if (ranks->index != root)
        sum->others = NULL;
    lay_out_others(ranks, sum->parts, sum->piece, sum->piece, root);
    return (struct ddpm_collective_call){.what = DDPM_COLLECTIVE_COLLECT,
                                         .send = sum->own,
                                         .receive = sum->others,
                                         .root = root,
                                         .lane = DDPM_LANE_FIRST,
                                         .parts = parts_of(ranks, sum, 0)};
}

/* The sum of `count` values, in the next slot. */
static void take_slot(struct ddpm_ranks *ranks, struct ddpm_sum *sum, int slot, float *values,
                      size_t count)
{
    const struct ddpm_sums *sums = &ranks->sums;
    const size_t all = (size_t)ranks->count;
    char *room = sums->room + (size_t)slot * slot_bytes(ranks, sums->wire, sums->piece);
    *sum = (struct ddpm_sum){.values = values,
                             .count = count,
                             .own = values,
                             .others = room,
                             .parts = sums->parts + (size_t)slot * 4 * all};
    if (sums->wire != DDPM_BF16)
        return;
    sum->own = room + ddpm_wire_bytes(sums->wire, (all - 1) * sums->piece);
    ddpm_wire_write(sums->wire, values, count, sum->own, 0);
    if (ddpm_wire_pad(sums->wire, count) > count)
        ((uint16_t *)sum->own)[count] = 0;
}

static ddpm_status begin_chunk(struct ddpm_ranks *ranks, int root, float *values, size_t count)
{
    struct ddpm_sums *sums = &ranks->sums;
    const int slot = (sums->first + sums->count) % DDPM_SUMS_AT_ONCE;
    struct ddpm_sum *sum = &sums->flying[slot];
    struct ddpm_collective_call call;
    if (transport_sums(ranks, sums->wire, root)) {
        *sum = (struct ddpm_sum){.values = values, .count = count};
        call = whole(sum, root);
    } else {
        take_slot(ranks, sum, slot, values, count);
        call = root == EVERYONE ? exchange(ranks, sum) : collect(ranks, sum, root);
    }
    DDPM_TRY(ddpm_ranks_begin(ranks, &call, &sum->request));
    ++sums->count;
    return DDPM_OK;
}

/* Numbers of a sum in flight, at most. */
static size_t chunk_for(const struct ddpm_ranks *ranks, int root)
{
    if (transport_sums(ranks, ranks->sums.wire, root))
        return CHUNK;
    return root == EVERYONE ? (size_t)ranks->count * ranks->sums.piece : ranks->sums.piece;
}

/* Begin the next chunks, in the same order on every rank. NCCL has one collective at a time. */
static ddpm_status begin_queued(struct ddpm_ranks *ranks)
{
    struct ddpm_sums *sums = &ranks->sums;
    const int most = ranks->apart ? 1 : DDPM_SUMS_AT_ONCE;
    while (sums->queue_count > 0 && sums->count < most) {
        struct ddpm_queued_sum *next = sums->queue;
        const size_t count = smaller(next->count, chunk_for(ranks, next->root));
        DDPM_TRY(begin_chunk(ranks, next->root, next->values, count));
        next->values += count;
        next->count -= count;
        if (next->count == 0)
            memmove(next, next + 1, (size_t)--sums->queue_count * sizeof *next);
    }
    return DDPM_OK;
}

static ddpm_status begin(struct ddpm_ranks *ranks, int root, float *values, size_t count)
{
    if (count == 0)
        return DDPM_OK;
    if (chunk_for(ranks, root) == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a sum, want room for sums first");
    if (ranks->sums.queue_count == DDPM_MOST_QUEUED)
        DDPM_TRY(ddpm_ranks_wait(ranks));
    ranks->sums.queue[ranks->sums.queue_count++] = (struct ddpm_queued_sum){root, values, count};
    return begin_queued(ranks);
}

ddpm_status ddpm_ranks_sum_begin(struct ddpm_ranks *ranks, float *values, size_t count)
{
    return ranks ? begin(ranks, EVERYONE, values, count) : DDPM_OK;
}

ddpm_status ddpm_ranks_sum_at_begin(struct ddpm_ranks *ranks, int root, float *values, size_t count)
{
    if (!ranks)
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_want_parts(ranks));
    return begin(ranks, root, values, count);
}

/* Sum this rank's piece in place, and begin to gather the pieces of all ranks. */
static ddpm_status begin_gather(struct ddpm_ranks *ranks, struct ddpm_sum *sum)
{
    const enum ddpm_dtype wire = ranks->sums.wire;
    size_t length;
    const size_t first = first_of(sum, wire, ranks->index, &length);
    add_up(ranks, sum, first, length, wire, sum->own);
    lay_out_values(ranks, sum, NOBODY);
    sum->stage = DDPM_SUM_GATHER;
    const struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_GATHER,
                                              .receive = sum->own,
                                              .lane = DDPM_LANE_SECOND,
                                              .parts = parts_of(ranks, sum, 0)};
    return ddpm_ranks_begin(ranks, &call, &sum->request);
}

/* Continue `sum` after its request is done. *over: nothing is left to do. */
static ddpm_status go_further(struct ddpm_ranks *ranks, struct ddpm_sum *sum, bool *over)
{
    *over = sum->stage != DDPM_SUM_EXCHANGE;
    if (!*over)
        return begin_gather(ranks, sum);
    if (sum->stage == DDPM_SUM_GATHER && sum->own != sum->values)
        ddpm_wire_read(ranks->sums.wire, sum->own, 0, sum->count, sum->values);
    if (sum->stage == DDPM_SUM_COLLECT && sum->others)
        add_up(ranks, sum, 0, sum->count, DDPM_F32, sum->values);
    return DDPM_OK;
}

/* The first sum whose second message has not started. They start in the order of the sums. */
static struct ddpm_sum *first_exchange(struct ddpm_ranks *ranks)
{
    struct ddpm_sums *sums = &ranks->sums;
    for (int i = 0; i < sums->count; ++i) {
        struct ddpm_sum *sum = &sums->flying[(sums->first + i) % DDPM_SUMS_AT_ONCE];
        if (sum->stage == DDPM_SUM_EXCHANGE)
            return sum;
    }
    return NULL;
}

/* The first sum is done. */
static ddpm_status drop_first(struct ddpm_ranks *ranks)
{
    ranks->sums.first = (ranks->sums.first + 1) % DDPM_SUMS_AT_ONCE;
    --ranks->sums.count;
    return begin_queued(ranks);
}

/* Continue `sum` if its request is done. */
static ddpm_status go_on(struct ddpm_ranks *ranks, struct ddpm_sum *sum, bool *moved)
{
    bool done, over = false;
    DDPM_TRY(ddpm_ranks_test(ranks, sum->request, &done));
    *moved |= done;
    if (done)
        DDPM_TRY(go_further(ranks, sum, &over));
    return over ? drop_first(ranks) : DDPM_OK;
}

ddpm_status ddpm_ranks_go_on(struct ddpm_ranks *ranks)
{
    for (bool moved = true; moved && ranks && ranks->sums.count > 0 && !ranks->lost;) {
        struct ddpm_sum *waiting = first_exchange(ranks);
        moved = false;
        if (waiting)
            DDPM_TRY(go_on(ranks, waiting, &moved));
        struct ddpm_sum *first = &ranks->sums.flying[ranks->sums.first];
        if (first->stage != DDPM_SUM_EXCHANGE)
            DDPM_TRY(go_on(ranks, first, &moved));
    }
    return DDPM_OK;
}

ddpm_status ddpm_ranks_wait(struct ddpm_ranks *ranks)
{
    bool over;
    if (!ranks)
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    while (ranks->sums.count > 0) {
        struct ddpm_sum *next = first_exchange(ranks);
        if (!next)
            next = &ranks->sums.flying[ranks->sums.first];
        DDPM_TRY(ddpm_ranks_wait_for(ranks, next->request));
        DDPM_TRY(go_further(ranks, next, &over));
        if (over)
            DDPM_TRY(drop_first(ranks));
    }
    return DDPM_OK;
}
