/* The fields of struct ddpm_ranks, shared by the files of this folder. */
#ifndef DDPM_RANKS_STATE_H
#define DDPM_RANKS_STATE_H

#include "ranks/nccl.h"
#include "ranks/ranks.h"
#include "ranks/transport.h"

enum { DDPM_HOST_BYTES = 64, DDPM_SUMS_AT_ONCE = 8, DDPM_MOST_QUEUED = 256 };
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
    DDPM_SUM_EXCHANGE, /* pieces are on their way to the rank that sums them */
    DDPM_SUM_GATHER,   /* the sums of all pieces are on their way to everyone */
    DDPM_SUM_COLLECT,  /* everybody's values are on their way to the rank that sums them */
};

/* A sum in flight. A rank's piece is the part that it sums; with COLLECT, all values. */
struct ddpm_sum {
    enum ddpm_sum_stage stage;
    int request;
    float *values;
    size_t count, piece; /* numbers; of the longest piece */
    void *own;           /* this rank's values as they travel: over fp32 `values` itself */
    void *others;        /* [ranks - 1, piece]: what the others sent for this rank's piece */
    int *parts;          /* [4][ranks]: counts and starts for the transport */
};

/* What is left of a sum that has not begun. */
struct ddpm_queued_sum {
    int root; /* negative: every rank needs it */
    float *values;
    size_t count;
};

/* All sums: a few in flight, each with a slot of the room, and those that wait for one. */
struct ddpm_sums {
    enum ddpm_dtype wire;
    size_t piece; /* numbers of a piece, at most */
    char *room;   /* [DDPM_SUMS_AT_ONCE] slots: others', and own unless over fp32 */
    int *parts;   /* [DDPM_SUMS_AT_ONCE][4][ranks] */
    struct ddpm_sum flying[DDPM_SUMS_AT_ONCE]; /* a ring: they begin and end in order */
    int first, count;
    struct ddpm_queued_sum queue[DDPM_MOST_QUEUED];
    int queue_count;
};

/* One chunk of every rank's part, in the form that transports need. */
struct ddpm_part_buffers {
    int *counts, *starts;                   /* [ranks] */
    int *received_counts, *received_starts; /* [ranks] */
};

/* Buffers for summing shares, allocated by the first sum. */
struct ddpm_share_buffers {
    float *to, *from, *sums;
    int own; /* how many shares per rank fit */
};

struct ddpm_ranks {
    const struct ddpm_transport *transport;
    const struct ddpm_nccl *nccl; /* adds up gradients; NULL: the transport does */
    bool apart;                   /* no launcher ends the others when one ends */
    const char *description;
    int index, count;
    double timeout;
    struct ddpm_rank_place *places; /* [count] */
    struct ddpm_rank_fare *fares;   /* [count] */
    int *lowest;                    /* [count]: the lowest neighbour of each rank */
    void *shared;                   /* with the neighbours; NULL: nothing */
    size_t shared_bytes;
    struct ddpm_sums sums;
    bool *waiting; /* [count]: ranks that have said they are waiting */
    double told;   /* when ddpm_ranks_still_here() last sent a note */
    struct ddpm_share_buffers shares;
    struct ddpm_part_buffers parts;
    bool lost, speaks;
    char text[512]; /* how they were lost */
};

/* Wait until `test` says that `request` is done, but no longer than the timeout. */
typedef ddpm_status ddpm_ranks_condition(int request, bool *done);
ddpm_status ddpm_ranks_wait_until(struct ddpm_ranks *ranks, ddpm_ranks_condition *test,
                                  int request);

/* The transport has failed with the current error: from now on every call returns that error. */
ddpm_status ddpm_ranks_lose(struct ddpm_ranks *ranks);
/* If the ranks have lost each other, the failure that caused it. */
ddpm_status ddpm_ranks_refuse_lost(const struct ddpm_ranks *ranks);

/* NCCL's part of the CUDA plug-in, with its library loaded; nccl.c. And a transport that sends
 * everything over NCCL, for processes without MPI. Before an abort, ddpm_nccl_part() waits for rank
 * 0 to report the error.
 */
ddpm_status ddpm_nccl_open(const struct ddpm_nccl **out);
const struct ddpm_transport *ddpm_nccl_transport(double timeout);
void ddpm_nccl_part(int seconds);
/* Only for such processes: fail if another one says that it ends; tell the others that this one
 * ends, with the current error; and give them time to read that. */
ddpm_status ddpm_nccl_look(void);
void ddpm_nccl_say_end(void);
void ddpm_nccl_fail(void);

/* At most `most` floats of a stretch, after its first `done`. */
static inline struct ddpm_stretch ddpm_rest_of(const struct ddpm_stretch *part, int64_t done,
                                               int64_t most)
{
    const int64_t begin = done < part->count ? done : part->count, left = part->count - begin;
    return (struct ddpm_stretch){part->first + begin, left < most ? left : most};
}

/* Floats of the longest of all ranks' parts. */
int64_t ddpm_ranks_longest_part(const struct ddpm_ranks *ranks, const struct ddpm_stretch *parts);

/* Allocate the buffers of parts, once the number of ranks is known. */
ddpm_status ddpm_ranks_allocate_parts(struct ddpm_ranks *ranks);
void ddpm_ranks_release_parts(struct ddpm_ranks *ranks);

/* DDPM_ERROR_UNSUPPORTED if the ranks are joined by NCCL without MPI: it has neither unequal parts
 * nor SUM_AT. */
ddpm_status ddpm_ranks_want_parts(const struct ddpm_ranks *ranks);

void ddpm_ranks_release_sums(struct ddpm_ranks *ranks);

/* Find everybody's neighbours, and give shared memory back; memory.c. */
ddpm_status ddpm_ranks_find_neighbours(struct ddpm_ranks *ranks);
void ddpm_ranks_unshare_memory(struct ddpm_ranks *ranks);

/* Begin a collective and wait for it. */
ddpm_status ddpm_ranks_run(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call);

/* The two halves of ddpm_ranks_run(). */
ddpm_status ddpm_ranks_begin(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call,
                             int *request);
ddpm_status ddpm_ranks_wait_for(struct ddpm_ranks *ranks, int request);

/* Is it done? Does not wait. */
ddpm_status ddpm_ranks_test(struct ddpm_ranks *ranks, int request, bool *done);

/* "rank 2 (host b)" */
const char *ddpm_rank_name(const struct ddpm_ranks *ranks, int rank, char *text, size_t bytes);

#endif
