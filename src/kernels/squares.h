/* Sums of squares whose bits depend neither on the compiler nor on who computes them: in fp64, of
 * blocks that are always cut at the same places, in the same order. A product of two floats is
 * exact in fp64, so multiplying and adding at once rounds in the same way. */
#ifndef DDPM_KERNELS_SQUARES_H
#define DDPM_KERNELS_SQUARES_H

#include <stdint.h>

/* Elements per block. */
enum { DDPM_SQUARES_BLOCK = 65536 };

/* Σx² of one block of at most that many elements. */
static inline double ddpm_squares(const float *x, int64_t count)
{
    double sums[16] = {0};
    const int64_t whole = count / 16 * 16;
    for (int64_t i = 0; i < whole; i += 16)
        for (int k = 0; k < 16; ++k)
            sums[k] += (double)x[i + k] * (double)x[i + k];
    for (int64_t i = whole; i < count; ++i)
        sums[0] += (double)x[i] * (double)x[i];
    for (int width = 8; width > 0; width /= 2)
        for (int k = 0; k < width; ++k)
            sums[k] += sums[k + width];
    return sums[0];
}

#endif
