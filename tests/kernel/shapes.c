/* The cases: shapes of each family of operations, crossed with the variants that apply. */
#include <stdio.h>

#include "kernel_case.h"

#define LIST(...)                                                                                  \
    (const struct case_shape[])                                                                    \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

#define IMAGE(n, h, w, c) PAIR(n, h, w, c, 0)
#define PAIR(n, h, w, c, k)                                                                        \
    {                                                                                              \
        n, h, w, c, k, 0, 0, 0                                                                     \
    }

/* n, h, w, c, k, kernel, stride, padding */
static const struct case_shape *const convolutions =
    LIST({1, 1, 1, 1, 1, 1, 1, 0}, {2, 1, 1, 33, 64, 1, 1, 0}, {3, 1, 1, 128, 16, 1, 1, 0},
         {2, 5, 7, 3, 8, 3, 1, 1}, {1, 9, 4, 8, 3, 3, 1, 1}, {2, 6, 10, 5, 16, 1, 1, 0},
         {1, 8, 6, 16, 33, 2, 2, 0}, {1, 9, 7, 5, 8, 2, 2, 0}, {1, 7, 9, 3, 16, 7, 1, 3},
         {1, 3, 3, 8, 8, 3, 1, 1}, {1, 2, 2, 16, 16, 3, 1, 1}, {1, 1, 5, 8, 16, 3, 1, 1},
         {2, 7, 7, 16, 1, 1, 1, 0}, {1, 8, 8, 1, 8, 3, 1, 1}, {2, 11, 13, 33, 5, 3, 1, 1},
         {1, 9, 9, 16, 16, 3, 2, 1}, {2, 20, 12, 32, 64, 3, 1, 1}, {1, 16, 16, 64, 64, 3, 1, 1},
         {1, 17, 15, 96, 33, 3, 1, 1}, {3, 8, 8, 64, 32, 3, 1, 1}, {1, 16, 12, 128, 64, 1, 1, 0},
         {1, 24, 20, 3, 32, 7, 1, 3}, {1, 33, 31, 16, 16, 3, 1, 1}, {2, 2, 2, 64, 96, 3, 1, 1},
         {1, 9, 10, 48, 80, 3, 1, 1}, {1, 90, 90, 16, 16, 3, 1, 1}, {1, 13, 10, 16, 16, 1, 1, 0},
         {2, 25, 23, 24, 33, 1, 1, 0}, {2, 25, 23, 32, 40, 1, 1, 0}, {1, 20, 40, 32, 40, 2, 2, 0},
         {1, 6, 40, 40, 24, 3, 1, 1}, {1, 16, 17, 272, 16, 3, 1, 1}, {1, 17, 16, 16, 272, 3, 1, 1},
         {17, 8, 8, 16, 32, 3, 1, 1}, {5, 12, 16, 32, 16, 3, 1, 1}, {1, 40, 64, 80, 48, 3, 1, 1},
         {2, 8, 7, 5, 8, 3, 2, 1}, {1, 7, 6, 8, 3, 3, 2, 0}, {1, 10, 9, 8, 16, 4, 2, 1},
         {1, 12, 11, 16, 8, 5, 3, 2}, {1, 6, 5, 8, 8, 3, 3, 1}, {1, 9, 8, 8, 8, 2, 3, 0},
         {1, 5, 5, 8, 8, 1, 1, 1}, {1, 3, 1, 8, 8, 3, 2, 1}, {2, 24, 22, 32, 48, 3, 2, 1},
         {1, 5, 4, 8, 8, 3, 2, 3}, {1, 13, 11, 64, 136, 3, 1, 1}, {1, 13, 11, 136, 64, 3, 1, 1},
         {2, 9, 8, 128, 72, 2, 2, 0}, {2, 13, 41, 16, 64, 3, 1, 1});

static const struct case_shape *const depthwise =
    LIST({1, 1, 1, 1, 0, 7, 1, 3}, {2, 5, 9, 3, 0, 7, 1, 3}, {1, 8, 6, 33, 0, 7, 1, 3},
         {3, 7, 5, 8, 0, 3, 1, 1}, {1, 9, 4, 16, 0, 5, 1, 2}, {1, 6, 6, 5, 0, 1, 1, 0},
         {2, 2, 3, 24, 0, 7, 1, 3}, {2, 16, 12, 64, 0, 7, 1, 3}, {1, 20, 33, 96, 0, 7, 1, 3},
         {1, 4, 33, 224, 0, 7, 1, 3}, {40, 3, 33, 64, 0, 7, 1, 3});

static const struct case_shape *const activations =
    LIST(IMAGE(1, 1, 1, 1), IMAGE(2, 3, 5, 1), IMAGE(1, 4, 7, 3), IMAGE(3, 5, 2, 5),
         IMAGE(2, 6, 9, 8), IMAGE(1, 7, 3, 16), IMAGE(2, 5, 6, 33), IMAGE(1, 8, 12, 64),
         IMAGE(2, 9, 7, 96), IMAGE(2, 1, 1, 256), IMAGE(1, 32, 40, 64));

/* c and k are the channels of the two parts. */
static const struct case_shape *const pairs =
    LIST(PAIR(1, 1, 1, 1, 1), PAIR(2, 3, 5, 3, 5), PAIR(1, 4, 7, 8, 16), PAIR(3, 5, 2, 33, 1),
         PAIR(2, 9, 7, 64, 32));

static const struct case_shape *const embeddings =
    LIST(IMAGE(1, 1, 1, 4), IMAGE(3, 1, 1, 6), IMAGE(2, 1, 1, 32), IMAGE(5, 1, 1, 64),
         IMAGE(16, 1, 1, 130));

static const struct case_shape *const pictures =
    LIST(IMAGE(1, 1, 1, 1), IMAGE(2, 5, 7, 3), IMAGE(3, 8, 4, 4), IMAGE(1, 9, 9, 1),
         IMAGE(2, 16, 12, 3), IMAGE(1, 33, 20, 3), IMAGE(9, 4, 4, 3));

static const struct case_shape *const batches =
    LIST(IMAGE(1, 1, 1, 1), IMAGE(3, 1, 1, 1), IMAGE(17, 1, 1, 1));

static const struct case_shape *const slabs =
    LIST(IMAGE(1, 1, 1, 1), IMAGE(1, 1, 1, 7), IMAGE(1, 1, 1, 64), IMAGE(1, 1, 1, 1000),
         IMAGE(1, 1, 1, 70001));

/* c channels in k heads. */
static const struct case_shape *const heads =
    LIST(PAIR(1, 1, 1, 1, 1), PAIR(2, 3, 5, 4, 2), PAIR(1, 4, 4, 33, 3), PAIR(2, 8, 8, 64, 1),
         PAIR(1, 5, 7, 96, 2));

/* k rows of c. */
static const struct case_shape *const matrices = LIST(
    PAIR(1, 1, 1, 1, 1), PAIR(1, 1, 1, 5, 1), PAIR(1, 1, 1, 1, 7), PAIR(1, 1, 1, 27, 16),
    PAIR(1, 1, 1, 32, 32), PAIR(1, 1, 1, 16, 33), PAIR(1, 1, 1, 300, 70), PAIR(1, 1, 1, 65, 130));

/* The article's network at dim 64: 128×128 to 16×16 pictures. */
static const struct case_shape *const bench_convolutions = LIST(
    {1, 128, 128, 64, 128, 3, 1, 1}, {1, 128, 128, 128, 64, 3, 1, 1},
    {1, 64, 64, 128, 256, 3, 1, 1}, {1, 32, 32, 256, 512, 3, 1, 1}, {1, 16, 16, 1024, 512, 3, 1, 1},
    {1, 64, 64, 256, 64, 1, 1, 0}, {1, 128, 128, 3, 64, 7, 1, 3}, {16, 1, 1, 256, 512, 1, 1, 0});
static const struct case_shape *const bench_depthwise =
    LIST({1, 128, 128, 64, 0, 7, 1, 3}, {1, 64, 64, 128, 0, 7, 1, 3}, {1, 16, 16, 512, 0, 7, 1, 3});
static const struct case_shape *const bench_activations =
    LIST(IMAGE(2, 128, 128, 64), IMAGE(2, 32, 32, 256));
static const struct case_shape *const bench_pairs = LIST(PAIR(2, 64, 64, 128, 64));
static const struct case_shape *const bench_embeddings = LIST(IMAGE(16, 1, 1, 64));
static const struct case_shape *const bench_pictures = LIST(IMAGE(16, 128, 128, 3));
static const struct case_shape *const bench_batches = LIST(IMAGE(16, 1, 1, 1));
static const struct case_shape *const bench_slabs = LIST(IMAGE(1, 1, 1, 15000000));

static const struct case_shape *const bench_heads = LIST(PAIR(16, 16, 16, 512, 8));
static const struct case_shape *const bench_matrices =
    LIST(PAIR(1, 1, 1, 576, 128), PAIR(1, 1, 1, 4608, 512), PAIR(1, 1, 1, 256, 512));

static const struct case_shape *shapes_of(enum ddpm_op op, bool bench)
{
    switch (op) {
    case DDPM_OP_CONV2D:
    case DDPM_OP_CONV2D_BACKWARD_DATA:
    case DDPM_OP_CONV2D_BACKWARD_WEIGHT:
        return bench ? bench_convolutions : convolutions;
    case DDPM_OP_DEPTHWISE_CONV2D:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT:
        return bench ? bench_depthwise : depthwise;
    case DDPM_OP_CONCAT:
        return bench ? bench_pairs : pairs;
    case DDPM_OP_TIMESTEP_EMBEDDING:
    case DDPM_OP_GATHER_ROWS:
        return bench ? bench_embeddings : embeddings;
    case DDPM_OP_NORMALIZE_PICTURES:
    case DDPM_OP_COORDINATES:
    case DDPM_OP_DRAW_NORMAL:
    case DDPM_OP_COMBINE:
    case DDPM_OP_NEAREST:
    case DDPM_OP_THRESHOLD:
    case DDPM_OP_BLEND:
    case DDPM_OP_LOSS:
    case DDPM_OP_LOSS_BACKWARD:
    case DDPM_OP_VARIATIONAL_LOSS:
    case DDPM_OP_VARIATIONAL_LOSS_BACKWARD:
    case DDPM_OP_SCALE_NOISE:
        return bench ? bench_pictures : pictures;
    case DDPM_OP_PSEUDO_HUBER:
    case DDPM_OP_UNCERTAINTY:
    case DDPM_OP_DRAW_TIMESTEPS:
        return bench ? bench_batches : batches;
    case DDPM_OP_ATTENTION:
    case DDPM_OP_ATTENTION_BACKWARD:
        return bench ? bench_heads : heads;
    case DDPM_OP_MUON:
        return bench ? bench_matrices : matrices;
    case DDPM_OP_GRADIENT_NORM:
    case DDPM_OP_ADAMW:
        return bench ? bench_slabs : slabs;
    default:
        return bench ? bench_activations : activations;
    }
}

bool case_op_is_convolution(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D || op == DDPM_OP_CONV2D_BACKWARD_DATA ||
           op == DDPM_OP_CONV2D_BACKWARD_WEIGHT;
}

int case_options(enum ddpm_op op)
{
    switch (op) {
    case DDPM_OP_GROUP_NORM:
    case DDPM_OP_GROUP_NORM_BACKWARD:
    case DDPM_OP_CONCAT:
    case DDPM_OP_COMBINE:
        return 4;
    case DDPM_OP_ADAMW:
        return 5;
    case DDPM_OP_MUON:
        return 4;
    case DDPM_OP_ACTIVATION:
    case DDPM_OP_ACTIVATION_BACKWARD:
    case DDPM_OP_GRADIENT_NORM:
        return 3;
    case DDPM_OP_CONV2D:
    case DDPM_OP_TIMESTEP_EMBEDDING:
    case DDPM_OP_DRAW_TIMESTEPS:
    case DDPM_OP_THRESHOLD:
    case DDPM_OP_LOSS:
    case DDPM_OP_LOSS_BACKWARD:
    case DDPM_OP_VARIATIONAL_LOSS:
    case DDPM_OP_VARIATIONAL_LOSS_BACKWARD:
        return 2;
    default:
        return 1;
    }
}

unsigned case_combined(int option)
{
    static const unsigned there[] = {0x03, 0x07, 0x7f, 0x52};
    return there[option];
}

bool case_op_has_dtype(enum ddpm_op op, enum ddpm_dtype dtype)
{
    if (dtype == DDPM_F32)
        return true;
    switch (op) {
    case DDPM_OP_NORMALIZE_PICTURES:
    case DDPM_OP_DRAW_TIMESTEPS:
    case DDPM_OP_DRAW_NORMAL:
    case DDPM_OP_GATHER_ROWS:
    case DDPM_OP_NEAREST:
    case DDPM_OP_THRESHOLD:
    case DDPM_OP_BLEND:
    case DDPM_OP_PSEUDO_HUBER:
    case DDPM_OP_UNCERTAINTY:
    case DDPM_OP_GRADIENT_NORM:
    case DDPM_OP_ADAMW:
    case DDPM_OP_MUON:
        return false;
    default:
        return true;
    }
}

static bool has_optional(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D || op == DDPM_OP_CONV2D_BACKWARD_WEIGHT ||
           op == DDPM_OP_DEPTHWISE_CONV2D || op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA ||
           op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT || op == DDPM_OP_GROUP_NORM ||
           op == DDPM_OP_LOSS || op == DDPM_OP_LOSS_BACKWARD || op == DDPM_OP_GRADIENT_NORM ||
           op == DDPM_OP_ADAMW || op == DDPM_OP_DRAW_NORMAL || op == DDPM_OP_COORDINATES;
}

/* A large shape only uses the plain variant, the wide ones and the one without options. */
static bool is_large(const struct case_shape *s)
{
    int64_t work = s->n * s->h * s->w * s->c * (s->k ? s->k : 1);
    work *= s->kernel ? s->kernel * s->kernel : 1;
    return work > 500000;
}

static bool adds_to_gradients(enum ddpm_op op)
{
    return op == DDPM_OP_CONV2D_BACKWARD_WEIGHT || op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT ||
           op == DDPM_OP_GROUP_NORM_BACKWARD;
}

/* The order of variants: all kinds of values; then, with dense and wide tensors: wide, wide by
 * eights, absent, gradients that are overwritten, and each input in place. */
enum {
    VARIANT_WIDE = VALUES_COUNT,
    VARIANT_EIGHTS,
    VARIANT_ABSENT,
    VARIANT_OVERWRITES,
    VARIANT_IN_PLACE
};
enum { VARIANTS = VARIANT_IN_PLACE + 2 * DDPM_MAX_INPUTS };

/* Fill in variant number `variant`; false if it does not apply. */
static bool apply_variant(struct kernel_case *test, int variant)
{
    const bool large = is_large(&test->shape);
    test->in_place = -1;
    if (test->op == DDPM_OP_CONV2D && test->option == 1 && test->dtype != DDPM_BF16)
        return false; /* option 1: fp32 output of bf16 inputs */
    if (variant < VALUES_COUNT) {
        test->values = (enum case_values)variant;
        bool norm = test->op == DDPM_OP_GROUP_NORM || test->op == DDPM_OP_GROUP_NORM_BACKWARD;
        /* Products of large numbers, which fp32 rounds, would be exponents. */
        if ((test->op == DDPM_OP_ATTENTION || test->op == DDPM_OP_ATTENTION_BACKWARD) &&
            (variant == VALUES_EXTREME || variant == VALUES_OFFSET))
            return false;
        return variant == VALUES_NORMAL || (!large && (norm || variant != VALUES_OFFSET));
    }
    if (variant == VARIANT_WIDE) {
        test->wide = true;
        return true;
    }
    if (variant == VARIANT_EIGHTS) {
        test->wide = test->eights = true;
        return test->shape.c % 8 == 0;
    }
    if (variant == VARIANT_ABSENT) {
        test->absent = true;
        return has_optional(test->op);
    }
    if (variant == VARIANT_OVERWRITES) {
        test->overwrites = true;
        return adds_to_gradients(test->op);
    }
    test->in_place = (variant - VARIANT_IN_PLACE) / 2;
    test->wide = (variant - VARIANT_IN_PLACE) % 2;
    if (test->op == DDPM_OP_CONV2D && test->option == 1)
        return false;
    if (test->op == DDPM_OP_COMBINE && !(case_combined(test->option) << 1 >> test->in_place & 1u))
        return false;
    return (!large || !test->wide) && ddpm_op_info[test->op].in_place >> test->in_place & 1;
}

bool case_next(enum ddpm_op op, enum ddpm_dtype dtype, int *cursor, struct kernel_case *test)
{
    const struct case_shape *shapes = shapes_of(op, false);
    const int options = case_options(op);
    for (;;) {
        int number = (*cursor)++;
        int variant = number % VARIANTS, option = number / VARIANTS % options;
        const struct case_shape *shape = &shapes[number / VARIANTS / options];
        if (!shape->n)
            return false;
        *test = (struct kernel_case){
            .op = op, .shape = *shape, .option = option, .in_place = -1, .dtype = dtype};
        if (apply_variant(test, variant))
            return true;
    }
}

bool case_next_bench(enum ddpm_op op, enum ddpm_dtype dtype, int *cursor, struct kernel_case *test)
{
    *test = (struct kernel_case){
        .op = op, .shape = shapes_of(op, true)[(*cursor)++], .in_place = -1, .dtype = dtype};
    return test->shape.n > 0;
}

void case_describe(const struct kernel_case *test, char *text, size_t bytes)
{
    static const char *const values[VALUES_COUNT] = {"normal", "extreme", "zero", "constant",
                                                     "offset"};
    const struct case_shape *s = &test->shape;
    int used = snprintf(text, bytes, "%s %s %lldx%lldx%lldx%lld", ddpm_op_info[test->op].name,
                        ddpm_dtype_name(test->dtype), (long long)s->n, (long long)s->h,
                        (long long)s->w, (long long)s->c);
    if (s->k)
        used += snprintf(text + used, bytes - (size_t)used, "->%lld", (long long)s->k);
    if (s->kernel)
        used += snprintf(text + used, bytes - (size_t)used, " k%d s%d p%d", s->kernel, s->stride,
                         s->padding);
    used += snprintf(text + used, bytes - (size_t)used, " option %d, %s%s%s%s", test->option,
                     values[test->values],
                     test->eights ? ", wide by eights"
                     : test->wide ? ", wide"
                                  : "",
                     test->absent ? ", options absent" : "",
                     test->overwrites ? ", gradients overwritten" : "");
    if (test->in_place >= 0)
        snprintf(text + used, bytes - (size_t)used, ", in place of input %d", test->in_place);
}
