/* The `check` backend. Around each run of the wrapped backend's kernel:
 *
 *   before   overwritten outputs and the scratch are filled with a NaN of a recognisable pattern,
 *            so that an element that is not written, or scratch that is read before it is written,
 *            shows; outputs that are an input in place, or accumulate, are left
 *   after    inputs that are not outputs in place have the bytes they had; no output holds the
 *            pattern, except where it was added to; finite inputs gave no NaN
 *
 * A violation is DDPM_ERROR_DEVICE with the kernel's name and the call's label. It works in host
 * memory only. */
#include "kernels/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"
#include "core/memory.h"
#include "kernels/host_memory.h"

/* A row of the wrapped backend with a row of ours around it. */
struct wrapper {
    struct ddpm_kernel row; /* first member: a call's kernel is a wrapper */
    const struct ddpm_kernel *inner;
    char name[80];
    struct wrapper *next;
};

struct check_device {
    struct ddpm_device base;
    struct ddpm_device *inner;
    struct wrapper *wrappers;
};

/* 32 bits that are a quiet NaN in fp32; twice in a row they are one in fp64; their upper half is
 * one in bf16. */
#define STALE 0x7fd5deadu
#define STALE_BF16 ((uint16_t)0x7fd5u)

static void *element(const struct ddpm_tensor *t, int64_t p, int64_t c)
{
    return (char *)t->data + (p * t->pixel_stride + c) * (int64_t)ddpm_dtype_size(t->dtype);
}

static void make_stale(const struct ddpm_tensor *t)
{
    const uint32_t words[2] = {STALE, STALE};
    const uint16_t half = STALE_BF16;
    if (t->dtype == DDPM_U8)
        return;
    for (int64_t p = 0; p < ddpm_tensor_pixels(t); ++p)
        for (int64_t c = 0; c < t->c; ++c)
            memcpy(element(t, p, c), t->dtype == DDPM_BF16 ? (const void *)&half : words,
                   ddpm_dtype_size(t->dtype));
}

static bool is_stale(const struct ddpm_tensor *t, int64_t p, int64_t c)
{
    const uint32_t words[2] = {STALE, STALE};
    const uint16_t half = STALE_BF16;
    return t->dtype != DDPM_U8 &&
           !memcmp(element(t, p, c), t->dtype == DDPM_BF16 ? (const void *)&half : words,
                   ddpm_dtype_size(t->dtype));
}

/* Do the two views share an element? Channel ranges of one wide tensor do not. */
static bool overlap(const struct ddpm_tensor *a, const struct ddpm_tensor *b)
{
    const char *first = a->data, *second = b->data;
    if (!ddpm_tensor_present(a) || !ddpm_tensor_present(b) ||
        first + ddpm_tensor_bytes(a) <= second || second + ddpm_tensor_bytes(b) <= first)
        return false;
    size_t size = ddpm_dtype_size(a->dtype), stride = (size_t)a->pixel_stride * size;
    if (size != ddpm_dtype_size(b->dtype) || a->pixel_stride != b->pixel_stride)
        return true;
    size_t apart = second >= first ? (size_t)(second - first) % stride
                                   : (stride - (size_t)(first - second) % stride) % stride;
    return apart < (size_t)a->c * size || stride - apart < (size_t)b->c * size;
}

static bool input_is_output(const struct ddpm_call *call, const struct ddpm_tensor *input)
{
    for (int o = 0; o < ddpm_op_info[call->op].outputs; ++o)
        if (overlap(input, &call->out[o]))
            return true;
    return false;
}

static bool output_is_input(const struct ddpm_call *call, const struct ddpm_tensor *output)
{
    for (int i = 0; i < ddpm_op_info[call->op].inputs; ++i)
        if (overlap(output, &call->in[i]))
            return true;
    return false;
}

/* A hash of the elements of a view. */
static uint64_t hash_tensor(const struct ddpm_tensor *t)
{
    const size_t size = ddpm_dtype_size(t->dtype);
    uint64_t hash = DDPM_FNV64_START;
    for (int64_t p = 0; p < ddpm_tensor_pixels(t); ++p)
        for (int64_t c = 0; c < t->c; ++c)
            hash = ddpm_fnv64(hash, element(t, p, c), size);
    return hash;
}

static bool all_finite(const struct ddpm_tensor *t)
{
    for (int64_t p = 0; p < ddpm_tensor_pixels(t); ++p)
        for (int64_t c = 0; c < t->c; ++c)
            if (!isfinite(ddpm_load(t->data, t->dtype, p * t->pixel_stride + c)))
                return false;
    return true;
}

static ddpm_status raise_at(const struct ddpm_call *call, const char *tensor, int index,
                            const char *what)
{
    return ddpm_raise(DDPM_ERROR_DEVICE, "check: %s at %s: %s %d %s", call->kernel->name,
                      call->label ? call->label : "(no label)", tensor, index, what);
}

static bool any_stale(const struct ddpm_tensor *t)
{
    for (int64_t p = 0; p < ddpm_tensor_pixels(t); ++p)
        for (int64_t c = 0; c < t->c; ++c)
            if (is_stale(t, p, c))
                return true;
    return false;
}

/* `discarded`: bits of the outputs that are not checked. */
static ddpm_status check_outputs(const struct ddpm_call *call, bool finite, unsigned discarded)
{
    for (int o = 0; o < ddpm_op_info[call->op].outputs; ++o) {
        const struct ddpm_tensor *t = &call->out[o];
        if (discarded >> o & 1u)
            continue;
        for (int64_t p = 0; p < ddpm_tensor_pixels(t); ++p) {
            for (int64_t c = 0; c < t->c; ++c) {
                if (is_stale(t, p, c))
                    return raise_at(call, "output", o, "has elements that were not written");
                if (finite && isnan(ddpm_load(t->data, t->dtype, p * t->pixel_stride + c)))
                    return raise_at(call, "output", o, "is NaN though every input is finite");
            }
        }
    }
    return DDPM_OK;
}

/* The call as the wrapped backend sees it. */
static struct ddpm_call inner_call(const struct ddpm_call *call)
{
    const struct wrapper *wrapper = (const struct wrapper *)call->kernel;
    struct ddpm_call inner = *call;
    inner.device = ((struct check_device *)call->device)->inner;
    inner.kernel = wrapper->inner;
    return inner;
}

static ddpm_status check_prepare(struct ddpm_call *call)
{
    struct ddpm_call inner = inner_call(call);
    if (inner.kernel->prepare)
        DDPM_TRY(inner.kernel->prepare(&inner));
    call->scratch_bytes = inner.scratch_bytes;
    call->packed_bytes = inner.packed_bytes;
    call->state = inner.state;
    return DDPM_OK;
}

static ddpm_status check_pack(const struct ddpm_call *call)
{
    struct ddpm_call inner = inner_call(call);
    return inner.kernel->pack(&inner);
}

static ddpm_status check_run(const struct ddpm_call *call)
{
    const struct ddpm_op_info *info = &ddpm_op_info[call->op];
    struct ddpm_call inner = inner_call(call);
    uint64_t hashes[DDPM_MAX_INPUTS];
    unsigned discarded =
        0; /* sums added to memory that nothing wrote: gradients of frozen parameters */
    bool finite = true;
    for (int i = 0; i < info->inputs; ++i) {
        hashes[i] = hash_tensor(&call->in[i]);
        finite = finite && all_finite(&call->in[i]);
    }
    for (int o = 0; o < info->outputs; ++o) {
        const bool adds = (info->accumulates & ~call->attributes.overwrites) >> o & 1;
        if (adds && any_stale(&call->out[o]))
            discarded |= 1u << o;
        else if (adds)
            finite = finite && all_finite(&call->out[o]);
        else if (!output_is_input(call, &call->out[o]))
            make_stale(&call->out[o]);
    }
    const uint32_t stale = STALE;
    for (size_t i = 0; i + sizeof stale <= call->scratch_bytes; i += sizeof stale)
        memcpy((char *)call->scratch + i, &stale, sizeof stale);
    DDPM_TRY(inner.kernel->run(&inner));
    for (int i = 0; i < info->inputs; ++i)
        if (!input_is_output(call, &call->in[i]) && hash_tensor(&call->in[i]) != hashes[i])
            return raise_at(call, "input", i, "was changed");
    return check_outputs(call, finite, discarded);
}

static void check_release(struct ddpm_call *call)
{
    struct ddpm_call inner = inner_call(call);
    if (inner.kernel->release)
        inner.kernel->release(&inner);
    call->state = NULL;
}

static const struct ddpm_kernel *check_find_kernel(struct ddpm_device *device,
                                                   const struct ddpm_call *call)
{
    struct check_device *check = (struct check_device *)device;
    struct ddpm_call asked = *call;
    asked.device = check->inner;
    const struct ddpm_kernel *inner = check->inner->backend->find_kernel(check->inner, &asked);
    if (!inner)
        return NULL;
    for (struct wrapper *known = check->wrappers; known; known = known->next)
        if (known->inner == inner)
            return &known->row;
    struct wrapper *wrapper;
    if (DDPM_NEW(&wrapper, "a checking kernel") != DDPM_OK)
        return NULL;
    snprintf(wrapper->name, sizeof wrapper->name, "check:%s", inner->name);
    wrapper->row = (struct ddpm_kernel){.name = wrapper->name,
                                        .prepare = check_prepare,
                                        .pack = inner->pack ? check_pack : NULL,
                                        .run = check_run,
                                        .release = check_release};
    wrapper->inner = inner;
    wrapper->next = check->wrappers;
    check->wrappers = wrapper;
    return &wrapper->row;
}

static void check_close(struct ddpm_device *device)
{
    struct check_device *check = (struct check_device *)device;
    while (check->wrappers) {
        struct wrapper *next = check->wrappers->next;
        free(check->wrappers);
        check->wrappers = next;
    }
    ddpm_device_close(&check->inner);
    free(check);
}

static ddpm_status check_open(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    const char *name = getenv("DDPM_CHECK_BACKEND");
    if (!name || !*name)
        name = "cpu";
    *out = NULL;
    if (strcmp(name, "cpu") != 0 && strcmp(name, "ref") != 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "DDPM_CHECK_BACKEND: got \"%s\", want cpu or ref: only host memory can "
                          "be checked",
                          name);
    struct check_device *check;
    DDPM_TRY(DDPM_NEW(&check, "the checking device"));
    ddpm_status status = ddpm_device_open(name, options, &check->inner);
    if (status != DDPM_OK) {
        free(check);
        return status;
    }
    check->base.backend = &ddpm_backend_check;
    check->base.threads = check->inner->threads;
    check->base.direct = check->inner->direct;
    check->base.preferred = check->inner->preferred;
    snprintf(check->base.description, sizeof check->base.description, "checked %.120s",
             check->inner->description);
    *out = &check->base;
    return DDPM_OK;
}

const struct ddpm_backend ddpm_backend_check = {
    .name = "check",
    .open = check_open,
    .close = check_close,
    DDPM_HOST_MEMORY_ROWS,
    .find_kernel = check_find_kernel,
};
