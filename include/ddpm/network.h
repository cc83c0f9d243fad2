/* Networks: weights by name, the forward pass, files.
 *
 * A network owns its weights and its EMA weights on a device. Pictures go in and out as fp32
 * [B,C,H,W] in [-1,1], weights in PyTorch's names, shapes and element order. Several networks can
 * live in one process; one network must not be used by two threads at once. */
#ifndef DDPM_NETWORK_H
#define DDPM_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/config.h>
#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What training or drawing takes, in bytes. */
struct ddpm_memory_plan {
    uint64_t activations;  /* arena: activations, gradients of them, scratch */
    uint64_t packed;       /* weights in the kernels' own forms, kept from step to step */
    uint64_t weights;      /* weights, gradients, moments, EMA */
    uint64_t available;    /* free on the device at that time; 0: not known */
    double flops_per_step; /* counted directly, over the whole batch */
};

struct ddpm_network;

/* Build the network that `config` describes and initialise its weights from its seed as PyTorch
 * would (uniform in ±1/√fan_in; norms 1 and 0). EMA weights start as a copy. The configuration is
 * copied. Fails with DDPM_ERROR_ARGUMENT, DDPM_ERROR_MEMORY, or DDPM_ERROR_UNSUPPORTED when the
 * device is not there. */
DDPM_API ddpm_status ddpm_network_create(const struct ddpm_config *config,
                                         struct ddpm_network **out);
DDPM_API void ddpm_network_destroy(struct ddpm_network **network);

/* The configuration in force (borrowed). */
DDPM_API const struct ddpm_config *ddpm_network_config(const struct ddpm_network *network);

enum ddpm_weights { DDPM_WEIGHTS_MODEL, DDPM_WEIGHTS_EMA };

struct ddpm_parameter_info {
    const char *name; /* PyTorch's, "downs.0.0.block.1.weight" */
    int rank;
    int64_t shape[4]; /* PyTorch's */
    int64_t count;
};
DDPM_API size_t ddpm_network_parameter_count(const struct ddpm_network *network);
DDPM_API struct ddpm_parameter_info ddpm_network_parameter(const struct ddpm_network *network,
                                                           size_t index);

/* Elements of all parameters together. */
DDPM_API int64_t ddpm_network_weight_count(const struct ddpm_network *network);

/* Copy one parameter out or in; `count` must be its element count. */
DDPM_API ddpm_status ddpm_network_get(const struct ddpm_network *network, enum ddpm_weights which,
                                      const char *name, float *values, size_t count);
DDPM_API ddpm_status ddpm_network_set(struct ddpm_network *network, enum ddpm_weights which,
                                      const char *name, const float *values, size_t count);

/* y = network(x, t). x, y: fp32 [batch, channels, height, width] (y has the network's out_dim
 * channels), t: int64 [batch], each in [0, timesteps). Height and width must be divisible by
 * 2^(levels-1). The plan for the last shape is kept, so repeated calls allocate nothing. */
DDPM_API ddpm_status ddpm_network_forward(struct ddpm_network *network, enum ddpm_weights which,
                                          const float *x, const int64_t *t, int64_t batch,
                                          int64_t height, int64_t width, float *y);

/* Read weights from a .safetensors file: every parameter must be there with its shape, nothing else
 * may be (DDPM_ERROR_MISMATCH names the first that is not), every value must be finite. On failure
 * the network is unchanged. */
DDPM_API ddpm_status ddpm_network_load(struct ddpm_network *network, enum ddpm_weights which,
                                       const char *path);

/* Write them, fp32, atomically. */
DDPM_API ddpm_status ddpm_network_save(const struct ddpm_network *network, enum ddpm_weights which,
                                       const char *path);

/* Open a run folder, a checkpoint folder or a bare .safetensors with its configuration: `config`
 * may be NULL for the first two; for a bare file it is needed.
 * `which` says whose weights are read, into both slots. Options of the group "run" (device,
 * threads, precision) are taken from `config` when given. */
DDPM_API ddpm_status ddpm_network_open(const char *path, const struct ddpm_config *config,
                                       enum ddpm_weights which, struct ddpm_network **out);

/* One line for people: "CPU (avx2), 2 threads, fp32". Valid as long as the network. */
DDPM_API const char *ddpm_network_device(const struct ddpm_network *network);

#ifdef __cplusplus
}
#endif
#endif
