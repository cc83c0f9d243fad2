/* What the gradients of convolution weights share: splitting the work, sums of groups, and lists of
 * pixels.
 *
 * A unit of work is (group of pixel blocks, block of k, block of c). Groups have sums of their own,
 * which are added in order at the end. The number of groups depends only on the shapes, so the
 * result does not depend on the threads. */
#ifndef DDPM_KERNELS_CPU_CONV_WEIGHT_H
#define DDPM_KERNELS_CPU_CONV_WEIGHT_H

#include "core/threads.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/element.h"

/* A block of at most `limit`, chosen as even as multiples of `unit` allow. */
static inline int64_t weight_even_block(int64_t size, int64_t limit, int64_t unit)
{
    const int64_t block = ddpm_ceil_div(size, ddpm_ceil_div(size, limit));
    return ddpm_ceil_div(block, unit) * unit;
}

struct weight_cut {
    int64_t k_size, c_size, k_block, c_block; /* channels of dy and x, and of a block */
    int64_t k_blocks, c_blocks;
    int64_t blocks, groups;        /* of pixels */
    float *dw, *dbias;             /* of group 0; that of group g is g·group_dw further */
    int64_t group_dw, group_dbias; /* floats; 0 if there is one group */
    bool fresh_dw, fresh_dbias;    /* they hold nothing yet */
};

/* There should be at least `units` units, for machines with many cores, but adding up the sums of a
 * group must pay: a group has at least `blocks_per_group` blocks, or all. `depth`: weights per
 * output. */
static inline void weight_cut_finish(struct weight_cut *cut, int64_t depth, int64_t units,
                                     int64_t blocks_per_group)
{
    cut->k_blocks = ddpm_ceil_div(cut->k_size, cut->k_block);
    cut->c_blocks = ddpm_ceil_div(cut->c_size, cut->c_block);
    cut->groups = ddpm_smaller(ddpm_ceil_div(units, cut->k_blocks * cut->c_blocks),
                               ddpm_ceil_div(cut->blocks, blocks_per_group));
    if (cut->groups > 1) { /* whole cache lines */
        cut->group_dw = ddpm_ceil_div(cut->k_size * depth, 16) * 16;
        cut->group_dbias = ddpm_ceil_div(cut->k_size, 16) * 16;
    }
}

/* For the sums of the groups. */
static inline size_t weight_sums_bytes(const struct weight_cut *cut)
{
    return (size_t)(cut->groups * (cut->group_dw + cut->group_dbias)) * sizeof(float);
}

struct weight_unit {
    int64_t k, c;       /* first channels */
    int64_t begin, end; /* blocks of pixels */
    float *dw, *dbias;  /* where its sums go; dbias is NULL if another unit sums it */
    bool fresh;         /* dw holds nothing yet, so write instead of adding */
};

static inline struct weight_unit weight_unit_begin(const struct weight_cut *cut, int64_t i)
{
    const int64_t rest = i / cut->c_blocks, group = rest / cut->k_blocks;
    struct weight_unit unit = {.k = rest % cut->k_blocks * cut->k_block,
                               .c = i % cut->c_blocks * cut->c_block,
                               .begin = group * cut->blocks / cut->groups,
                               .end = (group + 1) * cut->blocks / cut->groups,
                               .dw = cut->dw + group * cut->group_dw,
                               .fresh = cut->fresh_dw};
    if (cut->dbias && unit.c == 0)
        unit.dbias = cut->dbias + group * cut->group_dbias;
    if (unit.dbias && cut->fresh_dbias)
        memset(unit.dbias + unit.k, 0,
               (size_t)ddpm_smaller(cut->k_block, cut->k_size - unit.k) * sizeof(float));
    return unit;
}

/* Add all units' sums to dw and dbias of the call, or write them there. `function` gets units, and
 * starts each with weight_unit_begin(); it finds `cut` in its context. `sums`: weight_sums_bytes().
 */
void SIMD(weight_run_units)(const struct ddpm_call *call, struct weight_cut *cut, float *sums,
                            ddpm_range_function *function, void *context);

/* Pointers to the channels, from `channel` on, of a row of pixels, from column w on. Outside [0,
 * end_h) and [0, end_w) they point to WEIGHT_ZEROS zeros. */
struct weight_row {
    int64_t n, h, w, count, end_h, end_w, channel;
};

#define WEIGHT_ZEROS 256

static inline void weight_fill_row(const struct ddpm_tensor *t, const struct weight_row *row,
                                   const char **pixels)
{
    static const float zeros[WEIGHT_ZEROS] __attribute__((aligned(64)));
    const bool inside = row->n < t->n && row->h >= 0 && row->h < row->end_h;
    const int64_t size = (int64_t)ddpm_dtype_size(t->dtype), pixel = t->pixel_stride * size;
    const char *first =
        (const char *)t->data + (row->n * t->h + row->h) * t->w * pixel + row->channel * size;
    for (int64_t i = 0, w = row->w; i < row->count; ++i, ++w)
        pixels[i] = inside && w >= 0 && w < row->end_w ? first + w * pixel : (const char *)zeros;
}

/* The pixels of the next block, prefetched while the products of this one run, because these read
 * from caches and leave memory idle. */
struct weight_ahead {
    const char *const *next, *const *end;
    int64_t lines;   /* bytes of each pixel, if x or dy has more */
    int64_t at_once; /* pixels */
};

ALWAYS_INLINE void weight_fetch(struct weight_ahead *ahead)
{
    for (int64_t i = 0; i < ahead->at_once && ahead->next < ahead->end; ++i, ++ahead->next)
        for (int64_t line = 0; line < ahead->lines; ++line)
            __builtin_prefetch(*ahead->next + 64 * line, 0, 1);
}

#endif
