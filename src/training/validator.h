/* Measuring the validation loss: a forward pass with the EMA weights. */
#ifndef DDPM_TRAINING_VALIDATOR_H
#define DDPM_TRAINING_VALIDATOR_H

#include "config/config.h"
#include "graph/graph.h"

struct ddpm_trainer;

struct ddpm_validator {
    bool wanted;              /* set before the graph is laid out */
    struct ddpm_graph *graph; /* built by the task */
    struct ddpm_value *pictures, *flips, *counters, *rows, *loss;
    int64_t levels; /* of each picture */
    /* Of one batch in host memory, and the losses of all evaluations. */
    uint8_t *host_pictures;
    int32_t *host_counters;
    float *host_rows, *losses;
};

/* Will a run with this configuration validate? False while "auto" is not resolved. */
bool ddpm_validator_is_configured(const struct ddpm_config *config);

/* Build and lay out the graph, again if there is one, for training batches of this size. Does
 * nothing if validation is off. */
ddpm_status ddpm_validator_lay_out(struct ddpm_trainer *trainer, int64_t batch);

/* Bytes of the laid-out graph: its arena and its packed weights. */
size_t ddpm_validator_bytes(const struct ddpm_validator *validator);

ddpm_status ddpm_validator_allocate(struct ddpm_trainer *trainer);
void ddpm_validator_release(struct ddpm_validator *validator);

#endif
