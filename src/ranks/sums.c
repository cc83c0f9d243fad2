/* Sums that continue while their rank computes something else.
 *
 * In fp32 the transport sums. MPI has no bf16, and a sum that is rounded at every rank it passes
 * loses accuracy with every rank. So each rank sums one piece of all ranks' values, in fp32 and in
 * the order of ranks, and the rounded sums are gathered: two messages, each with half the bytes of
 * the fp32 values. The second starts when the first has arrived, which is not the same moment on
 * every rank, so it has a lane of its own.
 *
 * If only one rank needs the sum, the first message is the only one: everyone's values go to that
 * rank, which adds them up in the same way. */
#include <string.h>

#include "ranks/state.h"
#include "tensor/tensor.h"

static struct ddpm_sum *new_sum(struct ddpm_ranks *ranks)
{
    return &ranks->sums[ranks->sum_count];
}

static ddpm_status make_space(struct ddpm_ranks *ranks)
{
    return ranks->sum_count == DDPM_MOST_SUMS ? ddpm_ranks_wait(ranks) : DDPM_OK;
}

/* Begin a sum by the transport. */
static ddpm_status begin_whole(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call)
{
    struct ddpm_sum *sum = new_sum(ranks);
    *sum = (struct ddpm_sum){.stage = DDPM_SUM_WHOLE};
    DDPM_TRY(ddpm_ranks_begin(ranks, call, &sum->request));
    ++ranks->sum_count;
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_begin(struct ddpm_ranks *ranks, float *values, size_t count)
{
    const size_t most = DDPM_MOST_COLLECTIVE_BYTES / sizeof *values;
    for (size_t done = 0; ranks && done < count; done += most) {
        const struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_SUM,
                                                  .receive = values + done,
                                                  .count =
                                                      count - done < most ? count - done : most};
        DDPM_TRY(make_space(ranks));
        DDPM_TRY(begin_whole(ranks, &call));
    }
    return DDPM_OK;
}

/* A sum at one rank is done in chunks, a few of which are in flight: MPI needs a buffer for each on
 * every rank, and the optimizer is divided to save memory. */
enum { AT_ONCE = 2, CHUNKS = 4, LEAST_CHUNK = 1 << 19 };

static size_t chunk_of(size_t count)
{
    const size_t most = DDPM_MOST_COLLECTIVE_BYTES / sizeof(float);
    const size_t part = (count + CHUNKS - 1) / CHUNKS, chunk = part < most ? part : most;
    return chunk > LEAST_CHUNK ? chunk : LEAST_CHUNK;
}

/* Begin the next chunks, in the same order on every rank. */
static ddpm_status begin_queued(struct ddpm_ranks *ranks)
{
    while (ranks->queue_count > 0 && ranks->sum_count < AT_ONCE) {
        struct ddpm_queued_sum *next = ranks->queue;
        const size_t count = next->count < next->chunk ? next->count : next->chunk;
        DDPM_TRY(begin_whole(ranks, &(struct ddpm_collective_call){.what = DDPM_COLLECTIVE_SUM_AT,
                                                                   .receive = next->values,
                                                                   .count = count,
                                                                   .root = next->root}));
        next->values += count;
        next->count -= count;
        if (next->count == 0)
            memmove(next, next + 1, (size_t)--ranks->queue_count * sizeof *next);
    }
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_at_begin(struct ddpm_ranks *ranks, int root, float *values, size_t count)
{
    if (!ranks || count == 0)
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_want_parts(ranks));
    if (ranks->queue_count == DDPM_MOST_QUEUED)
        DDPM_TRY(ddpm_ranks_wait(ranks));
    ranks->queue[ranks->queue_count++] =
        (struct ddpm_queued_sum){root, values, count, chunk_of(count)};
    return begin_queued(ranks);
}

/* The most values in a bf16 sum. */
static size_t most_numbers(void)
{
    return DDPM_MOST_COLLECTIVE_BYTES / sizeof(uint16_t);
}

size_t ddpm_ranks_room_bf16(const struct ddpm_ranks *ranks, size_t count)
{
    /* Each piece may be padded by less than one value per rank. */
    const size_t padding = (size_t)ddpm_ranks_count(ranks) * (count / most_numbers() + 1);
    return ranks ? 2 * (count + padding) : 0;
}

static void round_all(const float *restrict values, size_t count, uint16_t *restrict out)
{
    for (size_t i = 0; i < count; ++i)
        out[i] = ddpm_float_to_bf16(values[i]);
}

static void widen_all(const uint16_t *restrict values, size_t count, float *restrict out)
{
    for (size_t i = 0; i < count; ++i)
        out[i] = ddpm_bf16_to_float(values[i]);
}

static ddpm_status begin_exchange(struct ddpm_ranks *ranks, float *values, size_t count,
                                  uint16_t *room)
{
    const size_t all = (size_t)ranks->count, piece = (count + all - 1) / all;
    DDPM_TRY(make_space(ranks));
    struct ddpm_sum *sum = new_sum(ranks);
    *sum = (struct ddpm_sum){.stage = DDPM_SUM_EXCHANGE,
                             .values = values,
                             .count = count,
                             .piece = piece,
                             .to = room,
                             .from = room + all * piece};
    round_all(values, count, sum->to);
    memset(sum->to + count, 0, (all * piece - count) * sizeof *sum->to);
    const struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_EXCHANGE,
                                              .send = sum->to,
                                              .receive = sum->from,
                                              .count = piece * sizeof *sum->to,
                                              .lane = DDPM_LANE_FIRST};
    DDPM_TRY(ddpm_ranks_begin(ranks, &call, &sum->request));
    ++ranks->sum_count;
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_bf16_begin(struct ddpm_ranks *ranks, float *values, size_t count,
                                      uint16_t *room)
{
    const size_t most = most_numbers();
    for (size_t done = 0; ranks && done < count; done += most) {
        const size_t here = count - done < most ? count - done : most;
        DDPM_TRY(begin_exchange(ranks, values + done, here, room));
        room += 2 * (here + (size_t)ranks->count);
    }
    return DDPM_OK;
}

size_t ddpm_ranks_room_at_bf16(const struct ddpm_ranks *ranks, int root, size_t count)
{
    return !ranks ? 0 : ranks->index == root ? (size_t)ranks->count * count : count;
}

static ddpm_status begin_collect(struct ddpm_ranks *ranks, int root, float *values, size_t count,
                                 uint16_t *room)
{
    const bool here = ranks->index == root;
    DDPM_TRY(make_space(ranks));
    struct ddpm_sum *sum = new_sum(ranks);
    *sum = (struct ddpm_sum){.stage = DDPM_SUM_COLLECT,
                             .values = values,
                             .count = count,
                             .piece = count,
                             .to = here ? room + (size_t)root * count : room,
                             .from = here ? room : NULL};
    round_all(values, count, sum->to);
    const struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_COLLECT,
                                              .send = sum->to,
                                              .receive = sum->from,
                                              .count = count * sizeof *sum->to,
                                              .root = root};
    DDPM_TRY(ddpm_ranks_begin(ranks, &call, &sum->request));
    ++ranks->sum_count;
    return DDPM_OK;
}

ddpm_status ddpm_ranks_sum_at_bf16_begin(struct ddpm_ranks *ranks, int root, float *values,
                                         size_t count, uint16_t *room)
{
    const size_t most = most_numbers();
    if (!ranks)
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_want_parts(ranks));
    for (size_t done = 0; done < count; done += most) {
        const size_t here = count - done < most ? count - done : most;
        DDPM_TRY(begin_collect(ranks, root, values + done, here, room));
        room += ddpm_ranks_room_at_bf16(ranks, root, here);
    }
    return DDPM_OK;
}

/* Numbers that are summed at a time, so that they stay in the cache. */
enum { STRETCH = 1024 };

/* Numbers [begin, begin + count) of everyone's pieces, in the order of ranks. */
static void add_stretch(const struct ddpm_ranks *ranks, const struct ddpm_sum *sum, size_t begin,
                        size_t count, float *restrict added)
{
    widen_all(sum->from + begin, count, added);
    for (size_t rank = 1; rank < (size_t)ranks->count; ++rank) {
        const uint16_t *piece = sum->from + rank * sum->piece + begin;
        for (size_t i = 0; i < count; ++i)
            added[i] += ddpm_bf16_to_float(piece[i]);
    }
}

/* Sum this rank's piece. The sum is rounded where the others get it, too. */
static void add_pieces(const struct ddpm_ranks *ranks, struct ddpm_sum *sum)
{
    const bool whole = sum->stage == DDPM_SUM_COLLECT;
    uint16_t *own = whole ? NULL : sum->to + (size_t)ranks->index * sum->piece;
    float added[STRETCH];
    for (size_t begin = 0; begin < sum->piece; begin += STRETCH) {
        const size_t left = sum->piece - begin, count = left < STRETCH ? left : STRETCH;
        add_stretch(ranks, sum, begin, count, added);
        if (whole)
            memcpy(sum->values + begin, added, count * sizeof *added);
        else
            round_all(added, count, own + begin);
    }
}

/* Continue `sum` after one of its requests is done. *over: nothing is left to do. */
static ddpm_status go_further(struct ddpm_ranks *ranks, struct ddpm_sum *sum, bool *over)
{
    *over = sum->stage != DDPM_SUM_EXCHANGE;
    if (sum->stage == DDPM_SUM_GATHER)
        widen_all(sum->to, sum->count, sum->values);
    if (sum->stage == DDPM_SUM_COLLECT && sum->from)
        add_pieces(ranks, sum);
    if (*over)
        return DDPM_OK;
    add_pieces(ranks, sum);
    const struct ddpm_collective_call call = {.what = DDPM_COLLECTIVE_GATHER,
                                              .receive = sum->to,
                                              .count = sum->piece * sizeof *sum->to,
                                              .lane = DDPM_LANE_SECOND};
    sum->stage = DDPM_SUM_GATHER;
    return ddpm_ranks_begin(ranks, &call, &sum->request);
}

/* The first sum whose second message has not started. They start in the order of the sums. */
static struct ddpm_sum *first_exchange(struct ddpm_ranks *ranks)
{
    for (int i = 0; i < ranks->sum_count; ++i)
        if (ranks->sums[i].stage == DDPM_SUM_EXCHANGE)
            return &ranks->sums[i];
    return NULL;
}

static ddpm_status go_on(struct ddpm_ranks *ranks, struct ddpm_sum *sum, bool *over)
{
    bool done;
    *over = false;
    DDPM_TRY(ddpm_ranks_test(ranks, sum->request, &done));
    return done ? go_further(ranks, sum, over) : DDPM_OK;
}

/* The first sum is done. */
static ddpm_status drop_first(struct ddpm_ranks *ranks)
{
    memmove(ranks->sums, ranks->sums + 1, (size_t)--ranks->sum_count * sizeof *ranks->sums);
    return begin_queued(ranks);
}

ddpm_status ddpm_ranks_go_on(struct ddpm_ranks *ranks)
{
    bool over;
    if (!ranks || ranks->sum_count == 0 || ranks->lost)
        return DDPM_OK;
    struct ddpm_sum *exchange = first_exchange(ranks);
    if (exchange)
        DDPM_TRY(go_on(ranks, exchange, &over));
    if (exchange == ranks->sums)
        return DDPM_OK;
    DDPM_TRY(go_on(ranks, ranks->sums, &over));
    return over ? drop_first(ranks) : DDPM_OK;
}

ddpm_status ddpm_ranks_wait(struct ddpm_ranks *ranks)
{
    struct ddpm_sum *exchange;
    bool over;
    if (!ranks)
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    while ((exchange = first_exchange(ranks)) != NULL) {
        DDPM_TRY(ddpm_ranks_wait_for(ranks, exchange->request));
        DDPM_TRY(go_further(ranks, exchange, &over));
    }
    while (ranks->sum_count > 0) {
        DDPM_TRY(ddpm_ranks_wait_for(ranks, ranks->sums[0].request));
        DDPM_TRY(go_further(ranks, ranks->sums, &over));
        DDPM_TRY(drop_first(ranks));
    }
    return DDPM_OK;
}
