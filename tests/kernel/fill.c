/* Puts a case's tensors in buffers and fills them with values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/random.h"
#include "kernel_case.h"
#include "kernels/ref/ref.h"

/* Wide tensors have LEAD foreign channels before theirs and TRAIL after, or multiples of eight. */
enum { LEAD = 3, TRAIL = 4, LEAD_EIGHTS = 8, TRAIL_EIGHTS = 16, GUARD_BYTES = 256 };

/* Give the tensor a buffer of its own, all NaN. */
static void place(struct case_state *state, struct case_tensor *tensor)
{
    struct ddpm_tensor *view = &tensor->view;
    if (!ddpm_tensor_present(view))
        return;
    const size_t size = ddpm_dtype_size(view->dtype);
    const bool wide =
        state->test.wide && (tensor->role == ROLE_ACTIVATION || tensor->role == ROLE_ROWS ||
                             tensor->role == ROLE_LEVEL || tensor->role == ROLE_MASK);
    const size_t lead = !wide ? 0 : state->test.eights ? LEAD_EIGHTS : LEAD;
    const size_t trail = !wide ? 0 : state->test.eights ? TRAIL_EIGHTS : TRAIL;
    view->pixel_stride = view->c + (int64_t)(lead + trail);
    tensor->offset = GUARD_BYTES + lead * size;
    tensor->buffer = state->buffer_count++;
    struct case_buffer *buffer = &state->buffers[tensor->buffer];
    buffer->bytes = ddpm_align_up(tensor->offset + ddpm_tensor_bytes(view) + GUARD_BYTES);
    buffer->before = malloc(buffer->bytes);
    buffer->after = malloc(buffer->bytes);
    memset(buffer->before, 0xff, buffer->bytes);
}

/* Inputs and outputs that share memory: in place, and concat inputs that are already in their place
 * (bit i of the option: input i). */
static void place_all(struct case_state *state)
{
    const struct ddpm_op_info *info = &ddpm_op_info[state->test.op];
    const bool concat = state->test.op == DDPM_OP_CONCAT;
    const unsigned lies = concat ? (unsigned)state->test.option : 0;
    for (int o = 0; o < info->outputs; ++o)
        if (o > 0 || state->test.in_place < 0)
            place(state, &state->out[o]);
    for (int i = 0; i < info->inputs; ++i) {
        if (!(lies >> i & 1)) {
            place(state, &state->in[i]);
            continue;
        }
        struct case_tensor *part = &state->in[i];
        int64_t first = i ? state->in[0].view.c : 0;
        part->buffer = state->out[0].buffer;
        part->view.pixel_stride = state->out[0].view.pixel_stride;
        part->offset = state->out[0].offset + (size_t)first * ddpm_dtype_size(part->view.dtype);
    }
    if (state->test.in_place >= 0)
        state->out[0] = state->in[state->test.in_place];
}

static double activation_value(const struct kernel_case *test, struct ddpm_random4 r)
{
    static const double extremes[] = {1e4, -1e4, 1e-8, -1e-8, 0, 1};
    float normal[4];
    ddpm_normal4(r, normal);
    double value = (double)normal[0];
    switch (test->values) {
    case VALUES_EXTREME:
        return r.v[3] % 2 ? value : extremes[r.v[3] / 2 % 6];
    case VALUES_ZERO:
        return 0;
    case VALUES_CONSTANT:
        return 0.5;
    case VALUES_OFFSET:
        return 100 + value;
    default:
        return value;
    }
}

/* ADAMW's and MUON's options: 0 plain, 1 clipped, 2 EMA that copies, 3 norm not finite, 4 with
 * rules and a second EMA. */
static double hyper_value(const struct kernel_case *test, int64_t c)
{
    switch (c) {
    case DDPM_HYPER_LR:
        return 1e-3;
    case DDPM_HYPER_BETA1:
        return 0.9;
    case DDPM_HYPER_BETA2:
        return 0.99;
    case DDPM_HYPER_EPS:
        return 1e-8;
    case DDPM_HYPER_WEIGHT_DECAY:
        return 0.01;
    case DDPM_HYPER_CORRECTION1:
        return 1 - 0.9 * 0.9 * 0.9;
    case DDPM_HYPER_CORRECTION2:
        return 1 - 0.99 * 0.99 * 0.99;
    case DDPM_HYPER_MAX_NORM:
        return test->option == 1 ? 0.75 : 0;
    case DDPM_HYPER_EMA_DECAY:
        return test->option == 2 ? 0 : 0.995;
    case DDPM_HYPER_SECOND_DECAY:
        return 0.75;
    case DDPM_HYPER_MOMENTUM:
        return 0.95;
    default:
        return 0;
    }
}

/* Coefficients of combine: some are 0, for every third picture all of them. */
static double coefficient(int64_t picture, int64_t column)
{
    const int64_t number = 5 * picture + 3 * column;
    return picture % 3 == 2 || number % 4 == 3 ? 0 : (double)(number % 17 - 8) / 7 + 0.05;
}

/* Blend's mask: some pixels are entirely from one picture, some from the other. */
static double mask_value(int64_t p)
{
    return p % 3 == 2 ? (double)(p % 7 + 1) / 8 : (double)(p % 3);
}

/* For a learned variance: the step ends in every other picture. */
static double variance_coefficient(const struct kernel_case *test, int64_t picture, int64_t column)
{
    switch (column) {
    case DDPM_VARIANCE_LOWEST:
        return -9 + 3 * (double)(picture % 3);
    case DDPM_VARIANCE_HIGHEST:
        return -8.5 + 3.25 * (double)(picture % 3);
    case DDPM_VARIANCE_MEAN:
        return 0.01 + 0.1 * (double)(picture % 3);
    case DDPM_VARIANCE_DECODER:
        return (picture + test->option) % 2 == 0;
    default:
        return 0.75;
    }
}

/* A picture with coefficient 0 holds NaN: it must not be read. */
static bool unread(const struct kernel_case *test, int64_t p, int input)
{
    const int64_t picture = p / (test->shape.h * test->shape.w);
    static const int8_t columns[DDPM_COMBINED] = CASE_COLUMNS;
    if (test->op == DDPM_OP_BLEND)
        return input > 0 && mask_value(p) == (input == 1 ? 0 : 1);
    return test->op == DDPM_OP_COMBINE && input > 0 &&
           coefficient(picture, columns[input - 1]) == 0;
}

static double value_of(const struct kernel_case *test, enum case_role role, int64_t p, int64_t c,
                       uint32_t tensor)
{
    struct ddpm_random4 r = ddpm_philox(42, (uint32_t)c, tensor, (uint32_t)p, (uint32_t)test->op);
    float normal[4];
    ddpm_normal4(r, normal);
    if (unread(test, p, (int)tensor))
        return (double)NAN;
    switch (role) {
    case ROLE_ACTIVATION:
        return activation_value(test, r);
    case ROLE_DATA:
        /* GRADIENT_NORM's option 1: one element that is not finite. */
        if (test->op == DDPM_OP_GRADIENT_NORM && test->option == 1 && c == test->shape.c / 2)
            return (double)INFINITY;
        return activation_value(test, r);
    case ROLE_LOSS: /* GRADIENT_NORM's option 2: one loss that is not finite */
        return test->option == 2 && p == 3 ? (double)INFINITY : 0.5;
    case ROLE_PARAMETER:
        return 0.2 * (double)normal[0];
    case ROLE_SQUARES:
        return (double)(normal[0] * normal[0]);
    case ROLE_PICTURE:
        return r.v[0] % 256;
    case ROLE_FLIP:
        if (test->shape.h != test->shape.w) /* no quarter turns */
            return (double)(p % 2 + 4 * (p / 2 % 2));
        return (double)(p % 8);
    case ROLE_TIMESTEP:
        if (test->op == DDPM_OP_TIMESTEP_EMBEDDING)
            return p == 0 ? 0 : p == 1 ? 999 : r.v[0] % 1000;
        return p == 0 ? 0 : p == 1 ? CASE_TIMESTEPS - 1 : r.v[0] % CASE_TIMESTEPS;
    case ROLE_COUNTERS:
        return c == 0 ? (double)p * 3 + 1 : c == 1 ? 1000 + (double)p : (double)(int32_t)r.v[0];
    case ROLE_ROWS:
        if (test->op == DDPM_OP_COMBINE)
            return coefficient(p, c);
        if (test->op == DDPM_OP_VARIATIONAL_LOSS || test->op == DDPM_OP_VARIATIONAL_LOSS_BACKWARD ||
            test->op == DDPM_OP_SCALE_NOISE)
            return variance_coefficient(test, p, c);
        return (double)ddpm_uniform(r.v[0]);
    case ROLE_LEVEL:
        return p == 0 ? 0 : p == 1 ? 999 : 1000 * (double)ddpm_uniform(r.v[0]);
    case ROLE_MASK:
        return mask_value(p);
    case ROLE_NORM:
        return (test->op == DDPM_OP_ADAMW || test->op == DDPM_OP_MUON) && test->option == 3
                   ? (double)NAN
                   : 2.5;
    case ROLE_HYPER:
        return hyper_value(test, c);
    case ROLE_RULES:
        return (double)(c % 4);
    case ROLE_STATS:
    case ROLE_COPY:
        break;
    }
    return 0;
}

static void fill_tensor(struct case_state *state, const struct case_tensor *tensor, uint32_t number)
{
    const struct ddpm_tensor *view = &tensor->view;
    unsigned char *data = state->buffers[tensor->buffer].before + tensor->offset;
    for (int64_t p = 0; p < ddpm_tensor_pixels(view); ++p)
        for (int64_t c = 0; c < view->c; ++c)
            ddpm_store(data, view->dtype, p * view->pixel_stride + c,
                       value_of(&state->test, tensor->role, p, c, number));
}

/* Mean and 1/√(var + eps) of the activated input 0, as from a forward pass. */
static void fill_stats(struct case_state *state, const struct case_tensor *stats)
{
    struct ddpm_tensor x = state->in[0].view;
    x.data = state->buffers[state->in[0].buffer].before + state->in[0].offset;
    unsigned char *to = state->buffers[stats->buffer].before + stats->offset;
    const int64_t image = x.h * x.w;
    const double count = (double)(image * x.c);
    for (int64_t n = 0; n < x.n; ++n) {
        double moments[2] = {0, 0};
        for (int pass = 0; pass < 2; ++pass) {
            for (int64_t p = n * image; p < (n + 1) * image; ++p) {
                for (int64_t c = 0; c < x.c; ++c) {
                    double a =
                        ddpm_ref_activate(state->call.attributes.activation, ref_get(&x, p, c));
                    moments[pass] += (pass ? (a - moments[0]) * (a - moments[0]) : a) / count;
                }
            }
        }
        ddpm_store(to, stats->view.dtype, 2 * n, moments[0]);
        ddpm_store(to, stats->view.dtype, 2 * n + 1,
                   1 / sqrt(moments[1] + (double)state->call.attributes.eps));
    }
}

static void fill_copy(struct case_state *state, const struct case_tensor *copy)
{
    const struct case_tensor *from = &state->in[1];
    const unsigned char *values = state->buffers[from->buffer].before + from->offset;
    unsigned char *to = state->buffers[copy->buffer].before + copy->offset;
    for (int64_t i = 0; i < ddpm_tensor_count(&copy->view); ++i)
        ddpm_store(to, copy->view.dtype, i, ddpm_load(values, from->view.dtype, i));
}

void case_fill(struct case_state *state)
{
    const struct ddpm_op_info *info = &ddpm_op_info[state->test.op];
    place_all(state);
    for (int i = 0; i < info->inputs; ++i) {
        if (!ddpm_tensor_present(&state->in[i].view))
            continue;
        if (state->in[i].role == ROLE_STATS)
            fill_stats(state, &state->in[i]);
        else if (state->in[i].role == ROLE_COPY)
            fill_copy(state, &state->in[i]);
        else
            fill_tensor(state, &state->in[i], (uint32_t)i);
    }
    for (int o = 0; o < info->outputs && !state->test.overwrites; ++o)
        if ((info->accumulates >> o & 1) && ddpm_tensor_present(&state->out[o].view))
            fill_tensor(state, &state->out[o], (uint32_t)(DDPM_MAX_INPUTS + o));
}
