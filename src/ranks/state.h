/* The inside of struct ddpm_ranks, shared by the files of this folder. */
#ifndef DDPM_RANKS_STATE_H
#define DDPM_RANKS_STATE_H

#include "ranks/ranks.h"
#include "ranks/transport.h"

enum { DDPM_HOST_BYTES = 64, DDPM_MOST_SUMS = 48 };
#define DDPM_MOST_COLLECTIVE_BYTES ((size_t)256 << 20)

/* What a rank tells the others about itself. */
struct ddpm_rank_place {
    char host[DDPM_HOST_BYTES];
    uint64_t processors; /* hash of the set of processors that it may run on */
};

/* How a rank is doing. */
struct ddpm_rank_fare {
    int32_t status, signal;
};

/* How far a sum has come. */
enum ddpm_sum_stage {
    DDPM_SUM_WHOLE,    /* the transport sums */
    DDPM_SUM_EXCHANGE, /* bf16: pieces are on their way to the rank that sums them */
    DDPM_SUM_GATHER,   /* bf16: the sums of all pieces are on their way to everyone */
};

/* A sum in flight. */
struct ddpm_sum {
    enum ddpm_sum_stage stage;
    int request;
    float *values;
    size_t count, piece; /* numbers; of a rank's piece */
    uint16_t *to, *from; /* bf16 [ranks, piece]: pieces for each rank, then sums; pieces of each */
};

/* Buffers for summing shares, allocated by the first sum. */
struct ddpm_share_buffers {
    float *to, *from, *sums;
    int own; /* how many shares of a rank fit */
};

struct ddpm_ranks {
    const struct ddpm_transport *transport;
    const char *description;
    int index, count;
    double timeout;
    struct ddpm_rank_place *places; /* [count] */
    struct ddpm_rank_fare *fares;   /* [count] */
    struct ddpm_sum sums[DDPM_MOST_SUMS];
    int sum_count;
    bool *waiting; /* [count]: ranks that have said they are waiting */
    double told;   /* when ddpm_ranks_still_here() last sent a note */
    struct ddpm_share_buffers shares;
    bool lost, speaks;
    char text[512]; /* how they were lost */
};

/* Begin a collective and wait for it. */
ddpm_status ddpm_ranks_run(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call);

/* The failure by which the ranks have lost each other, if they have. */
ddpm_status ddpm_ranks_refuse_lost(const struct ddpm_ranks *ranks);

/* Begin one, and wait for one. */
ddpm_status ddpm_ranks_begin(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call,
                             int *request);
ddpm_status ddpm_ranks_wait_for(struct ddpm_ranks *ranks, int request);

/* Is it done? Does not wait. */
ddpm_status ddpm_ranks_test(struct ddpm_ranks *ranks, int request, bool *done);

/* "rank 2 (host b)" */
const char *ddpm_rank_name(const struct ddpm_ranks *ranks, int rank, char *text, size_t bytes);

#endif
