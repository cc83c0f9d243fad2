/* Placing values in the arena. */
#ifndef DDPM_GRAPH_PLAN_H
#define DDPM_GRAPH_PLAN_H

#include <stddef.h>

#include "core/error.h"

/* A block of memory needed from node `first` to node `last`, inclusive. */
struct ddpm_storage {
    size_t bytes;
    int first, last;
    size_t offset; /* result */
};

/* The result of steps 1 to 4 of plan.c. */
struct ddpm_plan {
    /* First the values' storage, then the nodes' scratch, then their packed weights. */
    struct ddpm_storage *storages;
    int count;
    int scratch, packed; /* where these start */
};

/* Give every storage an offset so that no two needed at the same time overlap: largest first, each
 * at the lowest offset that fits. *arena_bytes receives the total size. */
ddpm_status ddpm_place_storages(struct ddpm_storage *storages, size_t count, size_t *arena_bytes);

#endif
