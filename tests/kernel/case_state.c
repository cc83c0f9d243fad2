/* Opening a case with the reference's result, and comparing a kernel's result with it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "kernel_case.h"

/* A dense copy of the tensor, in fp64 if it holds floating-point numbers. */
static ddpm_status reference_tensor(const struct case_state *state,
                                    const struct case_tensor *tensor, bool with_values,
                                    struct ddpm_tensor *out)
{
    const struct ddpm_tensor *view = &tensor->view;
    const bool integer = view->dtype == DDPM_I32 || view->dtype == DDPM_U8;
    *out = ddpm_tensor_make(integer ? view->dtype : DDPM_F64, view->n, view->h, view->w, view->c);
    if (!ddpm_tensor_present(view))
        return DDPM_OK;
    DDPM_TRY(ddpm_new_aligned(&out->data, ddpm_tensor_bytes(out), "a reference tensor"));
    const unsigned char *from = state->buffers[tensor->buffer].before + tensor->offset;
    for (int64_t p = 0; with_values && p < ddpm_tensor_pixels(view); ++p)
        for (int64_t c = 0; c < view->c; ++c)
            ddpm_store(out->data, out->dtype, p * view->c + c,
                       ddpm_load(from, view->dtype, p * view->pixel_stride + c));
    return DDPM_OK;
}

static ddpm_status keep_result(struct case_state *state, int o, const struct ddpm_tensor *result)
{
    const int64_t count = ddpm_tensor_count(result);
    if (!count)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&state->want[o], (size_t)count, sizeof(double), "a result"));
    for (int64_t i = 0; i < count; ++i)
        state->want[o][i] = ddpm_load(result->data, result->dtype, i);
    return DDPM_OK;
}

static ddpm_status run_prepared(struct ddpm_call *call)
{
    if (call->kernel->prepare)
        DDPM_TRY(call->kernel->prepare(call));
    if (call->scratch_bytes)
        DDPM_TRY(ddpm_new_aligned(&call->scratch, call->scratch_bytes, "scratch"));
    return call->kernel->run(call);
}

static ddpm_status run_reference(struct case_state *state, struct ddpm_device *ref)
{
    const struct ddpm_op_info *info = &ddpm_op_info[state->test.op];
    struct ddpm_call call = state->call;
    ddpm_status status = DDPM_OK;
    call.device = ref;
    call.kernel = ref->backend->find_kernel(ref, &call);
    if (!call.kernel)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "the reference has no kernel for %s", info->name);
    for (int i = 0; i < info->inputs; ++i)
        DDPM_TRY_GOTO(done, reference_tensor(state, &state->in[i], true, &call.in[i]));
    for (int o = 0; o < info->outputs; ++o)
        DDPM_TRY_GOTO(done, reference_tensor(state, &state->out[o], info->accumulates >> o & 1,
                                             &call.out[o]));
    DDPM_TRY_GOTO(done, run_prepared(&call));
    for (int o = 0; o < info->outputs; ++o)
        DDPM_TRY_GOTO(done, keep_result(state, o, &call.out[o]));
done:
    for (int i = 0; i < info->inputs; ++i)
        ddpm_free_aligned(call.in[i].data);
    for (int o = 0; o < info->outputs; ++o)
        ddpm_free_aligned(call.out[o].data);
    ddpm_free_aligned(call.scratch);
    return status;
}

ddpm_status case_open(struct case_state *state, const struct kernel_case *test,
                      struct ddpm_device *ref)
{
    *state = (struct case_state){.test = *test};
    case_build(state);
    case_fill(state);
    for (int i = 0; i < DDPM_MAX_INPUTS; ++i)
        state->call.in[i] = state->in[i].view;
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o)
        state->call.out[o] = state->out[o].view;
    return ref ? run_reference(state, ref) : DDPM_OK;
}

void case_close(struct case_state *state)
{
    for (int b = 0; b < state->buffer_count; ++b) {
        free(state->buffers[b].before);
        free(state->buffers[b].after);
    }
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o)
        free(state->want[o]);
    *state = (struct case_state){0};
}

/* Bounds of ‖got - want‖/‖want‖. fp32: rounding of the operations, and Winograd F(4×4,3×3)'s for
 * 3×3 convolutions. bf16: rounding of the result (2^-9 at most, half of it typically), and of the
 * weights and transformed tiles for convolutions, whose error on random data is 0.012
 * (src/kernels/cpu/winograd.h). The embedding's angle is up to 999 in fp32. */
static double tolerance(const struct case_state *state, int output)
{
    const struct kernel_case *test = &state->test;
    const bool bf16 = test->dtype == DDPM_BF16;
    const bool rounded = state->out[output].view.dtype == DDPM_BF16;
    switch (test->op) {
    case DDPM_OP_CONV2D:
    case DDPM_OP_CONV2D_BACKWARD_DATA:
    case DDPM_OP_CONV2D_BACKWARD_WEIGHT:
        return !bf16 ? 2e-5 : test->shape.kernel == 3 ? 1.6e-2 : 1e-2;
    case DDPM_OP_DEPTHWISE_CONV2D:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT:
        return bf16 ? 6e-3 : 4e-6;
    case DDPM_OP_TIMESTEP_EMBEDDING:
        return rounded ? 4e-3 : 1e-4;
    case DDPM_OP_DRAW_TIMESTEPS:
        return 0;
    case DDPM_OP_GROUP_NORM: /* sums of a GELU that is as accurate as bf16 can show */
    case DDPM_OP_GROUP_NORM_BACKWARD:
        return rounded ? 4e-3 : bf16 ? 1e-3 : 4e-6;
    default:
        return rounded ? 4e-3 : 4e-6;
    }
}

static double input_rms(const struct case_state *state, int i)
{
    const struct case_tensor *tensor = &state->in[i];
    const struct ddpm_tensor *view = &tensor->view;
    const unsigned char *data = state->buffers[tensor->buffer].before + tensor->offset;
    double squares = 0;
    for (int64_t p = 0; p < ddpm_tensor_pixels(view); ++p) {
        for (int64_t c = 0; c < view->c; ++c) {
            double value = ddpm_load(data, view->dtype, p * view->pixel_stride + c);
            squares += value * value;
        }
    }
    return sqrt(squares / (double)ddpm_tensor_count(view));
}

/* For group norm, whose statistics are input `i`. */
static double largest_rstd(const struct case_state *state, int i)
{
    const struct case_tensor *stats = &state->in[i];
    const unsigned char *data = state->buffers[stats->buffer].before + stats->offset;
    double largest = 0;
    for (int64_t n = 0; n < stats->view.n; ++n)
        largest = fmax(largest, ddpm_load(data, stats->view.dtype, 2 * n + 1));
    return largest;
}

/* The size that an output of many terms would have if their signs were random. If they happen to
 * cancel, errors are compared with this, not with the small rest. A normalised value (a -
 * mean)·rstd contains the rounding error of a, enlarged by rstd. */
static double natural_size(const struct case_state *state, int o)
{
    const double pixels = (double)ddpm_tensor_pixels(&state->in[0].view);
    const bool bf16 = state->test.dtype == DDPM_BF16;
    double rstd;
    switch (state->test.op) {
    case DDPM_OP_CONV2D: /* in bf16 the weights are rounded too; fp32 needs no such tolerance */
    case DDPM_OP_CONV2D_BACKWARD_DATA:
        return !bf16
                   ? 0
                   : sqrt((double)(state->test.op == DDPM_OP_CONV2D
                                       ? ddpm_tensor_count(&state->in[1].view) / state->in[1].view.n
                                       : state->in[1].view.n)) *
                         input_rms(state, 0) * input_rms(state, 1);
    case DDPM_OP_DEPTHWISE_CONV2D:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA:
        if (o == 1)
            return 1 / state->want[1][1];
        return !bf16 ? 0
                     : sqrt((double)(state->in[1].view.h * state->in[1].view.w)) *
                           input_rms(state, 0) * input_rms(state, 1);
    case DDPM_OP_CONV2D_BACKWARD_WEIGHT:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT:
        return sqrt((double)ddpm_tensor_pixels(&state->in[1].view)) * input_rms(state, 1) *
               (o == 0 ? input_rms(state, 0) : 1);
    case DDPM_OP_SUM_PIXELS:
        return sqrt(pixels / (double)state->in[0].view.n) * input_rms(state, 0);
    case DDPM_OP_SCALE_PIXELS_BACKWARD:
        return o == 0
                   ? 0
                   : sqrt((double)state->in[1].view.c) * input_rms(state, 1) * input_rms(state, 2);
    case DDPM_OP_GROUP_NORM: /* an error of the mean, in standard deviations */
        rstd = state->want[1] ? state->want[1][1] : largest_rstd(state, 3);
        return o == 1 ? 1 / rstd : input_rms(state, 1) * (1 + rstd * input_rms(state, 0));
    case DDPM_OP_GROUP_NORM_BACKWARD:
        rstd = largest_rstd(state, 2);
        return input_rms(state, 3) * (1 + rstd * input_rms(state, 0)) *
               (o == 0 ? rstd * input_rms(state, 1) : sqrt(pixels));
    default:
        return 0;
    }
}

static bool output_agrees(struct case_state *state, int o)
{
    const struct case_tensor *tensor = &state->out[o];
    const struct ddpm_tensor *view = &tensor->view;
    const unsigned char *data = state->buffers[tensor->buffer].after + tensor->offset;
    const double *want = state->want[o], bound = tolerance(state, o);
    const int64_t count = ddpm_tensor_count(view);
    double squares = 0, errors = 0;
    for (int64_t i = 0; i < count; ++i)
        squares += isfinite(want[i]) ? want[i] * want[i] : 0;
    const double size = fmax(sqrt(squares / (double)count), natural_size(state, o));
    for (int64_t i = 0; i < count; ++i) {
        double got = ddpm_load(data, view->dtype, i / view->c * view->pixel_stride + i % view->c);
        double error = fabs(got - want[i]);
        if (isfinite(want[i]) ? !(error <= 20 * bound * (fabs(want[i]) + size)) : isfinite(got)) {
            snprintf(state->failure, sizeof state->failure,
                     "output %d, pixel %lld, channel %lld: got %.9g, want %.9g (size %.3g)", o,
                     (long long)(i / view->c), (long long)(i % view->c), got, want[i], size);
            return false;
        }
        errors += isfinite(want[i]) ? error * error : 0;
    }
    const double relative = errors > 0 ? sqrt(errors / (double)count) / size : 0;
    if (relative <= bound)
        return true;
    snprintf(state->failure, sizeof state->failure, "output %d: relative error %.3g, want <= %.3g",
             o, relative, bound);
    return false;
}

/* Which bytes of a buffer is a kernel allowed to change? */
static void mark_outputs(const struct case_state *state, int buffer, unsigned char *marks)
{
    for (int o = 0; o < ddpm_op_info[state->test.op].outputs; ++o) {
        const struct case_tensor *tensor = &state->out[o];
        const struct ddpm_tensor *view = &tensor->view;
        if (!ddpm_tensor_present(view) || tensor->buffer != buffer)
            continue;
        const size_t size = ddpm_dtype_size(view->dtype);
        for (int64_t p = 0; p < ddpm_tensor_pixels(view); ++p)
            memset(marks + tensor->offset + (size_t)(p * view->pixel_stride) * size, 1,
                   (size_t)view->c * size);
    }
}

static bool rest_is_untouched(struct case_state *state, int number)
{
    const struct case_buffer *buffer = &state->buffers[number];
    unsigned char *marks = calloc(buffer->bytes, 1);
    bool untouched = marks != NULL;
    if (marks)
        mark_outputs(state, number, marks);
    for (size_t i = 0; untouched && i < buffer->bytes; ++i)
        untouched = marks[i] || buffer->before[i] == buffer->after[i];
    free(marks);
    if (!untouched)
        snprintf(state->failure, sizeof state->failure,
                 "buffer %d: an input, the channels between two pixels, or a guard was overwritten",
                 number);
    return untouched;
}

/* AdamW's copy is its own weights, rounded, bit for bit. */
static bool copy_is_rounded(struct case_state *state)
{
    const struct case_tensor *w = &state->out[0], *copy = &state->out[4];
    const bool refused = state->test.option == 3; /* must not be written */
    if (state->test.op != DDPM_OP_ADAMW || !ddpm_tensor_present(&copy->view) || refused)
        return true;
    const void *weights = state->buffers[w->buffer].after + w->offset;
    const void *copies = state->buffers[copy->buffer].after + copy->offset;
    for (int64_t i = 0; i < copy->view.c; ++i) {
        const float want =
            ddpm_bf16_to_float(ddpm_float_to_bf16((float)ddpm_load(weights, w->view.dtype, i)));
        const double got = ddpm_load(copies, DDPM_BF16, i);
        if (got == (double)want)
            continue;
        snprintf(state->failure, sizeof state->failure, "copy of weight %lld: got %.9g, want %.9g",
                 (long long)i, got, (double)want);
        return false;
    }
    return true;
}

bool case_agrees(struct case_state *state)
{
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o)
        if (state->want[o] && !output_agrees(state, o))
            return false;
    for (int b = 0; b < state->buffer_count; ++b)
        if (!rest_is_untouched(state, b))
            return false;
    return copy_is_rounded(state);
}
