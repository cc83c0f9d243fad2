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
    struct ddpm_value *x, *t, *y;
    enum ddpm_weights which;
    void *staging; /* host: x and t on their way in, y on its way out */
};

struct ddpm_network {
    struct ddpm_config config;
    struct ddpm_parameters parameters;
    struct ddpm_parameter_info *infos; /* the public face of parameters */
    struct ddpm_device *device;
    enum ddpm_dtype dtype; /* of activations */
    char description[256];
    void *slabs[2];  /* weights, EMA: fp32 on the device, by enum ddpm_weights */
    int64_t changes; /* how often either has changed */
    struct ddpm_forward_plan forward;
};

/* Tell the network's own plans, and whoever looks at `changes`, that a slab has changed. */
void ddpm_network_weights_changed(struct ddpm_network *network);

/* Bytes of one fp32 slab. */
size_t ddpm_network_slab_bytes(const struct ddpm_network *network);

/* Write a host slab as a safetensors file of fp32 tensors in PyTorch's names and shapes; `prefix`
 * stands before every name. Several slabs may go into one file. */
struct ddpm_named_slab {
    const char *prefix; /* "" or "exp_avg." */
    const float *slab;  /* host */
};
ddpm_status ddpm_slabs_write(const struct ddpm_parameters *parameters,
                             const struct ddpm_named_slab *slabs, size_t count, const char *path,
                             const struct ddpm_safetensors_text *metadata, size_t metadata_count);

/* Does a file hold these very values? DDPM_ERROR_IO when it does not: for reading back what was
 * written. */
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
