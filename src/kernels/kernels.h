/* Kernels: the conventions, the attributes of a call, and the row of a backend's table. ops.inc is
 * the list of operations: what each computes, on which shapes, and what may alias.
 *
 *   B  images     C  channels           R  kernel height     T  timesteps
 *   H  height     K  output channels    S  kernel width      F  features
 *   W  width                                                 N  elements of a slab
 *
 * Activations are NHWC ([B,H,W,C], pixel_stride ≥ C), of the compute dtype: fp32 or bf16, fp64 in
 * the reference backend. Every kernel respects the pixel_stride of every activation, in and out.
 * Parameters, their gradients, statistics and losses are fp32 (fp64 if the activations are) and
 * dense. An output marked `+=` is added to; every other output is overwritten.
 *
 * Convolution weights are [K,R,S,C], NHWC's natural order; PyTorch's are [K,C,R,S], and
 * graph/parameters.h converts them when they are loaded and saved. Depthwise weights are [1,R,S,C].
 * A linear layer is a 1×1 convolution on [B,1,1,F]. */
#ifndef DDPM_KERNELS_KERNELS_H
#define DDPM_KERNELS_KERNELS_H

#include "core/error.h"
#include "tensor/tensor.h"

#define DDPM_MAX_INPUTS 8
#define DDPM_MAX_OUTPUTS 6
#define DDPM_COMBINED (DDPM_MAX_INPUTS - 1) /* what combine can add */

enum ddpm_op {
#define OP(id, ...) DDPM_OP_##id,
#include "kernels/ops.inc"
#undef OP
    DDPM_OP_COUNT
};

enum ddpm_activation { DDPM_NO_ACTIVATION, DDPM_GELU, DDPM_RELU, DDPM_SIGMOID };
enum ddpm_loss { DDPM_LOSS_L2, DDPM_LOSS_L1 };

/* Elements of adamw's `hyper`. */
enum ddpm_hyper {
    DDPM_HYPER_LR,
    DDPM_HYPER_BETA1,
    DDPM_HYPER_BETA2,
    DDPM_HYPER_EPS,
    DDPM_HYPER_WEIGHT_DECAY,
    DDPM_HYPER_CORRECTION1,  /* 1 - β1^k */
    DDPM_HYPER_CORRECTION2,  /* 1 - β2^k */
    DDPM_HYPER_MAX_NORM,     /* 0: no clipping */
    DDPM_HYPER_EMA_DECAY,    /* d */
    DDPM_HYPER_SECOND_DECAY, /* of the second EMA */
    DDPM_HYPER_MOMENTUM,     /* of muon */
    DDPM_HYPER_COUNT
};

/* What adamw does with 16 adjacent elements of a slab. They always belong to one parameter, or the
 * gap after it. */
enum ddpm_adamw_rule { DDPM_RULE_DECAYS = 1, DDPM_RULE_STEPS = 2 };
#define DDPM_RULE_ELEMENTS 16

/* Muon's iterations, their coefficients, and the root mean square of its steps relative to
 * AdamW's. */
#define DDPM_MUON_ITERATIONS 5
#define DDPM_MUON_A 3.4445
#define DDPM_MUON_B (-4.7750)
#define DDPM_MUON_C 2.0315
#define DDPM_MUON_SCALE 0.2

/* Columns of the coefficients of a learned variance; scale_noise reads the first two. */
enum ddpm_variance_column {
    DDPM_VARIANCE_LOWEST, /* lower bound of ln variance */
    DDPM_VARIANCE_HIGHEST,
    DDPM_VARIANCE_MEAN,    /* the error of the step's mean is MEAN·(ε̂-ε) */
    DDPM_VARIANCE_DECODER, /* 1 if the step ends in the picture itself, else 0 */
    DDPM_VARIANCE_WEIGHT,  /* of the variational term */
    DDPM_VARIANCE_COLUMNS
};

/* Parameters of a call other than its tensors; one member per family. Zero if not used. */
struct ddpm_attributes {
    int kernel_h, kernel_w, stride, padding; /* convolutions */
    enum ddpm_activation activation;         /* activation; group_norm: applied before */
    float eps;                               /* of statistics; pseudo_huber */
    double theta;                            /* timestep_embedding */
    enum ddpm_loss loss;
    float scale;                   /* gradients of losses */
    bool clip;                     /* combine */
    double quantile;               /* threshold: 0 to 1 */
    int8_t columns[DDPM_COMBINED]; /* combine: the column of rows for input i + 1 */
    bool per_batch;
    int timesteps;            /* draw_timesteps: T */
    int picture_h, picture_w; /* coordinates */
    int64_t rows;             /* muon: rows of the matrix */
    int64_t heads;            /* attention */
    unsigned overwrites; /* gradients of parameters: bit o: output o, which is otherwise added to,
                            holds nothing yet and is written */
    uint64_t seed;       /* draws */
    uint32_t stream;
};

struct ddpm_device;
struct ddpm_kernel;

/* One planned call of a kernel. The planner fills the first part and owns the memory; the kernel's
 * prepare() fills the second. The pointers `data`, `scratch` and `packed` are set before pack() and
 * run(), and never change afterwards. */
struct ddpm_call {
    enum ddpm_op op;
    const char *label; /* the layer it belongs to: "downs.0.1.block.4" */
    const struct ddpm_kernel *kernel;
    struct ddpm_device *device;
    struct ddpm_tensor in[DDPM_MAX_INPUTS];
    struct ddpm_tensor out[DDPM_MAX_OUTPUTS];
    struct ddpm_attributes attributes;
    bool any_batch; /* the kernel chosen, and so the rounding, must not depend on the batch */
    void *scratch;  /* content lost between calls; aligned to DDPM_ALIGNMENT */
    void *packed;   /* content kept: the weights in the kernel's own layout */

    size_t scratch_bytes;
    size_t packed_bytes;
    void *state; /* primitives and the like */
};

/* A row of a backend's table. */
struct ddpm_kernel {
    const char *name; /* "conv2d_winograd_avx2" */
    /* Does it support this call (shapes, dtypes, attributes)? NULL: it supports every call. */
    bool (*supports)(const struct ddpm_call *call);
    /* At plan time: set scratch_bytes, packed_bytes, state. May be NULL. No data pointers yet. */
    ddpm_status (*prepare)(struct ddpm_call *call);
    /* Convert the weights into `packed`: before the first run() and whenever they have changed.
     * NULL if packed_bytes is 0. */
    ddpm_status (*pack)(const struct ddpm_call *call);
    ddpm_status (*run)(const struct ddpm_call *call);
    void (*release)(struct ddpm_call *call); /* frees state; may be NULL */
};

struct ddpm_op_info {
    const char *name;
    int inputs, outputs;
    unsigned in_place, accumulates;
    int flops; /* see ops.inc */
};

extern const struct ddpm_op_info ddpm_op_info[DDPM_OP_COUNT];

/* Is output `o` written, although the operation adds to it (attributes.overwrites)? */
static inline bool ddpm_call_overwrites(const struct ddpm_call *call, int o)
{
    return call->attributes.overwrites >> o & 1u;
}

/* The bf16 copy of a convolution's weights; NULL if there is none. */
const struct ddpm_tensor *ddpm_call_copy(const struct ddpm_call *call);

/* The cost of a call, for ddpm bench and the plan's summary: operations, where a multiply-add is
 * two, counted directly (no discount for Winograd), and the fewest bytes it must move. */
double ddpm_call_flops(const struct ddpm_call *call);
double ddpm_call_bytes(const struct ddpm_call *call);

#endif
