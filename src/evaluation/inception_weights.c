/* Weights of FID's Inception from a file of tensors with PyTorch's names. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "evaluation/inception.h"

/* The epsilon of all its batch norms. */
#define EPSILON 0.001

/* "[64,3,7,7]" */
static const char *shape_words(char *out, size_t bytes, const int64_t *shape, int rank)
{
    size_t length = 0;
    for (int i = 0; i < rank && length < bytes; ++i)
        length +=
            (size_t)snprintf(out + length, bytes - length, "%s%" PRId64, i ? "," : "[", shape[i]);
    if (length < bytes)
        snprintf(out + length, bytes - length, "%s]", rank ? "" : "[");
    return out;
}

/* Read tensor LAYER.PART of this shape as fp32, all finite. Free *out with free(). */
static ddpm_status read_tensor(const struct ddpm_tensor_file *file, const char *layer,
                               const char *part, const int64_t *shape, int rank, float **out)
{
    char name[80], got[128], want[128];
    int64_t count = 1;
    for (int i = 0; i < rank; ++i)
        count *= shape[i];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    const struct ddpm_tensor_entry *entry = ddpm_tensor_file_find(file, name);
    if (!entry)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "no tensor %s, want all tensors of FID's Inception-v3", name);
    if (entry->rank != rank || memcmp(entry->shape, shape, (size_t)rank * sizeof *shape) != 0)
        return ddpm_raise(DDPM_ERROR_MISMATCH, "tensor %s: got the shape %s, want %s", name,
                          shape_words(got, sizeof got, entry->shape, entry->rank),
                          shape_words(want, sizeof want, shape, rank));
    DDPM_TRY(ddpm_new_array((void **)out, (size_t)count, sizeof **out, "weights of Inception"));
    DDPM_TRY(ddpm_tensor_entry_read_f32(entry, *out, count));
    for (int64_t i = 0; i < count; ++i)
        if (!isfinite((*out)[i]))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE, "tensor %s: got %g, want finite numbers", name,
                              (double)(*out)[i]);
    return DDPM_OK;
}

/* The tensors of a layer. */
struct layer {
    float *weights;                        /* [K,C,R,S] */
    float *gain, *shift, *mean, *variance; /* of the batch norm, [K] */
};

static ddpm_status read_layer(const struct ddpm_tensor_file *file,
                              const struct ddpm_inception_step *step, struct layer *layer)
{
    const int64_t shape[] = {step->output.channels, step->input.channels, step->kernel_h,
                             step->kernel_w};
    const char *name = step->name;
    DDPM_TRY(read_tensor(file, name, "conv.weight", shape, 4, &layer->weights));
    DDPM_TRY(read_tensor(file, name, "bn.weight", shape, 1, &layer->gain));
    DDPM_TRY(read_tensor(file, name, "bn.bias", shape, 1, &layer->shift));
    DDPM_TRY(read_tensor(file, name, "bn.running_mean", shape, 1, &layer->mean));
    DDPM_TRY(read_tensor(file, name, "bn.running_var", shape, 1, &layer->variance));
    for (int64_t k = 0; k < shape[0]; ++k)
        if (layer->variance[k] < 0)
            return ddpm_raise(DDPM_ERROR_MISMATCH,
                              "tensor %s.bn.running_var: got %g, want variances of 0 or more", name,
                              (double)layer->variance[k]);
    return DDPM_OK;
}

/* A convolution followed by batch norm is a convolution: (w*x - mean)·scale + shift. */
static void fold(const struct ddpm_inception_step *step, const struct layer *layer, float *weights,
                 float *bias)
{
    const int64_t taps = (int64_t)step->kernel_h * step->kernel_w, channels = step->input.channels;
    for (int64_t k = 0; k < step->output.channels; ++k) {
        const double scale = (double)layer->gain[k] / sqrt((double)layer->variance[k] + EPSILON);
        const float *from = layer->weights + k * channels * taps;
        float *to = weights + k * channels * taps;
        for (int64_t tap = 0; tap < taps; ++tap)
            for (int64_t c = 0; c < channels; ++c)
                to[tap * channels + c] = (float)(scale * (double)from[c * taps + tap]);
        bias[k] = (float)((double)layer->shift[k] - scale * (double)layer->mean[k]);
    }
}

ddpm_status ddpm_inception_read(const struct ddpm_tensor_file *file,
                                const struct ddpm_inception_step *step, float **weights,
                                float **bias)
{
    const size_t channels = (size_t)step->output.channels;
    const size_t depth =
        (size_t)step->kernel_h * (size_t)step->kernel_w * (size_t)step->input.channels;
    struct layer layer = {0};
    *weights = *bias = NULL;
    ddpm_status status = read_layer(file, step, &layer);
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)weights, channels * depth, sizeof **weights,
                                "weights of Inception");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)bias, channels, sizeof **bias, "weights of Inception");
    if (status == DDPM_OK)
        fold(step, &layer, *weights, *bias);
    free(layer.weights);
    free(layer.gain);
    free(layer.shift);
    free(layer.mean);
    free(layer.variance);
    if (status != DDPM_OK) {
        free(*weights);
        free(*bias);
        *weights = *bias = NULL;
    }
    return status;
}
