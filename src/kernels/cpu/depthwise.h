/* What the depthwise kernels share: how the work is cut, and rows of a picture unpacked for them.
 *
 * A piece of work is one image × a band of output rows × a group of channel vectors. Each thread
 * holds the last R input rows of its group as fp32 in a ring of slots, a slot being
 * [vectors][margin + width + margin][LANES] with zeros in the margins and behind the last pixel and
 * channel. That makes borders, tails, strides and bf16 a matter of the unpacking, which costs a
 * few percent of the R·S multiply-adds, and lets neighbouring loads of the inner loop be
 * neighbours in memory. The group is chosen so that the ring stays in the second-level cache. */
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
    const int64_t most = 64 / LANES;
    cut.group = DEPTHWISE_RING_BYTES / vector_bytes;
    cut.group = cut.group < 1 ? 1 : cut.group > most ? most : cut.group;
    cut.group = cut.group < cut.vectors ? cut.group : cut.vectors;
    cut.groups = (cut.vectors + cut.group - 1) / cut.group;
    cut.bands = (x->h + band - 1) / band;
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

ALWAYS_INLINE void depthwise_unpack_as(const struct ddpm_tensor *x, int64_t row,
                                       const struct depthwise_piece *piece, int64_t margin,
                                       int64_t slot_width, float *slot, enum ddpm_dtype dtype)
{
    const int64_t first = piece->first_vector * LANES, whole = (x->c - first) / LANES;
    const int64_t full = whole < piece->vectors ? whole : piece->vectors;
    for (int64_t w = 0; w < x->w; ++w) {
        const int64_t from = (row * x->w + w) * x->pixel_stride + first;
        float *to = slot + (margin + w) * LANES;
        for (int64_t v = 0; v < full; ++v)
            vf_store(to + v * slot_width * LANES, vf_load_as(x->data, from + v * LANES, dtype));
        if (full < piece->vectors)
            vf_store(
                to + full * slot_width * LANES,
                vf_load_part_as(x->data, from + full * LANES, x->c - first - full * LANES, dtype));
    }
}

/* Put row `row` (counted over all images) of the piece's channels into a slot. */
static inline void depthwise_unpack(const struct ddpm_tensor *x, int64_t row,
                                    const struct depthwise_piece *piece, int64_t margin,
                                    int64_t slot_width, float *slot)
{
    if (x->dtype == DDPM_F32)
        depthwise_unpack_as(x, row, piece, margin, slot_width, slot, DDPM_F32);
    else
        depthwise_unpack_as(x, row, piece, margin, slot_width, slot, DDPM_BF16);
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
