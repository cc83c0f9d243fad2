/* Memory that the ranks of one machine share. Neighbours are the ranks on this machine that can
 * reach the same memory, including this one; a rank may have none but itself. */
#ifndef DDPM_RANKS_MEMORY_H
#define DDPM_RANKS_MEMORY_H

#include "ranks/ranks.h"

/* How many neighbours there are, and this rank's position among them; 1 and 0 for NULL. */
int ddpm_ranks_neighbours(const struct ddpm_ranks *ranks);
int ddpm_ranks_neighbour(const struct ddpm_ranks *ranks);

/* Does any rank have a neighbour? All ranks get the same answer. */
bool ddpm_ranks_have_neighbours(const struct ddpm_ranks *ranks);

/* Allocate `bytes` zeroed bytes on every machine; all ranks call it. They stay until the ranks are
 * closed; call it once. On failure, which is the same on all ranks, nothing is allocated; the text
 * says why, and on which rank. A rank without neighbours gets nothing, and never fails. */
ddpm_status ddpm_ranks_share_memory(struct ddpm_ranks *ranks, size_t bytes);

/* The address of this memory, aligned to DDPM_ALIGNMENT, and its size; NULL if there is none. The
 * address differs from rank to rank. */
void *ddpm_ranks_shared_memory(const struct ddpm_ranks *ranks, size_t *bytes);

/* Wait for all neighbours; what each wrote to the shared memory before is then seen by all. Only
 * with shared memory. */
ddpm_status ddpm_ranks_meet_neighbours(struct ddpm_ranks *ranks);

#endif
