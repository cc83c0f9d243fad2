/* Read-only access to the inside of a trainer, for measuring tools and tests. */
#ifndef DDPM_TRAINING_INSPECT_H
#define DDPM_TRAINING_INSPECT_H

#include <ddpm/trainer.h>

#include "graph/graph.h"

struct ddpm_trainer_view {
    struct ddpm_graph *graph;              /* of a step */
    int draw, forward, backward, update;   /* its parts */
    const struct ddpm_weight_set *weights; /* of the first network */
    int64_t batch_size, accumulate;
};

struct ddpm_trainer_view ddpm_trainer_inspect(const struct ddpm_trainer *trainer);

#endif
