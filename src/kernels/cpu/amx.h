/* AMX matrix tiles, for the files of level amx (conv_amx.c, conv_weight_amx.c, …).
 *
 * A tile register holds 16 rows of 64 bytes. One instruction adds a product of 16×32 by 32×16 bf16
 * numbers to 16×16 fp32 sums:
 *
 *   sums[m][n] += Σ_i a[m][2i]·b[i][n][0] + a[m][2i+1]·b[i][n][1]     i = 0 … 15
 *
 * so the depth of b comes in pairs, as in all these kernels (gemm.h). The block of 32×32 sums below
 * needs one load per product: 4 registers of sums, 2 of a, 2 of b.
 *
 * The processor treats subnormal bf16 numbers and sums as zero. Code that uses tiles calls
 * amx_begin() first and amx_end() last, on the same thread; core/cpu_features.c has asked the
 * system for tiles. */
#ifndef DDPM_KERNELS_CPU_AMX_H
#define DDPM_KERNELS_CPU_AMX_H

#include <immintrin.h>

#include "kernels/cpu/amx_layout.h"

/* Operand of ldtilecfg: palette 1, all registers with 16 rows of 64 bytes. */
struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

#define AMX_EIGHT(x)                                                                               \
    {                                                                                              \
        x, x, x, x, x, x, x, x                                                                     \
    }

static inline void amx_begin(void)
{
    static const struct amx_config config = {
        .palette = 1, .row_bytes = AMX_EIGHT(64), .rows = AMX_EIGHT(AMX_ROWS)};
    _tile_loadconfig(&config);
}

static inline void amx_end(void)
{
    _tile_release();
}

/* Compilers do not know that tile instructions load and store memory, so a fence must separate them
 * from ordinary accesses to the same memory. It generates no instruction. */
ALWAYS_INLINE void amx_fence(void)
{
    __asm__ volatile("" ::: "memory");
}

ALWAYS_INLINE void amx_block_zero(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

/* One step of the depth: rows of a are `stride` bytes apart, b is two adjacent tiles. */
ALWAYS_INLINE void amx_block_step(const char *low, const char *high, int64_t stride, const char *b,
                                  int64_t b_stride, int64_t b_tile)
{
    _tile_loadd(6, b, b_stride);
    _tile_loadd(4, low, stride);
    _tile_loadd(7, b + b_tile, b_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, high, stride);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* The same for fp32 numbers in parts (amx_layout.h): parts of a are a_part bytes apart, those of b
 * b_part. */
ALWAYS_INLINE void amx_block_step_split(const char *low, const char *high, int64_t stride,
                                        int64_t a_part, const char *b, int64_t b_part,
                                        int64_t b_tile)
{
#define LOAD_A(part)                                                                               \
    _tile_loadd(4, low + (part)*a_part, stride);                                                   \
    _tile_loadd(5, high + (part)*a_part, stride)
#define LOAD_B(part)                                                                               \
    _tile_loadd(6, b + (part)*b_part, AMX_ROW_BYTES);                                              \
    _tile_loadd(7, b + (part)*b_part + b_tile, AMX_ROW_BYTES)
#define MULTIPLY                                                                                   \
    _tile_dpbf16ps(0, 4, 6);                                                                       \
    _tile_dpbf16ps(1, 4, 7);                                                                       \
    _tile_dpbf16ps(2, 5, 6);                                                                       \
    _tile_dpbf16ps(3, 5, 7)
    LOAD_A(0);
    LOAD_B(2);
    MULTIPLY;
    LOAD_B(1);
    MULTIPLY;
    LOAD_A(1);
    MULTIPLY;
    LOAD_B(0);
    MULTIPLY;
    LOAD_A(2);
    MULTIPLY;
    LOAD_A(0);
    MULTIPLY;
#undef LOAD_A
#undef LOAD_B
#undef MULTIPLY
}

/* The sums as four consecutive tiles: rows 0–15 and columns 0–15, columns 16–31, … */
ALWAYS_INLINE void amx_block_load(const float *sums)
{
    _tile_loadd(0, sums, AMX_ROW_BYTES);
    _tile_loadd(1, sums + AMX_SUMS / 4, AMX_ROW_BYTES);
    _tile_loadd(2, sums + 2 * AMX_SUMS / 4, AMX_ROW_BYTES);
    _tile_loadd(3, sums + 3 * AMX_SUMS / 4, AMX_ROW_BYTES);
}

ALWAYS_INLINE void amx_block_store(float *sums)
{
    _tile_stored(0, sums, AMX_ROW_BYTES);
    _tile_stored(1, sums + AMX_SUMS / 4, AMX_ROW_BYTES);
    _tile_stored(2, sums + 2 * AMX_SUMS / 4, AMX_ROW_BYTES);
    _tile_stored(3, sums + 3 * AMX_SUMS / 4, AMX_ROW_BYTES);
}

/* Prefetch the sums of a block into L1 before they are loaded: each earlier step prefetches its
 * share of `lines`. */
ALWAYS_INLINE void amx_block_fetch(const float *sums, int64_t step, int64_t lines)
{
    const char *line = (const char *)sums + step * lines * AMX_ROW_BYTES;
    for (int64_t i = 0; i < lines; ++i, line += AMX_ROW_BYTES)
        __builtin_prefetch(line);
}

/* On Granite Rapids, storing a tile costs 1,000 cycles if the last store was more than about 2,000
 * cycles ago, otherwise 70: a block of 36 steps took 1.4 times as long (docs/speed-log.md). So long
 * depths store a tile now and then, one that is not in use. */
#define AMX_STEPS_PER_STORE 9

/* The same, in steps of fp32 products. */
#define AMX_SPLIT_STEPS_PER_STORE 2

ALWAYS_INLINE void amx_store_spare(float *spare)
{
    _tile_stored(4, spare, AMX_ROW_BYTES);
}

/* 32 fp32 numbers in parts, as rows of a `part_bytes` apart: low[i] and high[i] form pair i of the
 * depth, so the rows of b must be paired the same way. */
ALWAYS_INLINE void amx_put_split(char *to, int64_t part_bytes, vf low, vf high)
{
    vf pairs[AMX_PARTS];
    amx_split_pairs(low, high, pairs);
    for (int part = 0; part < AMX_PARTS; ++part)
        vf_store((float *)(void *)(to + part * part_bytes), pairs[part]);
}

/* Row m of stored sums, from column 0 or 16 on. */
ALWAYS_INLINE const float *amx_block_at(const float *sums, int64_t m, int64_t column)
{
    return sums + (m / AMX_ROWS * 2 + column / AMX_ROWS) * (AMX_SUMS / 4) + m % AMX_ROWS * AMX_ROWS;
}

/* Results too large for any cache are written with non-temporal stores if 32 channels of bf16 or 16
 * of fp32 fill whole cache lines: an ordinary store would first read the line from memory. */
#define AMX_PAST_BYTES ((int64_t)12 << 20)

static inline bool amx_has_lines(const struct ddpm_tensor *y)
{
    const int64_t size = (int64_t)ddpm_dtype_size(y->dtype);
    return is_activation_dtype(y->dtype) && size * ddpm_tensor_count(y) >= AMX_PAST_BYTES &&
           (uintptr_t)y->data % 64 == 0 && size * y->pixel_stride % 64 == 0;
}

ALWAYS_INLINE void amx_write_line(void *to, __m512i line)
{
    _mm512_stream_si512(to, line);
}

/* Call this after writing lines, before telling other threads that they are ready. */
static inline void amx_lines_end(void)
{
    _mm_sfence();
}

/* v[j] lane i ↔ v[i] lane j, 4-byte elements. */
ALWAYS_INLINE void amx_transpose(__m512i v[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) { /* pairs of rows: lanes 0,1 and 2,3 of every quarter */
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { /* groups of four rows: v[i+j] has lane j of every quarter */
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; ++j) { /* quarters */
        t[j] = _mm512_shuffle_i32x4(v[j], v[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(v[j], v[4 + j], 0xdd);
        t[8 + j] = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0xdd);
    }
    for (int j = 0; j < 4; ++j) {
        v[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
        v[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
        v[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
        v[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
    }
}

#endif
