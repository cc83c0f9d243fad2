/* Features "inception": the last activations of FID's network, on the CPU, with weights from a
 * file.
 *
 * Each thread runs one picture through the whole network; the convolutions are calls of the CPU
 * backend for one picture and one thread. So the results do not depend on the number of threads or
 * on which pictures come together. */
#include "evaluation/inception.h"

#include <stdlib.h>

#include <ddpm/evaluate.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "evaluation/features.h"
#include "kernels/backend.h"

struct ddpm_feature_network {
    struct ddpm_inception_plan plan;
    struct ddpm_device *device;
    struct ddpm_call calls[DDPM_INCEPTION_STEPS]; /* of the convolutions, without activations */
    float *biases[DDPM_INCEPTION_STEPS];
    void *packed[DDPM_INCEPTION_STEPS];
    size_t border, scratch; /* bytes of the largest */
};

/* The backend pads all four sides equally. */
static bool wants_border(const struct ddpm_inception_step *step)
{
    return step->kind == DDPM_INCEPTION_CONV && step->padding_h != step->padding_w;
}

static struct ddpm_call call_of(const struct ddpm_inception_step *step, struct ddpm_device *device)
{
    const bool border = wants_border(step);
    const int height = step->input.height + (border ? 2 * step->padding_h : 0);
    const int width = step->input.width + (border ? 2 * step->padding_w : 0);
    const struct ddpm_inception_shape *out = &step->output;
    struct ddpm_call call = {
        .op = DDPM_OP_CONV2D,
        .label = step->name,
        .device = device,
        .in = {ddpm_tensor_make(DDPM_F32, 1, height, width, step->input.channels),
               ddpm_tensor_make(DDPM_F32, out->channels, step->kernel_h, step->kernel_w,
                                step->input.channels),
               ddpm_tensor_make(DDPM_F32, 1, 1, 1, out->channels)},
        .out = {ddpm_tensor_make(DDPM_F32, 1, out->height, out->width, out->channels)},
        .attributes = {.kernel_h = step->kernel_h,
                       .kernel_w = step->kernel_w,
                       .stride = step->stride,
                       .padding = border ? 0 : step->padding_h},
    };
    call.out[0].pixel_stride = step->all;
    return call;
}

/* Choose the kernel of step `index` and pack its weights. */
static ddpm_status add_convolution(struct ddpm_feature_network *network, int index,
                                   const struct ddpm_tensor_file *file)
{
    const struct ddpm_inception_step *step = &network->plan.steps[index];
    struct ddpm_call *call = &network->calls[index];
    float *weights;
    *call = call_of(step, network->device);
    call->kernel = network->device->backend->find_kernel(network->device, call);
    if (!call->kernel)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: the CPU has no kernel for it", step->name);
    DDPM_TRY(call->kernel->prepare(call));
    DDPM_TRY(ddpm_new_aligned(&network->packed[index], call->packed_bytes, "Inception's weights"));
    DDPM_TRY(ddpm_inception_read(file, step, &weights, &network->biases[index]));
    call->packed = network->packed[index];
    call->in[1].data = weights;
    call->in[2].data = network->biases[index];
    ddpm_status status = call->kernel->pack(call);
    call->in[1].data = NULL; /* `packed` holds them */
    free(weights);
    if (wants_border(step) && network->border < ddpm_tensor_bytes(&call->in[0]))
        network->border = ddpm_tensor_bytes(&call->in[0]);
    if (network->scratch < call->scratch_bytes)
        network->scratch = call->scratch_bytes;
    return status;
}

static ddpm_status open_file(struct ddpm_feature_network *network, const char *path)
{
    /* Winograd's sums are less exact, and most layers have kernels of other sizes. */
    const struct ddpm_device_options options = {.threads = 1, .direct = true};
    struct ddpm_tensor_file *file;
    ddpm_inception_plan(&network->plan);
    DDPM_TRY(ddpm_device_open("cpu", &options, &network->device));
    DDPM_TRY(ddpm_tensor_file_open(&file, path));
    ddpm_status status = DDPM_OK;
    for (int i = 0; i < network->plan.count && status == DDPM_OK; ++i)
        if (network->plan.steps[i].kind == DDPM_INCEPTION_CONV)
            status = add_convolution(network, i, file);
    ddpm_tensor_file_close(&file);
    return status == DDPM_OK ? status : ddpm_raise_context(status, "%s: ", path);
}

ddpm_status ddpm_feature_network_open(const char *path, struct ddpm_feature_network **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(path);
    struct ddpm_feature_network *network;
    DDPM_TRY(DDPM_NEW(&network, "a network"));
    ddpm_status status = open_file(network, path);
    if (status != DDPM_OK)
        ddpm_feature_network_close(&network);
    *out = network;
    return status;
}

void ddpm_feature_network_close(struct ddpm_feature_network **network)
{
    if (!network || !*network)
        return;
    struct ddpm_feature_network *old = *network;
    *network = NULL;
    for (int i = 0; i < DDPM_INCEPTION_STEPS; ++i) {
        if (old->calls[i].kernel && old->calls[i].kernel->release)
            old->calls[i].kernel->release(&old->calls[i]);
        ddpm_free_aligned(old->packed[i]);
        free(old->biases[i]);
    }
    ddpm_device_close(&old->device);
    free(old);
}

/* --- a picture --- */

static size_t slot_bytes(const struct ddpm_feature_network *network, int slot)
{
    return ddpm_align_up((size_t)network->plan.slots[slot] * sizeof(float));
}

static size_t room(const struct ddpm_feature_network *network, int height, int width, int channels)
{
    size_t bytes = DDPM_ALIGNMENT + ddpm_align_up(network->border) + network->scratch;
    (void)height;
    (void)width;
    (void)channels;
    for (int slot = 0; slot < DDPM_INCEPTION_SLOTS; ++slot)
        bytes += slot_bytes(network, slot);
    return bytes;
}

/* Divide up one thread's memory. */
struct places {
    float *slots[DDPM_INCEPTION_SLOTS];
    float *border;
    void *scratch;
};

static struct places cut(const struct ddpm_feature_network *network, void *memory)
{
    struct places places;
    char *at = (char *)ddpm_align_up((uintptr_t)memory);
    for (int slot = 0; slot < DDPM_INCEPTION_SLOTS; ++slot) {
        places.slots[slot] = (float *)(void *)at;
        at += slot_bytes(network, slot);
    }
    places.border = (float *)(void *)at;
    places.scratch = at + ddpm_align_up(network->border);
    return places;
}

static ddpm_status convolve(const struct ddpm_feature_network *network, int index,
                            const struct places *places)
{
    const struct ddpm_inception_step *step = &network->plan.steps[index];
    struct ddpm_call call = network->calls[index];
    float *from = places->slots[step->from];
    if (wants_border(step)) {
        ddpm_inception_border(step, from, places->border);
        from = places->border;
    }
    call.in[0].data = from;
    call.out[0].data = places->slots[step->to] + step->first;
    call.scratch = places->scratch;
    DDPM_TRY(call.kernel->run(&call));
    ddpm_inception_relu(step, places->slots[step->to]);
    return DDPM_OK;
}

static ddpm_status compute(const struct ddpm_feature_network *network, const uint8_t *pixels,
                           int height, int width, int channels, void *memory, float *out)
{
    struct places places = cut(network, memory);
    ddpm_inception_picture(pixels, height, width, channels, places.slots[DDPM_INCEPTION_IN]);
    for (int i = 0; i < network->plan.count; ++i) {
        const struct ddpm_inception_step *step = &network->plan.steps[i];
        if (step->kind == DDPM_INCEPTION_CONV)
            DDPM_TRY(convolve(network, i, &places));
        else
            ddpm_inception_pool(step, places.slots[step->from], places.slots[step->to]);
        if (step->ends_block) {
            float *results = places.slots[DDPM_INCEPTION_OUT];
            places.slots[DDPM_INCEPTION_OUT] = places.slots[DDPM_INCEPTION_IN];
            places.slots[DDPM_INCEPTION_IN] = results;
        }
    }
    ddpm_inception_means(&network->plan.output, places.slots[DDPM_INCEPTION_IN], out);
    return DDPM_OK;
}

const struct ddpm_features_kind ddpm_features_inception = {
    .name = "inception",
    .help = "the network of FID, Inception-v3 of 2015; needs a file of its weights",
    .width = DDPM_INCEPTION_WIDTH,
    .wants_network = true,
    .room = room,
    .compute = compute,
};
