/** @file
 * Devices and networks: weights by name, the forward pass, files.
 *
 * Open a device once; several networks may share it. A network owns its weights and their moving
 * average (EMA) on its device. Pictures go in and out as fp32 [B,C,H,W] in [-1,1]. Weights have
 * PyTorch's names, shapes and element order. A process may hold several networks. Two threads must
 * not use the same network at once, nor two networks that share a device.
 *
 * Every function checks its arguments. A NULL where none is allowed, a buffer of the wrong length
 * or an unknown enumerator gives DDPM_ERROR_ARGUMENT (0, NULL or "" from functions that return no
 * status). */
#ifndef DDPM_NETWORK_H
#define DDPM_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/config.h>
#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How much memory training or drawing needs, in bytes. */
struct ddpm_memory_plan {
    uint64_t activations;  /**< arena: activations, their gradients, scratch */
    uint64_t packed;       /**< weights in the kernels' own layouts, kept from step to step */
    uint64_t weights;      /**< weights, EMA; for training also gradients, moments, bf16 copies */
    uint64_t host;         /**< host memory on top: batches read ahead, checkpoint buffers */
    uint64_t available;    /**< free on the device when planned; 0: not known */
    double flops_per_step; /**< operations of one step over the whole batch, counted directly */
    double reserved[4];    /**< 0; for later versions */
};

/** A device that networks compute on. */
struct ddpm_device;

/** Open the device that the configuration's run group names (device, threads, conv). On success the
 * caller owns *out and closes it with ddpm_device_destroy(), after destroying every network on it.
 * On failure *out is NULL. Fails with DDPM_ERROR_UNSUPPORTED if the device does not exist,
 * DDPM_ERROR_ARGUMENT, DDPM_ERROR_MEMORY or DDPM_ERROR_DEVICE. */
DDPM_API ddpm_status ddpm_device_create(const struct ddpm_config *config, struct ddpm_device **out);

/** Close a device and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_device_destroy(struct ddpm_device **device);

/** A network with its weights. */
struct ddpm_network;

/** Build the network that `config` describes, on a device of its own, and initialise its weights
 * from the configuration's seed as PyTorch would (uniform in ±1/√fan_in; norms 1 and 0). The EMA
 * weights start as a copy of these. The configuration is copied. On success the caller owns *out
 * and frees it with ddpm_network_destroy(). On failure *out is NULL. Fails with
 * DDPM_ERROR_ARGUMENT, DDPM_ERROR_MEMORY (before allocating weights that would not fit), or
 * DDPM_ERROR_UNSUPPORTED if the device does not exist. */
DDPM_API ddpm_status ddpm_network_create(const struct ddpm_config *config,
                                         struct ddpm_network **out);

/** The same on an open device (borrowed; must outlive the network). The configuration's device,
 * threads and conv are ignored. */
DDPM_API ddpm_status ddpm_network_create_on(struct ddpm_device *device,
                                            const struct ddpm_config *config,
                                            struct ddpm_network **out);

/** Make a network without allocating its weights, to find out how much memory training or drawing
 * would need: see ddpm_trainer_measure() and ddpm_sampler_measure(). Until ddpm_network_allocate()
 * has succeeded, every call that needs weights fails with DDPM_ERROR_ARGUMENT. `device` may be
 * NULL: the network then opens a device of its own. Ownership and errors are those of
 * ddpm_network_create(). */
DDPM_API ddpm_status ddpm_network_declare(struct ddpm_device *device,
                                          const struct ddpm_config *config,
                                          struct ddpm_network **out);

/** Allocate and initialise the weights of a declared network; does nothing if it has weights
 * already. On failure (DDPM_ERROR_MEMORY, with the bytes needed and free) the network is
 * unchanged. */
DDPM_API ddpm_status ddpm_network_allocate(struct ddpm_network *network);

/** Free a network and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_network_destroy(struct ddpm_network **network);

/** The configuration that the network was made from (borrowed, valid as long as the network). */
DDPM_API const struct ddpm_config *ddpm_network_config(const struct ddpm_network *network);

/** How a picture's channel values are stored. */
enum ddpm_sample_type {
    DDPM_SAMPLE_U8 /**< uint8, 0 … 255 mean -1 … 1 */
};

/** The pictures a network was made for. */
struct ddpm_picture_format {
    int64_t height;             /**< pixels */
    int64_t width;              /**< pixels */
    int64_t channels;           /**< 1 grey, 3 RGB, 4 RGBA, other: bands */
    int64_t out_channels;       /**< of the network's output */
    enum ddpm_sample_type type; /**< of drawn pictures */
    uint64_t bytes;             /**< of one drawn picture: height · width · channels */
    int64_t timesteps;          /**< T of the diffusion */
    int64_t multiple;           /**< height and width must be multiples of this */
    int64_t reserved[4];        /**< 0; for later versions */
};

/** Fill *out with the format of the network's pictures. */
DDPM_API ddpm_status ddpm_network_picture_format(const struct ddpm_network *network,
                                                 struct ddpm_picture_format *out);

/** Which weights: those that training changes, or their moving average. */
enum ddpm_weights {
    DDPM_WEIGHTS_MODEL, /**< the trained weights */
    DDPM_WEIGHTS_EMA    /**< their exponential moving average */
};

/** One parameter of a network. */
struct ddpm_parameter_info {
    const char *name; /**< PyTorch's: "downs.0.0.block.1.weight"; borrowed from the network */
    int rank;         /**< of PyTorch's shape */
    int64_t shape[4]; /**< PyTorch's */
    int64_t count;    /**< elements */
};

/** How many parameters the network has. */
DDPM_API size_t ddpm_network_parameter_count(const struct ddpm_network *network);

/** Parameter `index` in [0, count). All fields are zero for a larger index. */
DDPM_API struct ddpm_parameter_info ddpm_network_parameter(const struct ddpm_network *network,
                                                           size_t index);

/** Elements of all parameters together. */
DDPM_API int64_t ddpm_network_weight_count(const struct ddpm_network *network);

/** Copy one parameter to `values`, in PyTorch's element order. `count` is the length of `values`
 * and must equal the parameter's element count. DDPM_ERROR_ARGUMENT for an unknown name. */
DDPM_API ddpm_status ddpm_network_get(const struct ddpm_network *network, enum ddpm_weights which,
                                      const char *name, float *values, size_t count);

/** Set one parameter from `count` values; `count` must equal its element count. Errors are those of
 * ddpm_network_get(); the parameter is then unchanged. */
DDPM_API ddpm_status ddpm_network_set(struct ddpm_network *network, enum ddpm_weights which,
                                      const char *name, const float *values, size_t count);

/** What ddpm_network_forward() reads. Zero the struct, then set `size` and the rest. */
struct ddpm_forward_input {
    size_t size;    /**< sizeof(struct ddpm_forward_input) */
    const float *x; /**< [batch, channels, height, width] */
    size_t x_count; /**< elements of x */
    /** [batch], each in [0, T-1]. Give this or `times`; the other is NULL. */
    const int64_t *timesteps;
    /** [batch], may be fractional. Objectives with a schedule: each in [0, T-1]. Objective flow:
     * T·t, in [0, T]. Objective edm: ln(sigma)/4. */
    const float *times;
    size_t time_count; /**< elements of timesteps or times */
    int64_t batch;     /**< pictures */
    int64_t height;    /**< pixels, a multiple of ddpm_picture_format.multiple */
    int64_t width;     /**< pixels, likewise a multiple */
};

/** y = network(x, t), where y is fp32 [batch, out_channels, height, width] of exactly `y_count`
 * elements. The plan for the last shape is kept, so repeated calls with one shape allocate nothing.
 * DDPM_ERROR_ARGUMENT, DDPM_ERROR_MEMORY, DDPM_ERROR_DEVICE. */
DDPM_API ddpm_status ddpm_network_forward(struct ddpm_network *network, enum ddpm_weights which,
                                          const struct ddpm_forward_input *input, float *y,
                                          size_t y_count);

/** The pictures that the network predicts from noisy ones: x̂_0 from x = α·x_0 + σ·ε and the output
 * of ddpm_network_forward(), as the objective defines it (docs/objectives.md). `input` is as there,
 * but x is not scaled by the caller for objective edm; its time says how noisy it is. x0 has the
 * shape of x, `x0_count` elements; it is not clipped. x and x0 must not overlap. Errors are those
 * of ddpm_network_forward(); x0 is undefined after a failure. */
DDPM_API ddpm_status ddpm_network_predict_x0(struct ddpm_network *network, enum ddpm_weights which,
                                             const struct ddpm_forward_input *input, float *x0,
                                             size_t x0_count);

/** The noise level of a time: *alpha and *sigma of x = α·x_0 + σ·ε, where `time` is what the
 * network would be given (ddpm_forward_input.timesteps or .times). With ddpm_network_predict_x0()
 * this is all that a sampler of your own needs. The network needs no weights. Both are
 * written on success only. DDPM_ERROR_ARGUMENT for a time outside the range of the objective;
 * DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_network_level(const struct ddpm_network *network, double time,
                                        double *alpha, double *sigma);

/** Read weights from a .safetensors file. It must hold exactly the network's parameters, each with
 * its shape (DDPM_ERROR_MISMATCH names the first that does not fit), and every value must be
 * finite. On failure the network is unchanged. */
DDPM_API ddpm_status ddpm_network_load(struct ddpm_network *network, enum ddpm_weights which,
                                       const char *path);

/** Write weights as fp32 .safetensors. The write is atomic: the file is either complete or
 * unchanged. Fails with DDPM_ERROR_IO or DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_network_save(const struct ddpm_network *network, enum ddpm_weights which,
                                       const char *path);

/** Open a run folder, a checkpoint folder or a bare .safetensors file. `config` may be NULL for the
 * first two; a bare file needs it. `which` says which weights to read; they become both the model's
 * and the EMA weights. If `config` is given, the options of the group "run" (device, threads,
 * precision) come from it. Ownership and errors are those of ddpm_network_create(); bad files give
 * DDPM_ERROR_IO, DDPM_ERROR_FORMAT, DDPM_ERROR_MISMATCH or DDPM_ERROR_NOT_FINITE. */
DDPM_API ddpm_status ddpm_network_open(const char *path, const struct ddpm_config *config,
                                       enum ddpm_weights which, struct ddpm_network **out);

/** The same on an open device (borrowed; must outlive the network). */
DDPM_API ddpm_status ddpm_network_open_on(struct ddpm_device *device, const char *path,
                                          const struct ddpm_config *config, enum ddpm_weights which,
                                          struct ddpm_network **out);

/** One line of text for users: "CPU, avx2, 2 threads, fp32". Valid as long as the network. */
DDPM_API const char *ddpm_network_device(const struct ddpm_network *network);

#ifdef __cplusplus
}
#endif
#endif
