/* How many pictures are drawn or measured at once. */
#ifndef DDPM_MODEL_BATCH_H
#define DDPM_MODEL_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "graph/graph.h"

enum { DDPM_LARGEST_BATCH = 16 };

/* Batches of equal size: 20 pictures are two of 10, not 16 and 4. 0 pictures: not known. */
int64_t ddpm_even_batch(int64_t pictures);

/* Plan the graph that `build` leaves in *graph for the largest batch that fits. Starts at *batch;
 * unless `may_shrink`, too little memory for that is an error. `doing` is for the log: "drawing".
 */
ddpm_status ddpm_plan_batch(struct ddpm_device *device, struct ddpm_graph **graph, int64_t *batch,
                            bool may_shrink, ddpm_status (*build)(void *user), void *user,
                            const char *doing);

#endif
