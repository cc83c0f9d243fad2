/* Pictures for a comparison, drawn from a model into memory. */
#ifndef DDPM_PROGRAM_EVALUATE_DRAW_H
#define DDPM_PROGRAM_EVALUATE_DRAW_H

#include <ddpm/sampler.h>

#include "evaluate_side.h"

struct ddpm_evaluate_drawing {
    const struct ddpm_arguments *arguments;
    int64_t count, batch; /* to be set, with the arguments; batch 0: as many as fit */
    struct ddpm_opened_model model;
    struct ddpm_config *config; /* the model's, with what the command line has over it */
    struct ddpm_sampler *sampler;
    uint64_t seed;
};

/* Open the model at `path` and plan the chain. Fills the shape. Whatever does not fit is refused
 * before weights are read, the pictures in memory included. */
ddpm_status ddpm_evaluate_open(struct ddpm_evaluate_drawing *drawing, const char *path,
                               struct ddpm_side_shape *shape);

/* Draw `count` pictures, keep them in the side, and make its set. The model is closed. Several
 * processes share the pictures, and must all call it; only the one that leads has them in the end.
 */
ddpm_status ddpm_evaluate_draw(struct ddpm_evaluate_drawing *drawing, struct ddpm_side *side,
                               const char *features);

/* Free all; also after failures. */
void ddpm_evaluate_close(struct ddpm_evaluate_drawing *drawing);

#endif
