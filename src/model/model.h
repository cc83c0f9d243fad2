/* A network with its weights on a device: what include/ddpm/network.h calls struct ddpm_network. */
#ifndef DDPM_MODEL_MODEL_H
#define DDPM_MODEL_MODEL_H

#include <ddpm/network.h>

#include "config/config.h"
#include "formats/safetensors.h"
#include "graph/graph.h"

/* A planned forward pass for one shape and one set of weights. */
struct ddpm_forward_plan {
    struct ddpm_graph *graph;
    struct ddpm_value *x, *time, *y;
    enum ddpm_weights which;
    void *staging; /* host: x and times on their way in, y on its way out */
};

struct ddpm_network {
    /* What it was made from, whole, for ddpm_network_config() and for files. A network reads its
     * groups network and diffusion, the precision, the seed of its initial weights and, to open a
     * device of its own, the device. How it is trained is the trainer's. */
    struct ddpm_config config;
    struct ddpm_weight_set weights;    /* slabs by enum ddpm_weights */
    struct ddpm_parameter_info *infos; /* the public face of the parameters */
    struct ddpm_device *device;
    bool owns_device;
    enum ddpm_dtype dtype; /* of activations */
    char description[256];
    struct ddpm_forward_plan forward;
};

void ddpm_forward_plan_clear(struct ddpm_forward_plan *plan);

/* What a forward pass of this shape takes beside the weights, which the network need not have. */
ddpm_status ddpm_forward_measure(struct ddpm_network *network, int64_t batch, int64_t height,
                                 int64_t width, struct ddpm_memory_plan *out);

/* Channels of the network's result. */
int64_t ddpm_network_out_channels(const struct ddpm_network *network);

/* DDPM_ERROR_ARGUMENT for an enumerator that is not one. */
ddpm_status ddpm_check_weights(enum ddpm_weights which);

/* Allocate the weights of a declared network for values that are about to be read: nothing is
 * initialized. */
ddpm_status ddpm_network_allocate_unset(struct ddpm_network *network);

/* DDPM_ERROR_ARGUMENT for NULL, for a network without weights (ddpm_network_declare()), and for an
 * enumerator that is not one. */
ddpm_status ddpm_network_check_use(const struct ddpm_network *network, enum ddpm_weights which);

/* Write a host slab as a safetensors file of fp32 tensors in PyTorch's names and shapes; `prefix`
 * stands before every name. Several slabs may go into one file. */
struct ddpm_named_slab {
    const char *prefix; /* "" or "exp_avg." */
    const float *slab;  /* host */
};
ddpm_status ddpm_slabs_write(const struct ddpm_parameters *parameters,
                             const struct ddpm_named_slab *slabs, size_t count, const char *path,
                             const struct ddpm_safetensors_text *metadata, size_t metadata_count);

/* Does a file hold these very values? For reading back what was written. DDPM_ERROR_IO when it does
 * not. */
ddpm_status ddpm_slabs_compare(const struct ddpm_parameters *parameters,
                               const struct ddpm_named_slab *slabs, size_t count, const char *path);

/* Read what ddpm_slabs_write() wrote, or PyTorch: every tensor must be there with its shape and
 * finite, and no other. Of a single slab without prefix the file may have one: wrapped_names.h.
 * DDPM_ERROR_MISMATCH, DDPM_ERROR_NOT_FINITE or DDPM_ERROR_FORMAT name the first that is wrong. */
struct ddpm_named_target {
    const char *prefix;
    float *slab; /* host; gaps are left alone */
};
ddpm_status ddpm_slabs_read(const struct ddpm_parameters *parameters,
                            const struct ddpm_named_target *targets, size_t count,
                            const char *path);

#endif
