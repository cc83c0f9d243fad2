/* Kernels: the conventions, the attributes of a call, and the row of a backend's table. The one
 * list of operations, with what each computes, on which shapes, and what may alias, is ops.inc.
 *
 * Letters: B images, H W height and width, C channels, K output channels, R S kernel height and
 * width, T timesteps, F features, N elements of a slab. Activations are NHWC ([B,H,W,C],
 * pixel_stride ≥ C), of the compute dtype (fp32 or bf16; fp64 in the reference backend).
 * Parameters, gradients of parameters, statistics and losses are fp32 (fp64 when the activations
 * are) and dense. `+=` says that a kernel adds to its output; every other output is overwritten.
 * Every kernel honours pixel_stride of every activation, in and out.
 *
 * Convolution weights are [K,R,S,C] (NHWC's natural order; PyTorch's are [K,C,R,S]:
 * graph/parameters.h converts at load and save), depthwise weights [1,R,S,C]. A Linear layer is a
 * 1×1 convolution on [B,1,1,F]. */
#ifndef DDPM_KERNELS_KERNELS_H
#define DDPM_KERNELS_KERNELS_H

#include "core/error.h"
#include "tensor/tensor.h"

#define DDPM_MAX_INPUTS 8
#define DDPM_MAX_OUTPUTS 5
#define DDPM_COMBINED (DDPM_MAX_INPUTS - 1) /* what combine can add */

enum ddpm_op {
#define OP(id, ...) DDPM_OP_##id,
#include "kernels/ops.inc"
#undef OP
    DDPM_OP_COUNT
};

enum ddpm_activation { DDPM_NO_ACTIVATION, DDPM_GELU, DDPM_RELU, DDPM_SIGMOID };
enum ddpm_loss { DDPM_LOSS_L2, DDPM_LOSS_L1 };

/* Columns of reverse_step's table; all computed in fp64, stored in fp32. t = 0 has SIGMA 0. */
enum ddpm_reverse_column {
    DDPM_REVERSE_X, /* not clipped: 1/√α_t                   x' = X·x - EPS·ε̂ + SIGMA·z */
    DDPM_REVERSE_EPS,  /* not clipped: β_t/(√α_t·√(1-ᾱ_t)) */
    DDPM_REVERSE_X0_X, /* clipped: x̂_0 = clip(X0_X·x - X0_EPS·ε̂, -1, 1), X0_X = 1/√ᾱ_t */
    DDPM_REVERSE_X0_EPS, /* √(1/ᾱ_t - 1) */
    DDPM_REVERSE_MEAN_X0, /* x' = MEAN_X0·x̂_0 + MEAN_X·x + SIGMA·z, MEAN_X0 = β_t√ᾱ_{t-1}/(1-ᾱ_t) */
    DDPM_REVERSE_MEAN_X, /* √α_t(1-ᾱ_{t-1})/(1-ᾱ_t) */
    DDPM_REVERSE_SIGMA,  /* √β̃_t */
    DDPM_REVERSE_COLUMNS = 8,
};

/* Elements of adamw's `hyper`. */
enum ddpm_hyper {
    DDPM_HYPER_LR,
    DDPM_HYPER_BETA1,
    DDPM_HYPER_BETA2,
    DDPM_HYPER_EPS,
    DDPM_HYPER_WEIGHT_DECAY,
    DDPM_HYPER_CORRECTION1, /* 1 - β1^k */
    DDPM_HYPER_CORRECTION2, /* 1 - β2^k */
    DDPM_HYPER_MAX_NORM,    /* 0: no clipping */
    DDPM_HYPER_EMA_DECAY,   /* d */
    DDPM_HYPER_COUNT = 12,
};

/* What a call needs to know beside its tensors; one member per family. All zero where not used. */
struct ddpm_attributes {
    int kernel_h, kernel_w, stride, padding; /* convolutions */
    enum ddpm_activation activation;         /* activation; group_norm: applied before */
    float eps;                               /* of statistics */
    double theta;                            /* timestep_embedding */
    enum ddpm_loss loss;
    float scale;                   /* loss_backward */
    bool clip;                     /* combine, reverse_step */
    int8_t columns[DDPM_COMBINED]; /* combine: the column of rows for input i + 1 */
    bool per_batch;
    int timesteps; /* draw_timesteps: T */
    uint64_t seed; /* draws */
    uint32_t stream;
};

struct ddpm_device;
struct ddpm_kernel;

/* One planned kernel call. The planner fills the first part and owns the memory; the kernel's
 * prepare() fills the second. `data` pointers, scratch and packed are set before run() and pack()
 * and never change afterwards. */
struct ddpm_call {
    enum ddpm_op op;
    const char *label; /* layer it belongs to: "downs.0.1.block.4" */
    const struct ddpm_kernel *kernel;
    struct ddpm_device *device;
    struct ddpm_tensor in[DDPM_MAX_INPUTS];
    struct ddpm_tensor out[DDPM_MAX_OUTPUTS];
    struct ddpm_attributes attributes;
    void *scratch; /* content lost between calls; aligned to DDPM_ALIGNMENT */
    void *packed;  /* content kept: the kernel's own form of its weights */

    size_t scratch_bytes;
    size_t packed_bytes;
    void *state; /* primitives and the like */
};

/* A row of a backend's table. */
struct ddpm_kernel {
    const char *name; /* "conv2d_winograd_avx2" */
    /* Can it do this call (shapes, dtypes, attributes)? NULL: every call. */
    bool (*supports)(const struct ddpm_call *call);
    /* At plan time: set scratch_bytes, packed_bytes, state. May be NULL. No data pointers yet. */
    ddpm_status (*prepare)(struct ddpm_call *call);
    /* Turn the weights into `packed`; called before the first run() and whenever the weights have
     * changed. NULL when packed_bytes is 0. */
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

/* The bf16 copy of a convolution's weights; NULL where there is none. */
const struct ddpm_tensor *ddpm_call_copy(const struct ddpm_call *call);

/* Multiply-adds ×2 of a call, counted directly (no Winograd discount), and the bytes it must move
 * at least; for ddpm bench and the plan's summary. */
double ddpm_call_flops(const struct ddpm_call *call);
double ddpm_call_bytes(const struct ddpm_call *call);

#endif
