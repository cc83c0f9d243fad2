/* Pictures drawn by several processes. They go in rounds: in each, every process draws the chunk
 * that is its turn, and the one that leads gets them all, in order. Alone a round is a chunk. */
#ifndef DDPM_PROGRAM_SHARED_DRAWING_H
#define DDPM_PROGRAM_SHARED_DRAWING_H

#include "core/error.h"
#include "sample_output.h"

struct ddpm_shared_drawing {
    char *chunks; /* of all processes; NULL: alone */
};

/* The most pictures of a chunk so that each process gets some, of `chunk` at most. */
int64_t ddpm_shared_chunk(int64_t chunk, int64_t count);

/* The smallest of all processes' chunks: what fits into memory is not the same on every machine. */
ddpm_status ddpm_shared_settle_chunk(int64_t *chunk);

/* How a round went on this process becomes how it went on all, and a signal to one comes to all. */
ddpm_status ddpm_shared_agree(ddpm_status status);

/* Bytes beside the output's own, for chunks of `chunk` pictures of `bytes` each. */
uint64_t ddpm_shared_bytes(int64_t chunk, uint64_t bytes);

/* Allocate them for an output that has begun, or would have on the process that leads. */
ddpm_status ddpm_shared_begin(struct ddpm_shared_drawing *shared,
                              const struct ddpm_sample_output *output);

/* The chunk of process `rank` in the round that begins after output->done: *count pictures from
 * place *offset on; none where nothing is left for it. */
void ddpm_shared_turn(const struct ddpm_sample_output *output, int rank, int64_t *offset,
                      int64_t *count);

/* The end of a round, in which this process fared as `status` says: what all have drawn, from
 * output->pictures or ->values, is added to the output of the one that leads. A failure or signal
 * of one ends all. */
ddpm_status ddpm_shared_add(struct ddpm_shared_drawing *shared, struct ddpm_sample_output *output,
                            ddpm_status status);

void ddpm_shared_clear(struct ddpm_shared_drawing *shared);

#endif
