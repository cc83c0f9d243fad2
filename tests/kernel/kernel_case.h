/* A case of the kernel tests: one operation on one shape in one variant, with its input values, and
 * the reference kernel's result for the same values in fp64.
 *
 * Each tensor is in a buffer of its own, with guards before and after. Everything that is not an
 * input value is filled with NaN (bytes 0xFF), so that a kernel that reads where it should not
 * gives NaN, and one that writes where it should not changes a guard. */
#ifndef DDPM_TESTS_KERNEL_KERNEL_CASE_H
#define DDPM_TESTS_KERNEL_KERNEL_CASE_H

#include "kernels/backend.h"

/* Values of the activations. */
enum case_values {
    VALUES_NORMAL,
    VALUES_EXTREME, /* a mixture of ±1e4, ±1e-8, 0 and normals */
    VALUES_ZERO,
    VALUES_CONSTANT, /* 0.5 */
    VALUES_OFFSET,   /* 100 + normal */
    VALUES_COUNT
};

struct case_shape {
    int64_t n, h, w, c, k;
    int kernel, stride, padding;
};

struct kernel_case {
    enum ddpm_op op;
    struct case_shape shape;
    int option;  /* of the operation: which activation, loss, …, 0 .. case_options(op)-1 */
    bool wide;   /* activations are ranges of channels of wider tensors */
    bool eights; /* … that start and end at multiples of 8, like those of the networks */
    bool absent; /* optional tensors are missing; group norm gets statistics instead of computing
                    them */
    bool overwrites; /* gradients of parameters are written, not added to */
    int in_place;    /* the input that output 0 overwrites, or -1 */
    enum case_values values;
    enum ddpm_dtype dtype; /* of the activations */
};

/* What a tensor's values are. */
enum case_role {
    ROLE_ACTIVATION,
    ROLE_DATA, /* like an activation, but always fp32 and dense: pictures, noise, slabs */
    ROLE_LOSS,
    ROLE_PARAMETER,
    ROLE_COPY,  /* input 1, rounded */
    ROLE_STATS, /* of group norm, computed from input 0 */
    ROLE_SQUARES,
    ROLE_PICTURE,
    ROLE_FLIP,
    ROLE_TIMESTEP,
    ROLE_COUNTERS,
    ROLE_ROWS,  /* coefficients in (0,1); combine's of either sign, and some are 0 */
    ROLE_LEVEL, /* a timestep between two */
    ROLE_MASK,  /* 0, 1, or between */
    ROLE_NORM,
    ROLE_HYPER,
    ROLE_RULES, /* of adamw: every combination in turn */
};

struct case_tensor {
    struct ddpm_tensor view; /* without data */
    enum case_role role;
    int buffer;
    size_t offset; /* bytes from the buffer's start to the first element */
};

/* COMBINE's attribute. */
#define CASE_COLUMNS                                                                               \
    {                                                                                              \
        2, 0, 5, 1, 7, 3, 4                                                                        \
    }

enum { CASE_BUFFERS = DDPM_MAX_INPUTS + DDPM_MAX_OUTPUTS, CASE_TIMESTEPS = 50 };

struct case_buffer {
    size_t bytes;
    unsigned char *before, *after; /* whole content on the host */
};

/* A case with its memory. */
struct case_state {
    struct kernel_case test;
    struct ddpm_call call; /* op, attributes, shapes */
    struct case_tensor in[DDPM_MAX_INPUTS], out[DDPM_MAX_OUTPUTS];
    struct case_buffer buffers[CASE_BUFFERS];
    int buffer_count;
    double *want[DDPM_MAX_OUTPUTS]; /* dense, from the reference; NULL if absent */
    char failure[400];
};

/* Shapes and variants (shapes.c). case_next() goes through all cases of an operation and dtype:
 * start with a cursor of 0; false at the end. */
int case_options(enum ddpm_op op);
bool case_next(enum ddpm_op op, enum ddpm_dtype dtype, int *cursor, struct kernel_case *test);
/* Large shapes for timing, one per call. */
bool case_next_bench(enum ddpm_op op, enum ddpm_dtype dtype, int *cursor, struct kernel_case *test);
bool case_op_has_dtype(enum ddpm_op op, enum ddpm_dtype dtype);
bool case_op_is_convolution(enum ddpm_op op);
/* The pictures x_0 … x_6 of COMBINE that exist with this option, one bit each. */
unsigned case_combined(int option);
void case_describe(const struct kernel_case *test, char *text, size_t bytes);

/* Tensors and attributes of the call (build_call.c). */
void case_build(struct case_state *state);

/* Buffers and their values (fill.c). */
void case_fill(struct case_state *state);

/* case_build, case_fill, and the reference's result unless `ref` is NULL (case_state.c). */
ddpm_status case_open(struct case_state *state, const struct kernel_case *test,
                      struct ddpm_device *ref);
void case_close(struct case_state *state);
/* Does the content of `after` agree with `want`, and is everything else unchanged? If not,
 * `failure` says why. */
bool case_agrees(struct case_state *state);

/* A case on a device (device_case.c): what the planner does with a call, step by step. */
struct device_case {
    struct ddpm_call call;
    struct ddpm_device *device;
    void *memory[CASE_BUFFERS];
};

/* Find the kernel, prepare, allocate. DDPM_ERROR_UNSUPPORTED if there is no kernel. Close it also
 * after a failure. */
ddpm_status device_case_open(struct device_case *run, const struct case_state *state,
                             struct ddpm_device *device);
/* Upload the buffers, fill the scratch with NaN, pack. */
ddpm_status device_case_load(struct device_case *run, const struct case_state *state);
ddpm_status device_case_run(struct device_case *run);
/* Download into `after`; DDPM_ERROR_MISMATCH if scratch or packed was written past its end. */
ddpm_status device_case_fetch(struct device_case *run, struct case_state *state);
void device_case_close(struct device_case *run);

/* Time the large shapes and print a table (bench.c). */
ddpm_status case_bench(struct ddpm_device *device, enum ddpm_dtype dtype, const char *only_op);

#endif
