/* The optimizer of one weight set: AdamW, or Muon for its matrices and AdamW for the rest. It
 * owns the moments, the hyper-parameters, the moving averages of the weights, and its part of a
 * graph. */
#ifndef DDPM_TRAINING_OPTIMIZER_H
#define DDPM_TRAINING_OPTIMIZER_H

#include "config/config.h"
#include "graph/ops.h"

struct ddpm_optimizer {
    struct ddpm_weight_set *set;               /* borrowed */
    const struct ddpm_training_config *config; /* borrowed; may change between steps */
    void *m, *v; /* slabs on the set's device: AdamW's moments; Muon keeps its momentum in m and
                    leaves its part of v 0 */
    void *second_ema; /* same; NULL: none */
    int64_t first,
        count;        /* the stretch of the slab that is updated and has moments; 0: all of it */
    bool divides_ema; /* the average also covers only that stretch: in `ema`, not in the set */
    void *ema;
    bool holds_gradients;
    int copy;                         /* the part that refreshes the bf16 copies; -1: none */
    int update;                       /* the part that clips, updates and averages */
    struct ddpm_value *hyper, *rules; /* rules: NULL if all weights follow one */
    struct ddpm_value *norm;          /* the caller writes it if only a stretch is updated */
};

/* Allocate the moments and the second average, and the set's gradients and copies unless another
 * optimizer has done so. Release it in any case. */
ddpm_status ddpm_optimizer_allocate(struct ddpm_optimizer *optimizer);
void ddpm_optimizer_release(struct ddpm_optimizer *optimizer);

/* Bytes of the optimizer itself, and of the set's gradients and copies. */
size_t ddpm_optimizer_bytes(const struct ddpm_optimizer *optimizer);
size_t ddpm_optimizer_set_bytes(const struct ddpm_optimizer *optimizer);

/* What the update of one parameter costs, in multiplications of Muon's matrices. */
double ddpm_optimizer_cost(const struct ddpm_training_config *config,
                           const struct ddpm_parameter *parameter);

/* Does it keep a second average of the weights? */
bool ddpm_second_ema_wanted(const struct ddpm_training_config *config);

/* Append the part that refreshes the bf16 copies, if the set keeps some. It must come before
 * whatever reads them. */
void ddpm_optimizer_build_copy(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph);

/* Append the update. It does nothing if the `losses` [B,1,1,1] or the gradients are not finite. */
void ddpm_optimizer_build_update(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                 struct ddpm_value *losses);

/* Write the constants of every step. Call it once for each graph, after it is allocated. */
ddpm_status ddpm_optimizer_write_rules(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph);

/* Write the hyper-parameters of the next step after `done` steps. *lr receives its learning
 * rate. */
ddpm_status ddpm_optimizer_set_step(struct ddpm_optimizer *optimizer, struct ddpm_graph *graph,
                                    int64_t done, double *lr);

/* Refresh the copies after somebody else has changed the values. */
ddpm_status ddpm_optimizer_refresh_copies(struct ddpm_optimizer *optimizer,
                                          struct ddpm_graph *graph);

/* Learning rate and EMA decays of the next step after `done` steps; see docs/model.md. */
double ddpm_learning_rate(const struct ddpm_training_config *config, int64_t done);
double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done);
double ddpm_second_ema_decay(const struct ddpm_training_config *config, int64_t done);

#endif
