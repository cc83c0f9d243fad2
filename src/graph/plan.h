/* Placing values in the arena. */
#ifndef DDPM_GRAPH_PLAN_H
#define DDPM_GRAPH_PLAN_H

#include <stddef.h>

#include "core/error.h"

/* A stretch of memory needed from node `first` to node `last`, both included. */
struct ddpm_storage {
    size_t bytes;
    int first, last;
    size_t offset; /* result */
};

/* What steps 1 to 4 of plan.c have found out. */
struct ddpm_plan {
    /* Those of the values first, then every node's scratch, then its packed form. */
    struct ddpm_storage *storages;
    int count;
    int scratch, packed; /* where the nodes' begin */
};

/* Give every storage an offset so that no two that are needed at the same time overlap: largest
 * first, each at the lowest offset that fits. *arena_bytes receives the end. */
ddpm_status ddpm_place_storages(struct ddpm_storage *storages, size_t count, size_t *arena_bytes);

#endif
