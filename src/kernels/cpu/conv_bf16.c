/* Convolutions of bf16 activations on processors that multiply in fp32: the operands are widened
 * into scratch, the fp32 kernel of the same operation does the work, and results are rounded once.
 * Activations take half the memory; the sums are fp32's. */
#include "kernels/cpu/conv_bf16.h"

#include <stdlib.h>

#include "core/memory.h"
#include "kernels/backend.h"

#define TENSORS (DDPM_MAX_INPUTS + DDPM_MAX_OUTPUTS)

struct widened {
    struct ddpm_call inner; /* the same call in fp32 */
    const struct ddpm_kernel *convert_in, *convert_out;
    size_t offset[TENSORS]; /* in scratch, of the fp32 copies; inputs, then outputs */
};

static struct ddpm_tensor *tensor_of(struct ddpm_call *call, int i)
{
    return i < DDPM_MAX_INPUTS ? &call->in[i] : &call->out[i - DDPM_MAX_INPUTS];
}

static const struct ddpm_tensor *given(const struct ddpm_call *call, int i)
{
    return i < DDPM_MAX_INPUTS ? &call->in[i] : &call->out[i - DDPM_MAX_INPUTS];
}

static bool is_narrow(const struct ddpm_call *call, int i)
{
    return ddpm_tensor_present(given(call, i)) && given(call, i)->dtype == DDPM_BF16;
}

static struct ddpm_call conversion(const struct ddpm_call *call, struct ddpm_tensor from,
                                   struct ddpm_tensor to)
{
    struct ddpm_call conversion = {.op = DDPM_OP_CONVERT, .device = call->device};
    conversion.in[0] = from;
    conversion.out[0] = to;
    return conversion;
}

static struct ddpm_tensor widen(const struct ddpm_tensor *narrow)
{
    return ddpm_tensor_make(DDPM_F32, narrow->n, narrow->h, narrow->w, narrow->c);
}

static const struct ddpm_kernel *find(const struct ddpm_call *call)
{
    return call->device->backend->find_kernel(call->device, call);
}

/* The call in fp32, without addresses. */
static struct ddpm_call inner_call(const struct ddpm_call *call)
{
    struct ddpm_call inner = *call;
    for (int i = 0; i < TENSORS; ++i)
        if (is_narrow(call, i))
            *tensor_of(&inner, i) = widen(given(call, i));
    return inner;
}

static bool bf16_supports(const struct ddpm_call *call)
{
    bool narrow = false;
    for (int i = 0; i < TENSORS; ++i) {
        const struct ddpm_tensor *tensor = given(call, i);
        if (!ddpm_tensor_present(tensor))
            continue;
        if (tensor->dtype != DDPM_F32 && tensor->dtype != DDPM_BF16)
            return false;
        narrow |= tensor->dtype == DDPM_BF16;
    }
    struct ddpm_call inner = inner_call(call);
    return narrow && find(&inner) != NULL;
}

static ddpm_status bf16_prepare(struct ddpm_call *call)
{
    struct widened *w;
    DDPM_TRY(DDPM_NEW(&w, "a convolution"));
    call->state = w;
    w->inner = inner_call(call);
    w->inner.kernel = find(&w->inner);
    if (w->inner.kernel->prepare)
        DDPM_TRY(w->inner.kernel->prepare(&w->inner));
    size_t used = ddpm_align_up(w->inner.scratch_bytes);
    for (int i = 0; i < TENSORS; ++i) {
        if (!is_narrow(call, i))
            continue;
        struct ddpm_tensor wide = widen(given(call, i));
        struct ddpm_call in = conversion(call, *given(call, i), wide);
        struct ddpm_call out = conversion(call, wide, *given(call, i));
        w->convert_in = find(&in);
        w->convert_out = find(&out);
        w->offset[i] = used;
        used += ddpm_align_up(ddpm_tensor_bytes(&wide));
    }
    call->scratch_bytes = used;
    call->packed_bytes = w->inner.packed_bytes;
    return DDPM_OK;
}

/* Give the inner call the addresses of this one. */
static struct widened *bind(const struct ddpm_call *call)
{
    struct widened *w = call->state;
    w->inner.scratch = call->scratch;
    w->inner.packed = call->packed;
    for (int i = 0; i < TENSORS; ++i)
        tensor_of(&w->inner, i)->data = is_narrow(call, i) && call->scratch
                                            ? (char *)call->scratch + w->offset[i]
                                            : given(call, i)->data;
    return w;
}

static ddpm_status bf16_pack(const struct ddpm_call *call)
{
    struct widened *w = bind(call);
    return w->inner.kernel->pack ? w->inner.kernel->pack(&w->inner) : DDPM_OK;
}

static ddpm_status bf16_run(const struct ddpm_call *call)
{
    struct widened *w = bind(call);
    for (int i = 0; i < DDPM_MAX_INPUTS; ++i) {
        if (!is_narrow(call, i))
            continue;
        struct ddpm_call in = conversion(call, call->in[i], w->inner.in[i]);
        DDPM_TRY(w->convert_in->run(&in));
    }
    DDPM_TRY(w->inner.kernel->run(&w->inner));
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o) {
        if (!is_narrow(call, DDPM_MAX_INPUTS + o))
            continue;
        struct ddpm_call out = conversion(call, w->inner.out[o], call->out[o]);
        DDPM_TRY(w->convert_out->run(&out));
    }
    return DDPM_OK;
}

static void bf16_release(struct ddpm_call *call)
{
    struct widened *w = call->state;
    if (w && w->inner.kernel && w->inner.kernel->release)
        w->inner.kernel->release(&w->inner);
    free(w);
    call->state = NULL;
}

#define ROW(name_)                                                                                 \
    {                                                                                              \
        .name = name_, .supports = bf16_supports, .prepare = bf16_prepare, .pack = bf16_pack,      \
        .run = bf16_run, .release = bf16_release                                                   \
    }
const struct ddpm_kernel ddpm_cpu_conv2d_bf16 = ROW("conv2d_bf16_cpu");
const struct ddpm_kernel ddpm_cpu_conv2d_backward_data_bf16 = ROW("conv2d_backward_data_bf16_cpu");
const struct ddpm_kernel ddpm_cpu_conv2d_backward_weight_bf16 =
    ROW("conv2d_backward_weight_bf16_cpu");
