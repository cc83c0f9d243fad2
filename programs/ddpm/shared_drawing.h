/* Pictures drawn by several processes, in rounds: in each, every process draws its chunk, and the
 * leader gets all of them, in order. Alone, a round is one chunk. */
#ifndef DDPM_PROGRAM_SHARED_DRAWING_H
#define DDPM_PROGRAM_SHARED_DRAWING_H

#include "core/error.h"
#include "sample_output.h"

struct ddpm_shared_drawing {
    char *chunks; /* of all processes; NULL: alone */
};

/* The largest chunk that leaves pictures for every process; at most `chunk`. */
int64_t ddpm_shared_chunk(int64_t chunk, int64_t count);

/* The smallest chunk of all processes: not every machine has the same memory. */
ddpm_status ddpm_shared_settle_chunk(int64_t *chunk);

/* Combine this process's status after a round with those of the others; a signal to one is a signal
 * to all. */
ddpm_status ddpm_shared_agree(ddpm_status status);

/* Bytes in addition to the output's own, for chunks of `chunk` pictures of `bytes` each. */
uint64_t ddpm_shared_bytes(int64_t chunk, uint64_t bytes);

/* Allocate them for an output that has been started, or would be on the leader. */
ddpm_status ddpm_shared_begin(struct ddpm_shared_drawing *shared,
                              const struct ddpm_sample_output *output);

/* The chunk of process `rank` in the round that starts after output->done: *count pictures from
 * number *offset on; none if nothing is left for it. */
void ddpm_shared_turn(const struct ddpm_sample_output *output, int rank, int64_t *offset,
                      int64_t *count);

/* End a round; `status` says how it went on this process. The leader adds to its output what all
 * have drawn, from output->pictures or ->values. A failure or signal of one ends all. */
ddpm_status ddpm_shared_add(struct ddpm_shared_drawing *shared, struct ddpm_sample_output *output,
                            ddpm_status status);

void ddpm_shared_clear(struct ddpm_shared_drawing *shared);

#endif
