/* What the depthwise kernels share: splitting the work, and unpacking rows of a picture.
 *
 * A piece of work is one image × a band of rows × a group of channel vectors. Each thread keeps the
 * rows of its group that are needed several times in a ring of slots. A slot is [vectors][margin +
 * width + margin][LANES], with zeros in the margins and after the last pixel and channel. So only
 * the unpacking deals with borders, tails and strides, which costs a few percent of the R·S
 * multiply-adds, and consecutive loads of the inner loop are consecutive in memory. The group is
 * chosen so that the ring stays in the second-level cache.
 *
 * A slot holds one row of fp32 numbers or, if x is bf16 (but not at level amx), two rows: an
 * element is the pair (x[h,w], x[h+1,w]), so that one instruction multiplies two taps in a column
 * of the filter (vf_dot2). If only one row of a pair is wanted, the other is multiplied by zero: if
 * it contains an infinity, the sum becomes NaN. */
#ifndef DDPM_KERNELS_CPU_DEPTHWISE_H
#define DDPM_KERNELS_CPU_DEPTHWISE_H

#include "core/memory.h"
#include "kernels/cpu/element.h"

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* A slot's width is a multiple of this many pixels. */
enum { DEPTHWISE_PIXELS = 8 };

/* Processors with AMX have 2 MB of L2 per core. */
#if defined(DDPM_AMX)
enum { DEPTHWISE_RING_BYTES = 768 << 10 };
#else
enum { DEPTHWISE_RING_BYTES = 256 << 10 };
#endif

/* Split the work at least this finely, for machines with many cores. */
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
    int64_t together; /* rows of a slot */
    int64_t band;     /* rows of a band */
    int64_t bands;
    int64_t slot; /* floats of a slot */
};

/* What a slot holds for activations of `dtype`: fp32 numbers, or pairs of bf16. Processors with AMX
 * multiply pairs with vectors at half the speed of fp32 numbers, so level amx unpacks
 * everything. */
ALWAYS_INLINE enum ddpm_dtype depthwise_slot_dtype(const enum ddpm_dtype dtype)
{
#if defined(DDPM_AMX)
    (void)dtype;
    return DDPM_F32;
#else
    return dtype;
#endif
}

/* Rows per multiply-add. */
static inline int64_t depthwise_rows_together(enum ddpm_dtype dtype)
{
    return depthwise_slot_dtype(dtype) == DDPM_BF16 ? 2 : 1;
}

/* How to split the work for a ring of `slots`. */
static inline struct depthwise_cut depthwise_cut_of(const struct ddpm_call *call,
                                                    const struct ddpm_tensor *x, int64_t band,
                                                    int64_t slots)
{
    const struct ddpm_attributes *a = &call->attributes;
    struct depthwise_cut cut = {.rows = a->kernel_h,
                                .taps = a->kernel_w,
                                .pad_h = a->padding,
                                .pad_w = a->padding,
                                .together = depthwise_rows_together(x->dtype),
                                .band = band};
    cut.width = (x->w + DEPTHWISE_PIXELS - 1) / DEPTHWISE_PIXELS * DEPTHWISE_PIXELS;
    cut.slot_width = cut.width + cut.taps - 1;
    cut.vectors = (x->c + LANES - 1) / LANES;
    const int64_t vector_bytes = slots * cut.slot_width * LANES * (int64_t)sizeof(float);
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
    int64_t first_row, last_row; /* [first, last) */
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

ALWAYS_INLINE vf depthwise_multiply_add(vf sum, vf a, vf b, const enum ddpm_dtype dtype)
{
    return depthwise_slot_dtype(dtype) == DDPM_BF16 ? vf_dot2(sum, (vu)a, (vu)b) : sum + a * b;
}

ALWAYS_INLINE void depthwise_unpack_f32(const struct ddpm_tensor *x, int64_t row,
                                        const struct depthwise_piece *piece, int64_t margin,
                                        int64_t slot_width, float *slot,
                                        const enum ddpm_dtype dtype)
{
    const int64_t first = piece->first_vector * LANES, whole = (x->c - first) / LANES;
    const int64_t full = whole < piece->vectors ? whole : piece->vectors;
    row += piece->image * x->h;
    for (int64_t w = 0; w < x->w; ++w) {
        const int64_t from = (row * x->w + w) * x->pixel_stride + first;
        float *to = slot + (margin + w) * LANES;
        for (int64_t v = 0; v < full; ++v) {
            fetch_ahead(x->data, from + v * LANES, dtype);
            vf_store(to + v * slot_width * LANES, vf_load_as(x->data, from + v * LANES, dtype));
        }
        if (full < piece->vectors)
            vf_store(
                to + full * slot_width * LANES,
                vf_load_part_as(x->data, from + full * LANES, x->c - first - full * LANES, dtype));
    }
}

/* Rows outside [begin, end) are zeros; one of the two is inside. */
static inline void depthwise_unpack_bf16(const struct ddpm_tensor *x, int64_t row, int64_t begin,
                                         int64_t end, const struct depthwise_piece *piece,
                                         int64_t margin, int64_t slot_width, float *slot)
{
    const int64_t upper = row < begin ? begin : row, lower = row + 1 < end ? row + 1 : end - 1;
    const vu keep_upper = (row == upper) * 0xffffu + (vu){0}; /* the low half */
    const vu keep_lower = (row + 1 == lower) * 0xffff0000u + (vu){0};
    const int64_t first = piece->first_vector * LANES, image = piece->image * x->h;
    for (int64_t w = 0; w < x->w; ++w) {
        const int64_t a = ((image + upper) * x->w + w) * x->pixel_stride + first;
        const int64_t b = ((image + lower) * x->w + w) * x->pixel_stride + first;
        float *to = slot + (margin + w) * LANES;
        for (int64_t i = 0; i < piece->vectors * LANES; i += LANES) {
            const int64_t left = x->c - first - i; /* bf16 is the high half of an fp32 number */
            const vu low = (vu)vf_load_upto(x->data, a + i, left, DDPM_BF16) >> 16;
            const vu high = (vu)vf_load_upto(x->data, b + i, left, DDPM_BF16);
            vf_store(to + i * slot_width, (vf)((low & keep_upper) | (high & keep_lower)));
        }
    }
}

/* Unpack the picture's rows from `row` on into a slot, as many as it holds; rows outside [begin,
 * end) are zeros. Returns whether any is inside; if none is, the slot is not changed. */
static inline bool depthwise_unpack(const struct ddpm_tensor *x, int64_t row, int64_t begin,
                                    int64_t end, const struct depthwise_piece *piece,
                                    int64_t margin, int64_t slot_width, float *slot)
{
    if (row >= end || row + depthwise_rows_together(x->dtype) <= begin)
        return false;
    if (x->dtype == DDPM_F32)
        depthwise_unpack_f32(x, row, piece, margin, slot_width, slot, DDPM_F32);
    else if (depthwise_slot_dtype(x->dtype) == DDPM_F32)
        depthwise_unpack_f32(x, row, piece, margin, slot_width, slot, DDPM_BF16);
    else
        depthwise_unpack_bf16(x, row, begin, end, piece, margin, slot_width, slot);
    return true;
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

/* Initial value of the sums of LANES channels of y from c on: bias and time; zero for a
 * gradient. */
static inline vf depthwise_start(const struct ddpm_call *call, int64_t image, int64_t c)
{
    const struct ddpm_tensor *bias = &call->in[2], *time = &call->in[3];
    const int64_t left = call->out[0].c - c;
    vf start = {0};
    if (call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA)
        return start;
    if (ddpm_tensor_present(bias))
        start += vf_load_upto(bias->data, c, left, DDPM_F32);
    if (ddpm_tensor_present(time)) {
        const int64_t i = image * time->pixel_stride + c;
        start += time->dtype == DDPM_F32 ? vf_load_upto(time->data, i, left, DDPM_F32)
                                         : vf_load_upto(time->data, i, left, DDPM_BF16);
    }
    return start;
}

#endif
