/* The memory layout that matrix tiles (amx.h) need, without any tile instruction.
 *
 * fp32 numbers are multiplied as sums of three bf16 numbers with eight significant bits each,
 * x = x0 + x1 + x2. The sum is exact if |x| is between about 2^-102 (parts of smaller numbers are
 * subnormal, which tiles treat as zero) and the largest bf16 number. Of the nine products of parts,
 * the six largest are added, small ones first. The rest is at most 2^-23 of |x·y|, with either
 * sign, so the sums are as accurate as those of fp32 numbers (Henry, Tang & Heinecke 2019,
 * "Leveraging the bfloat16 artificial intelligence datatype for higher-precision computations"). */
#ifndef DDPM_KERNELS_CPU_AMX_LAYOUT_H
#define DDPM_KERNELS_CPU_AMX_LAYOUT_H

#include "kernels/cpu/element.h"

#define AMX_ROWS 16
#define AMX_DEPTH 32     /* bf16 numbers in a row of a */
#define AMX_TILE 1024    /* bytes */
#define AMX_ROW_BYTES 64 /* of every tile */
#define AMX_PARTS 3      /* of an fp32 number */
#define AMX_PRODUCTS 6   /* of parts, for one of fp32 numbers */
#define AMX_BLOCK 32     /* rows and columns of a block of sums */
#define AMX_SUMS (AMX_BLOCK * AMX_BLOCK)
#define AMX_BLOCK_BYTES (4 * AMX_TILE) /* of them */
#define AMX_PANEL_STEP (2 * AMX_TILE)  /* bytes of b per step of a block's depth */

/* The parts of fp32 numbers, largest first; the low halves of their bits are zero. Rounding to
 * nearest makes each less than 2^-8 of the one before. NaN stays NaN, at least in the last part;
 * infinities, and numbers that round to one, become NaN. */
ALWAYS_INLINE void amx_split(vf x, vf parts[AMX_PARTS])
{
    const vu half = 0x8000 + (vu){0}, upper = 0xffff0000 + (vu){0};
    parts[0] = (vf)(((vu)x + half) & upper);
    const vf rest = x - parts[0];
    parts[1] = (vf)(((vu)rest + half) & upper);
    parts[2] = rest - parts[1];
}

/* The parts of two numbers side by side, the even number in the low halves. */
ALWAYS_INLINE void amx_split_pairs(vf even, vf odd, vf pairs[AMX_PARTS])
{
    vf low[AMX_PARTS], high[AMX_PARTS];
    amx_split(even, low);
    amx_split(odd, high);
    for (int part = 0; part < AMX_PARTS; ++part)
        pairs[part] = (vf)((vu)high[part] | (vu)low[part] >> 16);
}

ALWAYS_INLINE vf amx_part(vf x, int64_t part)
{
    vf parts[AMX_PARTS];
    amx_split(x, parts);
    return parts[part];
}

#endif
