/* Emulated counterpart of src/kernels/cuda/warpgroup.cuh. A thread computes its own sums, as late
 * as it may: when it waits for them. So a tile that is overwritten too early gives wrong sums. */
#ifndef DDPM_EMULATOR_WARPGROUP_CUH
#define DDPM_EMULATOR_WARPGROUP_CUH

#include <cuda_runtime.h>

/* A bf16 at a byte of a tile: the hardware exchanges bits of the address. */
static inline float group_element(const void *tile, int byte)
{
    uintptr_t address = (uintptr_t)tile + (uintptr_t)byte;
    uint16_t bits;
    address ^= address >> 3 & 0x70;
    memcpy(&bits, (const void *)address, sizeof bits);
    return __uint_as_float((unsigned)bits << 16);
}

/* `place` tells the byte of element (row, k) of a factor. */
template <int COLUMNS, class P>
static inline void group_multiply_by(float c[COLUMNS / 8][4], const void *a, const void *b, P place)
{
    const int thread = (int)threadIdx.x % 128, lane = thread % 32;
    emulator_defer([=] {
        for (int j = 0; j < COLUMNS / 8; ++j)
            for (int i = 0; i < 4; ++i) {
                const int row = thread / 32 * 16 + lane / 4 + i / 2 * 8;
                const int column = j * 8 + lane % 4 * 2 + i % 2;
                for (int k = 0; k < 16; ++k)
                    c[j][i] += group_element(a, place(row, k)) * group_element(b, place(column, k));
            }
    });
}

template <int COLUMNS>
static inline void group_multiply(float c[COLUMNS / 8][4], const void *a, const void *b)
{
    group_multiply_by<COLUMNS>(c, a, b, [](int row, int k) { return row * 128 + k * 2; });
}

template <int COLUMNS>
static inline void group_multiply_transposed(float c[COLUMNS / 8][4], const void *a, const void *b,
                                             unsigned leading)
{
    group_multiply_by<COLUMNS>(
        c, a, b, [=](int row, int k) { return row / 64 * (int)leading + k * 128 + row % 64 * 2; });
}

static inline void group_publish(void)
{
}

static inline void group_begin(void)
{
}

static inline void group_commit(void)
{
}

template <int COLUMNS> static inline void group_wait(float (*)[4])
{
    emulator_run_deferred();
}

#endif
