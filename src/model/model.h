/* A network with its weights on a device: what include/ddpm/network.h calls struct ddpm_network. */
#ifndef DDPM_MODEL_MODEL_H
#define DDPM_MODEL_MODEL_H

#include <limits.h>

#include <ddpm/network.h>

#include "config/config.h"
#include "diffusion/start.h"
#include "formats/safetensors.h"
#include "graph/graph.h"

/* A planned forward pass for one shape and one set of weights. */
struct ddpm_forward_plan {
    struct ddpm_graph *graph;
    struct ddpm_value *x, *time, *y;
    enum ddpm_weights which;
    void *staging; /* host: buffer to transfer x, times and y */
};

struct ddpm_network {
    /* The full configuration that it was made from, for ddpm_network_config() and for files. The
     * network itself uses the groups network and diffusion, the precision, the seed of its initial
     * weights and, to open its own device, the device. Training options belong to the trainer. */
    struct ddpm_config config;
    struct ddpm_weight_set weights;    /* slabs indexed by enum ddpm_weights */
    struct ddpm_parameter_info *infos; /* the parameters as the public interface shows them */
    struct ddpm_device *device;
    bool owns_device;
    enum ddpm_dtype dtype; /* of activations */
    char description[256];
    struct ddpm_forward_plan forward;
    struct ddpm_start *start; /* a fitted start for drawing; NULL: none */
};

void ddpm_forward_plan_clear(struct ddpm_forward_plan *plan);

/* Check everything that a forward pass reads. */
ddpm_status ddpm_forward_check_input(const struct ddpm_network *network,
                                     const struct ddpm_forward_input *input);

/* How much memory a forward pass of this shape needs on top of the weights, which may not be
 * allocated yet. */
ddpm_status ddpm_forward_measure(struct ddpm_network *network, int64_t batch, int64_t height,
                                 int64_t width, struct ddpm_memory_plan *out);

/* Channels of the network's output. */
int64_t ddpm_network_out_channels(const struct ddpm_network *network);

/* DDPM_ERROR_ARGUMENT for an unknown enumerator. */
ddpm_status ddpm_check_weights(enum ddpm_weights which);

/* The files of the model that a path means. */
struct ddpm_model_files {
    char weights[PATH_MAX];
    char folder[PATH_MAX]; /* of the checkpoint; "": a bare weights file */
    char config[PATH_MAX]; /* in that folder; "": a bare weights file */
};

/* Find them for a run, a checkpoint or a weights file. DDPM_ERROR_IO if it is none of these. */
ddpm_status ddpm_model_files_find(const char *path, enum ddpm_weights which,
                                  struct ddpm_model_files *out);

/* Do a checkpoint's weights match the checksum in its state.json? DDPM_ERROR_FORMAT if not. A bare
 * file passes, and so does a folder without a state.json, which somebody put together. */
ddpm_status ddpm_model_files_check(const struct ddpm_model_files *files, enum ddpm_weights which);

/* Read one weights file into both the weights `which` and the other ones. */
ddpm_status ddpm_network_load_both(struct ddpm_network *network, enum ddpm_weights which,
                                   const char *path);

/* Allocate a declared network's weights without initializing them, because they are about to be
 * read. */
ddpm_status ddpm_network_allocate_unset(struct ddpm_network *network);

/* DDPM_ERROR_ARGUMENT for NULL, for a network without weights (ddpm_network_declare()), and for an
 * unknown enumerator. */
ddpm_status ddpm_network_check_use(const struct ddpm_network *network, enum ddpm_weights which);

/* Write host slabs to one safetensors file of fp32 tensors with PyTorch's names and shapes; each
 * slab's `prefix` goes before its names. */
struct ddpm_named_slab {
    const char *prefix; /* "" or "exp_avg." */
    const float *slab;  /* host */
};
ddpm_status ddpm_slabs_write(const struct ddpm_parameters *parameters,
                             const struct ddpm_named_slab *slabs, size_t count, const char *path,
                             const struct ddpm_safetensors_text *metadata, size_t metadata_count);

/* Check that a file holds exactly these values, to verify what was written. DDPM_ERROR_IO if
 * not. */
ddpm_status ddpm_slabs_compare(const struct ddpm_parameters *parameters,
                               const struct ddpm_named_slab *slabs, size_t count, const char *path);

/* Read what ddpm_slabs_write() or PyTorch wrote. The file must hold exactly the expected tensors,
 * each finite and with its shape. For a single slab without a prefix, the file's names may have
 * one: see wrapped_names.h. DDPM_ERROR_MISMATCH, DDPM_ERROR_NOT_FINITE or DDPM_ERROR_FORMAT name
 * the first tensor that is wrong. */
struct ddpm_named_target {
    const char *prefix;
    float *slab; /* host; gaps are not touched */
};
ddpm_status ddpm_slabs_read(const struct ddpm_parameters *parameters,
                            const struct ddpm_named_target *targets, size_t count,
                            const char *path);

#endif
