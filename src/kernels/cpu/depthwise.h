/* What the depthwise kernels share: how the work is cut, and rows of a picture unpacked for them.
 *
 * A piece of work is one image × a band of output rows × a group of channel vectors. Each thread
 * holds the last R input rows of its group in a ring of slots, a slot being
 * [vectors][margin + width + margin][LANES] with zeros in the margins and behind the last pixel and
 * channel. That makes borders, tails and strides a matter of the unpacking, which costs a few
 * percent of the R·S multiply-adds, and lets neighbouring loads of the inner loop be neighbours in
 * memory. The group is chosen so that the ring stays in the second-level cache.
 *
 * An element of a slot is an fp32 number or, where x is bf16, the pair (x[w], x[w+1]) of a pixel
 * and the next one, so that one instruction multiplies two taps of a row (vf_dot2).
 * Behind the last tap of an odd row stands a weight of zero: an infinite pixel there makes a NaN.
 */
#ifndef DDPM_KERNELS_CPU_DEPTHWISE_H
#define DDPM_KERNELS_CPU_DEPTHWISE_H

#include "core/memory.h"
#include "kernels/cpu/element.h"

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Output pixels computed together: with a 7-tap row, 8 accumulators + 7 weights + 1 input are the
 * 16 registers of AVX2. */
enum { DEPTHWISE_PIXELS = 8, DEPTHWISE_RING_BYTES = 256 << 10 };

/* Cut the work at least so fine, for machines of many cores. */
enum { DEPTHWISE_PIECES = 16 };

/* Largest R. */
enum { DEPTHWISE_ROWS = 31 };

struct depthwise_cut {
    int64_t rows, taps; /* R, S */
    int64_t pad_h, pad_w;
    int64_t width;      /* W rounded up to whole DEPTHWISE_PIXELS */
    int64_t slot_width; /* pixels of a slot: width + S - 1 */
    int64_t vectors;    /* channel vectors of the tensor */
    int64_t group;      /* channel vectors of a group */
    int64_t groups;
    int64_t band; /* output rows of a band */
    int64_t bands;
    int64_t slot; /* floats of a slot */
};

static inline struct depthwise_cut depthwise_cut_of(const struct ddpm_call *call,
                                                    const struct ddpm_tensor *x, int64_t band)
{
    const struct ddpm_attributes *a = &call->attributes;
    struct depthwise_cut cut = {.rows = a->kernel_h,
                                .taps = a->kernel_w,
                                .pad_h = a->padding,
                                .pad_w = a->padding,
                                .band = band};
    cut.width = (x->w + DEPTHWISE_PIXELS - 1) / DEPTHWISE_PIXELS * DEPTHWISE_PIXELS;
    cut.slot_width = cut.width + cut.taps - 1;
    cut.vectors = (x->c + LANES - 1) / LANES;
    const int64_t vector_bytes = cut.rows * cut.slot_width * LANES * (int64_t)sizeof(float);
    const int64_t fit = DEPTHWISE_RING_BYTES / vector_bytes, most = fit < 1 ? 1 : fit;
    cut.bands = (x->h + band - 1) / band;
    cut.groups = (cut.vectors + most - 1) / most;
    const int64_t wanted = (DEPTHWISE_PIECES + x->n * cut.bands - 1) / (x->n * cut.bands);
    cut.groups = cut.groups > wanted ? cut.groups : wanted < cut.vectors ? wanted : cut.vectors;
    cut.group = (cut.vectors + cut.groups - 1) / cut.groups;
    cut.groups = (cut.vectors + cut.group - 1) / cut.group;
    cut.slot = cut.group * cut.slot_width * LANES;
    return cut;
}

struct depthwise_piece {
    int64_t image;
    int64_t first_row, last_row; /* output rows [first, last) */
    int64_t first_vector, vectors;
};

static inline struct depthwise_piece depthwise_piece_of(const struct depthwise_cut *cut, int64_t i,
                                                        int64_t height)
{
    const int64_t group = i % cut->groups, band = i / cut->groups % cut->bands;
    struct depthwise_piece piece = {.image = i / cut->groups / cut->bands,
                                    .first_row = band * cut->band,
                                    .last_row = (band + 1) * cut->band,
                                    .first_vector = group * cut->group};
    if (piece.last_row > height)
        piece.last_row = height;
    const int64_t left = cut->vectors - piece.first_vector;
    piece.vectors = left < cut->group ? left : cut->group;
    return piece;
}

/* Taps of a row that are multiplied at once, and how often that makes a row. */
static inline int64_t depthwise_taps_together(enum ddpm_dtype dtype)
{
    return dtype == DDPM_BF16 ? 2 : 1;
}

static inline int64_t depthwise_tap_steps(const struct depthwise_cut *cut, enum ddpm_dtype dtype)
{
    return (cut->taps + depthwise_taps_together(dtype) - 1) / depthwise_taps_together(dtype);
}

static inline void depthwise_unpack_f32(const struct ddpm_tensor *x, int64_t row,
                                        const struct depthwise_piece *piece, int64_t margin,
                                        int64_t slot_width, float *slot)
{
    const int64_t first = piece->first_vector * LANES, whole = (x->c - first) / LANES;
    const int64_t full = whole < piece->vectors ? whole : piece->vectors;
    for (int64_t w = 0; w < x->w; ++w) {
        const int64_t from = (row * x->w + w) * x->pixel_stride + first;
        float *to = slot + (margin + w) * LANES;
        for (int64_t v = 0; v < full; ++v)
            vf_store(to + v * slot_width * LANES, vf_load_as(x->data, from + v * LANES, DDPM_F32));
        if (full < piece->vectors)
            vf_store(to + full * slot_width * LANES,
                     vf_load_part_as(x->data, from + full * LANES, x->c - first - full * LANES,
                                     DDPM_F32));
    }
}

static inline void depthwise_unpack_bf16(const struct ddpm_tensor *x, int64_t row,
                                         const struct depthwise_piece *piece, int64_t margin,
                                         int64_t slot_width, float *slot)
{
    const int64_t first = piece->first_vector * LANES;
    for (int64_t w = margin > 0 ? -1 : 0; w < x->w; ++w) {
        const int64_t from = (row * x->w + w) * x->pixel_stride + first;
        float *to = slot + (margin + w) * LANES;
        for (int64_t v = 0; v < piece->vectors; ++v) {
            const int64_t i = v * LANES, left = x->c - first - i;
            vu low = {0}, high = {0}; /* bf16 numbers are the high halves of fp32 ones */
            if (w >= 0)
                low = (vu)vf_load_upto(x->data, from + i, left, DDPM_BF16) >> 16;
            if (w + 1 < x->w)
                high = (vu)vf_load_upto(x->data, from + x->pixel_stride + i, left, DDPM_BF16);
            vf_store(to + i * slot_width, (vf)(low | high));
        }
    }
}

/* Put row `row` (counted over all images) of the piece's channels into a slot. */
static inline void depthwise_unpack(const struct ddpm_tensor *x, int64_t row,
                                    const struct depthwise_piece *piece, int64_t margin,
                                    int64_t slot_width, float *slot)
{
    if (x->dtype == DDPM_F32)
        depthwise_unpack_f32(x, row, piece, margin, slot_width, slot);
    else
        depthwise_unpack_bf16(x, row, piece, margin, slot_width, slot);
}

/* Zero what depthwise_unpack() does not write. */
static inline void depthwise_clear_margins(float *slot, int64_t vectors, int64_t slot_width,
                                           int64_t margin, int64_t width)
{
    for (int64_t v = 0; v < vectors; ++v, slot += slot_width * LANES) {
        memset(slot, 0, (size_t)(margin * LANES) * sizeof *slot);
        memset(slot + (margin + width) * LANES, 0,
               (size_t)((slot_width - margin - width) * LANES) * sizeof *slot);
    }
}

#endif
