/* Tensors and attributes of a case's call, as ops.inc describes them. */
#include "kernel_case.h"

static struct case_tensor make(enum case_role role, enum ddpm_dtype dtype, int64_t n, int64_t h,
                               int64_t w, int64_t c)
{
    return (struct case_tensor){.view = ddpm_tensor_make(dtype, n, h, w, c), .role = role};
}

/* The usual tensors of a case. */
struct parts {
    struct case_tensor x;        /* [N,H,W,C], an activation */
    struct case_tensor data;     /* the same in fp32 */
    struct case_tensor vector;   /* [N,1,1,C], an activation */
    struct case_tensor channels; /* [1,1,1,C], a parameter */
    struct case_tensor timestep, none;
};

static struct parts make_parts(const struct kernel_case *test)
{
    const struct case_shape *s = &test->shape;
    return (struct parts){
        .x = make(ROLE_ACTIVATION, test->dtype, s->n, s->h, s->w, s->c),
        .data = make(ROLE_DATA, DDPM_F32, s->n, s->h, s->w, s->c),
        .vector = make(ROLE_ACTIVATION, test->dtype, s->n, 1, 1, s->c),
        .channels = make(ROLE_PARAMETER, DDPM_F32, 1, 1, 1, s->c),
        .timestep = make(ROLE_TIMESTEP, DDPM_I32, s->n, 1, 1, 1),
    };
}

static void build_convolution(struct case_state *state, const struct parts *parts)
{
    const struct kernel_case *test = &state->test;
    const struct case_shape *s = &test->shape;
    int64_t high = (s->h + 2 * s->padding - s->kernel) / s->stride + 1;
    int64_t wide = (s->w + 2 * s->padding - s->kernel) / s->stride + 1;
    struct case_tensor y = make(ROLE_ACTIVATION, test->dtype, s->n, high, wide, s->k);
    struct case_tensor w = make(ROLE_PARAMETER, DDPM_F32, s->k, s->kernel, s->kernel, s->c);
    struct case_tensor bias = make(ROLE_PARAMETER, DDPM_F32, 1, 1, 1, s->k);
    /* In the wide and the absent variants the kernels do the rounding. */
    const bool copied = test->dtype == DDPM_BF16 && !test->absent && (!test->wide || test->eights);
    struct case_tensor copy =
        copied ? make(ROLE_COPY, DDPM_BF16, s->k, s->kernel, s->kernel, s->c) : parts->none;
    if (test->op == DDPM_OP_CONV2D) {
        bool widened = test->option == 1;
        state->in[0] = parts->x;
        state->in[1] = w;
        state->in[2] = test->absent ? parts->none : bias;
        state->in[3] = (test->absent && test->in_place != 3) || widened ? parts->none : y;
        state->in[4] = copy;
        state->out[0] = y;
        if (widened)
            state->out[0].view.dtype = DDPM_F32;
    } else if (test->op == DDPM_OP_CONV2D_BACKWARD_DATA) {
        state->in[0] = y;
        state->in[1] = w;
        state->in[2] = copy;
        state->out[0] = parts->x;
    } else {
        state->in[0] = parts->x;
        state->in[1] = y;
        state->out[0] = w;
        state->out[1] = test->absent ? parts->none : bias;
    }
}

static void build_depthwise(struct case_state *state, const struct parts *parts)
{
    const struct kernel_case *test = &state->test;
    const struct case_shape *s = &test->shape;
    struct case_tensor w = make(ROLE_PARAMETER, DDPM_F32, 1, s->kernel, s->kernel, s->c);
    struct case_tensor time = test->absent ? parts->none : parts->vector;
    struct case_tensor stats = make(ROLE_STATS, DDPM_F32, s->n, 1, 1, 2);
    state->in[0] = parts->x;
    state->out[0] = parts->x;
    if (test->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT) {
        state->in[1] = parts->x;
        state->out[0] = w;
        state->out[1] = parts->channels;
        state->out[2] = time;
        return;
    }
    state->in[1] = w;
    if (test->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA)
        state->in[2] = test->absent ? parts->none : parts->x;
    if (test->op == DDPM_OP_DEPTHWISE_CONV2D) {
        state->in[2] = parts->channels;
        state->in[3] = time;
        state->out[1] = test->absent ? parts->none : stats;
        state->call.attributes.eps = 1e-5f;
    }
}

static void build_norm(struct case_state *state, const struct parts *parts)
{
    struct case_tensor stats = make(ROLE_STATS, DDPM_F32, state->test.shape.n, 1, 1, 2);
    state->call.attributes.activation = (enum ddpm_activation)state->test.option;
    state->call.attributes.eps = 1e-5f;
    state->in[0] = parts->x;
    state->in[1] = parts->channels;
    state->out[0] = parts->x;
    if (state->test.op == DDPM_OP_GROUP_NORM) {
        state->in[2] = parts->channels;
        *(state->test.absent ? &state->in[3] : &state->out[1]) = stats;
    } else {
        state->in[2] = stats;
        state->in[3] = parts->x;
        state->out[1] = state->out[2] = parts->channels;
    }
}

static void build_resample(struct case_state *state, const struct parts *parts)
{
    const struct kernel_case *test = &state->test;
    const struct case_shape *s = &test->shape;
    struct case_tensor twice = make(ROLE_ACTIVATION, test->dtype, s->n, 2 * s->h, 2 * s->w, s->c);
    if (test->op == DDPM_OP_CONCAT) {
        state->in[0] = parts->x;
        state->in[1] = make(ROLE_ACTIVATION, test->dtype, s->n, s->h, s->w, s->k);
        state->out[0] = make(ROLE_ACTIVATION, test->dtype, s->n, s->h, s->w, s->c + s->k);
    } else {
        bool up = test->op == DDPM_OP_UPSAMPLE;
        state->in[0] = up ? parts->x : twice;
        state->out[0] = up ? twice : parts->x;
    }
}

static void build_scale(struct case_state *state, const struct parts *parts)
{
    const struct case_shape *s = &state->test.shape;
    const bool blends = state->test.op == DDPM_OP_BLEND;
    struct case_tensor a =
        make(blends ? ROLE_MASK : ROLE_ACTIVATION, state->test.dtype, s->n, s->h, s->w, 1);
    state->in[0] = a;
    state->in[1] = state->out[0] = parts->x;
    if (blends)
        state->in[2] = parts->x;
    if (state->test.op == DDPM_OP_SCALE_PIXELS_BACKWARD) {
        state->in[2] = parts->x;
        state->out[1] = a;
    }
}

static void build_pictures(struct case_state *state, const struct parts *parts)
{
    const struct case_shape *s = &state->test.shape;
    struct ddpm_attributes *attributes = &state->call.attributes;
    struct case_tensor counters = make(ROLE_COUNTERS, DDPM_I32, s->n, 1, 1, 2);
    attributes->seed = 0x123456789abcdefu;
    attributes->stream = 5;
    if (state->test.op == DDPM_OP_NORMALIZE_PICTURES) {
        state->in[0] = make(ROLE_PICTURE, DDPM_U8, s->n, s->h, s->w, s->c);
        state->in[1] = make(ROLE_FLIP, DDPM_U8, s->n, 1, 1, 1);
        state->out[0] = parts->data;
    } else if (state->test.op == DDPM_OP_COORDINATES) {
        attributes->picture_h = (int)s->h + 64;
        attributes->picture_w = (int)s->w + 1024;
        state->in[0] = state->test.absent ? parts->none : counters; /* any rows and columns */
        state->out[0] = make(ROLE_ACTIVATION, state->test.dtype, s->n, s->h, s->w, 2);
    } else if (state->test.op == DDPM_OP_DRAW_NORMAL) {
        if (!state->test.absent) /* includes the seed */
            counters = make(ROLE_COUNTERS, DDPM_I32, s->n, 1, 1, 4);
        state->in[0] = counters;
        state->out[0] = parts->data;
    } else {
        attributes->timesteps = 1000;
        attributes->per_batch = state->test.option == 1;
        state->in[0] = counters;
        state->out[0] = parts->timestep;
    }
}

static void build_diffusion(struct case_state *state, const struct parts *parts)
{
    const enum ddpm_op op = state->test.op;
    state->in[1] = parts->data;
    if (op == DDPM_OP_GATHER_ROWS) {
        state->in[0] = make(ROLE_ROWS, DDPM_F32, CASE_TIMESTEPS, 1, 1, state->test.shape.c);
        state->in[1] = parts->timestep;
        state->out[0] = make(ROLE_ROWS, DDPM_F32, state->test.shape.n, 1, 1, state->test.shape.c);
    } else {
        state->call.attributes.loss = (enum ddpm_loss)state->test.option;
        state->call.attributes.scale = 0.5f;
        state->in[0] = parts->x;
        if (!state->test.absent)
            state->in[2] = make(ROLE_ROWS, DDPM_F32, state->test.shape.n, 1, 1, 1);
        state->out[0] =
            op == DDPM_OP_LOSS ? make(ROLE_DATA, DDPM_F32, state->test.shape.n, 1, 1, 1) : parts->x;
    }
}

/* Some of the pictures have the compute dtype, like the network's input. */
static void build_combine(struct case_state *state, const struct parts *parts)
{
    static const int8_t columns[DDPM_COMBINED] = CASE_COLUMNS;
    const struct kernel_case *test = &state->test;
    const unsigned there = case_combined(test->option);
    memcpy(state->call.attributes.columns, columns, sizeof columns);
    state->call.attributes.clip = test->option % 2 == 1;
    state->in[0] = make(ROLE_ROWS, DDPM_F32, test->shape.n, 1, 1, 8);
    for (int i = 0; i < DDPM_COMBINED; ++i)
        if (there >> i & 1u)
            state->in[1 + i] = i % 2 ? parts->x : parts->data;
    state->out[0] = test->option < 2 ? parts->x : parts->data;
}

/* The network's output is twice as wide as the pictures. */
static void build_variance(struct case_state *state, const struct parts *parts)
{
    const struct kernel_case *test = &state->test;
    const struct case_shape *s = &test->shape;
    const bool forward = test->op == DDPM_OP_VARIATIONAL_LOSS;
    const struct case_tensor loss = make(ROLE_LOSS, DDPM_F32, s->n, 1, 1, 1);
    struct case_tensor *in = state->in + forward;
    state->in[0] = loss;
    in[0] = make(ROLE_ACTIVATION, test->dtype, s->n, s->h, s->w, 2 * s->c);
    in[1] = in[2] = parts->data;
    in[3] = make(ROLE_ROWS, DDPM_F32, s->n, 1, 1, DDPM_VARIANCE_COLUMNS);
    state->call.attributes.scale = 0.5f;
    state->out[0] = forward ? loss : parts->x;
    if (test->op == DDPM_OP_SCALE_NOISE) {
        in[0] = parts->x;
        in[2] = make(ROLE_ROWS, DDPM_F32, s->n, 1, 1, 2);
        in[3] = parts->none;
        state->out[0] = parts->data;
    }
}

static void build_pseudo_huber(struct case_state *state)
{
    const int64_t n = state->test.shape.n;
    state->call.attributes.eps = 0.25f;
    state->call.attributes.scale = 0.5f;
    state->in[0] = make(ROLE_SQUARES, DDPM_F32, n, 1, 1, 1);
    state->in[1] = make(ROLE_ROWS, DDPM_F32, n, 1, 1, 2);
    state->out[0] = make(ROLE_LOSS, DDPM_F32, n, 1, 1, 1);
    state->out[1] = make(ROLE_DATA, DDPM_F32, n, 1, 1, 2);
}

static void build_uncertainty(struct case_state *state)
{
    const int64_t n = state->test.shape.n;
    state->call.attributes.scale = 0.5f;
    state->in[0] = make(ROLE_SQUARES, DDPM_F32, n, 1, 1, 1);
    state->in[1] = make(ROLE_DATA, DDPM_F32, n, 1, 1, 1);
    state->out[0] = make(ROLE_DATA, DDPM_F32, n, 1, 1, 1);
    state->out[1] = make(ROLE_DATA, DDPM_F32, n, 1, 1, 1);
}

static void build_attention(struct case_state *state, const struct parts *parts)
{
    const struct case_shape *s = &state->test.shape;
    const struct case_tensor qkv =
        make(ROLE_ACTIVATION, state->test.dtype, s->n, s->h, s->w, 3 * s->c);
    const bool forward = state->test.op == DDPM_OP_ATTENTION;
    state->call.attributes.heads = s->k;
    state->in[0] = qkv;
    if (!forward)
        state->in[1] = parts->x;
    state->out[0] = forward ? parts->x : qkv;
}

static void build_optimizer(struct case_state *state, const struct parts *parts)
{
    struct case_tensor norm = make(ROLE_NORM, DDPM_F32, 1, 1, 1, 1);
    state->in[0] = parts->data;
    if (state->test.op == DDPM_OP_MUON) {
        const struct case_shape *s = &state->test.shape;
        state->call.attributes.rows = s->k;
        state->in[0] = state->out[0] = state->out[1] =
            make(ROLE_DATA, DDPM_F32, 1, 1, 1, s->k * s->c);
        state->in[1] = norm;
        state->in[2] = make(ROLE_HYPER, DDPM_F32, 1, 1, 1, DDPM_HYPER_COUNT);
        return;
    }
    if (state->test.op == DDPM_OP_GRADIENT_NORM) {
        state->in[1] = state->test.absent ? parts->none : make(ROLE_LOSS, DDPM_F32, 5, 1, 1, 1);
        state->out[0] = norm;
        return;
    }
    state->in[1] = norm;
    state->in[2] = make(ROLE_HYPER, DDPM_F32, 1, 1, 1, DDPM_HYPER_COUNT);
    for (int o = 0; o < 4; ++o)
        state->out[o] = parts->data;
    state->out[2].role = ROLE_SQUARES;
    if (!state->test.absent) {
        state->out[4] = parts->data;
        state->out[4].view.dtype = DDPM_BF16;
    }
    if (state->test.option == 4) {
        const int64_t elements = parts->data.view.c;
        state->in[3] = make(ROLE_RULES, DDPM_U8, 1, 1, 1,
                            (elements + DDPM_RULE_ELEMENTS - 1) / DDPM_RULE_ELEMENTS);
        state->out[5] = parts->data;
    }
}

/* For the other operations: all inputs and the output have one shape, with these exceptions. */
static void build_elementwise(struct case_state *state, const struct parts *parts)
{
    for (int i = 0; i < ddpm_op_info[state->test.op].inputs; ++i)
        state->in[i] = parts->x;
    state->out[0] = parts->x;
    switch (state->test.op) {
    case DDPM_OP_ACTIVATION:
    case DDPM_OP_ACTIVATION_BACKWARD:
        state->call.attributes.activation = (enum ddpm_activation)(state->test.option + 1);
        break;
    case DDPM_OP_ADD_CHANNELS:
        state->in[1] = parts->vector;
        break;
    case DDPM_OP_SUM_PIXELS:
        state->out[0] = parts->vector;
        break;
    case DDPM_OP_CONVERT:
        state->out[0].view.dtype = state->test.dtype == DDPM_F32 ? DDPM_BF16 : DDPM_F32;
        break;
    case DDPM_OP_TIMESTEP_EMBEDDING:
        state->call.attributes.theta = 10000;
        state->in[0] = parts->timestep;
        if (state->test.option == 1)
            state->in[0] = make(ROLE_LEVEL, DDPM_F32, state->test.shape.n, 1, 1, 1);
        break;
    default:
        break;
    }
}

void case_build(struct case_state *state)
{
    const struct kernel_case *test = &state->test;
    const struct parts parts = make_parts(test);
    state->call = (struct ddpm_call){.op = test->op, .label = "test"};
    state->call.attributes.kernel_h = state->call.attributes.kernel_w = test->shape.kernel;
    state->call.attributes.stride = test->shape.stride;
    state->call.attributes.padding = test->shape.padding;
    if (test->overwrites)
        state->call.attributes.overwrites = ddpm_op_info[test->op].accumulates;
    switch (test->op) {
    case DDPM_OP_CONV2D:
    case DDPM_OP_CONV2D_BACKWARD_DATA:
    case DDPM_OP_CONV2D_BACKWARD_WEIGHT:
        build_convolution(state, &parts);
        break;
    case DDPM_OP_DEPTHWISE_CONV2D:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT:
        build_depthwise(state, &parts);
        break;
    case DDPM_OP_GROUP_NORM:
    case DDPM_OP_GROUP_NORM_BACKWARD:
        build_norm(state, &parts);
        break;
    case DDPM_OP_CONCAT:
    case DDPM_OP_UPSAMPLE:
    case DDPM_OP_UPSAMPLE_BACKWARD:
        build_resample(state, &parts);
        break;
    case DDPM_OP_SCALE_PIXELS:
    case DDPM_OP_SCALE_PIXELS_BACKWARD:
    case DDPM_OP_BLEND:
        build_scale(state, &parts);
        break;
    case DDPM_OP_ATTENTION:
    case DDPM_OP_ATTENTION_BACKWARD:
        build_attention(state, &parts);
        break;
    case DDPM_OP_NORMALIZE_PICTURES:
    case DDPM_OP_COORDINATES:
    case DDPM_OP_DRAW_TIMESTEPS:
    case DDPM_OP_DRAW_NORMAL:
        build_pictures(state, &parts);
        break;
    case DDPM_OP_COMBINE:
        build_combine(state, &parts);
        break;
    case DDPM_OP_THRESHOLD:
        state->call.attributes.quantile = state->test.option ? 0.6 : 0.995;
        state->in[0] = state->out[0] = parts.data;
        break;
    case DDPM_OP_GATHER_ROWS:
    case DDPM_OP_LOSS:
    case DDPM_OP_LOSS_BACKWARD:
        build_diffusion(state, &parts);
        break;
    case DDPM_OP_VARIATIONAL_LOSS:
    case DDPM_OP_VARIATIONAL_LOSS_BACKWARD:
    case DDPM_OP_SCALE_NOISE:
        build_variance(state, &parts);
        break;
    case DDPM_OP_PSEUDO_HUBER:
        build_pseudo_huber(state);
        break;
    case DDPM_OP_UNCERTAINTY:
        build_uncertainty(state);
        break;
    case DDPM_OP_GRADIENT_NORM:
    case DDPM_OP_ADAMW:
    case DDPM_OP_MUON:
        build_optimizer(state, &parts);
        break;
    default:
        build_elementwise(state, &parts);
        break;
    }
}
