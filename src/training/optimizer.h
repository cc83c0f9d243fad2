/* AdamW over one weight set, or Muon for its matrices and AdamW for the rest: its moments, its
 * hyper-parameters, the moving averages of the weights, and its part of a graph. */
#ifndef DDPM_TRAINING_OPTIMIZER_H
#define DDPM_TRAINING_OPTIMIZER_H

#include "config/config.h"
#include "graph/ops.h"

struct ddpm_optimizer {
    struct ddpm_weight_set *set;               /* borrowed */
    const struct ddpm_training_config *config; /* borrowed; may change between steps */
    void *m, *v; /* slabs on the set's device: AdamW's moments; Muon's momentum is in m, and its
                  * part of v stays 0 */
    void *second_ema;     /* as well; NULL: none */
    int64_t first, count; /* the stretch of the slab that is updated and has moments; 0: all */
    bool divides_ema; /* the average too is kept of that stretch only: in `ema`, not in the set */
    void *ema;
    bool holds_gradients;
    int copy;                                /* the part that refreshes the bf16 copies; -1: none */
    int update;                              /* the part that clips, steps and averages */
    struct ddpm_value *hyper, *norm, *rules; /* rules: NULL, where all weights follow one */
};

/* Allocate the moments and the second average, and the set's gradients and copies unless another
 * optimizer has. Release in any case. */
ddpm_status ddpm_optimizer_allocate(struct ddpm_optimizer *optimizer);
void ddpm_optimizer_release(struct ddpm_optimizer *optimizer);

/* Bytes beside the set's values and averages, and the set's of these two. */
size_t ddpm_optimizer_bytes(const struct ddpm_optimizer *optimizer);
size_t ddpm_optimizer_set_bytes(const struct ddpm_optimizer *optimizer);

/* Is a second average of the weights kept? */
bool ddpm_second_ema_wanted(const struct ddpm_training_config *config);

/* Append the part that refreshes the copies, if the set keeps some; before whatever reads them. */
void ddpm_optimizer_build_copy(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph);

/* Append the update. If the `losses` [B,1,1,1] or the gradients are not finite, it does nothing. */
void ddpm_optimizer_build_update(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                 struct ddpm_value *losses);

/* Write what is the same in every step; once, after the graph was allocated. */
ddpm_status ddpm_optimizer_write_rules(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph);

/* Write the hyper-parameters of the step after `done` steps. Returns its learning rate in *lr. */
ddpm_status ddpm_optimizer_set_step(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                    int64_t done, double *lr);

/* Bring the copies up to date where somebody else has changed the values. */
ddpm_status ddpm_optimizer_refresh_copies(struct ddpm_optimizer *optimizer,
                                          struct ddpm_graph *graph);

/* Learning rate and EMA decays of the step after `done` steps; see docs/model.md. */
double ddpm_learning_rate(const struct ddpm_training_config *config, int64_t done);
double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done);
double ddpm_second_ema_decay(const struct ddpm_training_config *config, int64_t done);

#endif
