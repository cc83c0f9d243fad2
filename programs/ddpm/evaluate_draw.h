/* Pictures for a comparison, drawn from a model into memory. */
#ifndef DDPM_PROGRAM_EVALUATE_DRAW_H
#define DDPM_PROGRAM_EVALUATE_DRAW_H

#include <ddpm/sampler.h>

#include "evaluate_side.h"

struct ddpm_evaluate_drawing {
    const struct ddpm_arguments *arguments;
    int64_t count, batch; /* set by the caller, with the arguments; batch 0: as many as fit */
    struct ddpm_opened_model model;
    struct ddpm_config *config; /* the model's configuration, changed by the command line */
    struct ddpm_sampler *sampler;
    uint64_t seed;
};

/* Open the model at `path` and plan the chain. Fills in the shape. Options that do not fit, and
 * pictures that do not fit into memory, fail before weights are read. */
ddpm_status ddpm_evaluate_open(struct ddpm_evaluate_drawing *drawing, const char *path,
                               struct ddpm_side_shape *shape);

/* Draw `count` pictures, keep them in the side, and build its set. Closes the model. Several
 * processes share the pictures, and must all call it; only the leader has them in the end. */
ddpm_status ddpm_evaluate_draw(struct ddpm_evaluate_drawing *drawing, struct ddpm_side *side,
                               const char *features);

/* Free everything; even after a failure. */
void ddpm_evaluate_close(struct ddpm_evaluate_drawing *drawing);

#endif
