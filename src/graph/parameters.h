/* The parameters of a network: PyTorch's names and shapes, and their places in a slab.
 *
 * Weights, gradients, AdamW's two moments and the EMA are one slab each, all with the same layout:
 * parameter i starts at element items[i].offset, on a 64-byte boundary; the gaps are zero and stay
 * zero. Inside, a parameter is [K,R,S,C] (see kernels/kernels.h), while PyTorch's element order is
 * [K,C,R,S]; the two agree for vectors and matrices. */
#ifndef DDPM_GRAPH_PARAMETERS_H
#define DDPM_GRAPH_PARAMETERS_H

#include "core/error.h"
#include "tensor/tensor.h"

/* PyTorch's default initialisation: uniform in ±1/√fan_in for convolutions and linear layers,
 * constants for norms. */
enum ddpm_initial { DDPM_INITIAL_UNIFORM, DDPM_INITIAL_ZERO, DDPM_INITIAL_ONE };

struct ddpm_parameter {
    char *name; /* "downs.0.0.block.1.weight" */
    int rank;   /* of PyTorch's shape */
    int64_t shape[4];
    int64_t k, r, s, c; /* internal shape; k·r·s·c elements */
    int64_t offset;     /* in elements from the start of a slab */
    int64_t fan_in;
    enum ddpm_initial initial;
};

struct ddpm_parameters {
    struct ddpm_parameter *items;
    size_t count, capacity;
    int64_t slab_count; /* elements of a slab, gaps included */
};

/* Find `wanted->name`, or add a copy of *wanted and give it a place. DDPM_ERROR_MISMATCH if the
 * parameter exists with a different shape. *index receives its index. */
ddpm_status ddpm_parameters_declare(struct ddpm_parameters *parameters,
                                    const struct ddpm_parameter *wanted, size_t *index);

/* Index of a name, or count if there is none. */
size_t ddpm_parameters_find(const struct ddpm_parameters *parameters, const char *name);

/* Elements of one parameter. */
int64_t ddpm_parameter_count(const struct ddpm_parameter *parameter);

/* Elements of all parameters, without the gaps. */
int64_t ddpm_parameters_total(const struct ddpm_parameters *parameters);

/* Copy one parameter between PyTorch's order (`dense`) and its place in an fp32 slab on the
 * host. */
void ddpm_parameter_to_slab(const struct ddpm_parameter *parameter, const float *dense,
                            float *slab);
void ddpm_parameter_from_slab(const struct ddpm_parameter *parameter, const float *slab,
                              float *dense);

/* Fill a host slab with initial weights: stream DDPM_STREAM_WEIGHTS, sample = hash of the name. */
void ddpm_parameters_initialize(const struct ddpm_parameters *parameters, uint64_t seed,
                                float *slab);

void ddpm_parameters_clear(struct ddpm_parameters *parameters);

#endif
