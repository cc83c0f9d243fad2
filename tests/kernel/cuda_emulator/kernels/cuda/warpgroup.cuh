/* Emulated counterpart of src/kernels/cuda/warpgroup.cuh. A thread computes its own sums, as late as
 * it may: when it waits for them. So a tile that is overwritten too early gives wrong sums. */
#ifndef DDPM_EMULATOR_WARPGROUP_CUH
#define DDPM_EMULATOR_WARPGROUP_CUH

#include <cuda_runtime.h>

/* Element (row, k) of a tile of rows of 128 bytes: the hardware exchanges bits of the address. */
static inline float group_element(const void *tile, int row, int k)
{
    uintptr_t address = (uintptr_t)tile + (uintptr_t)(row * 128 + k * 2);
    uint16_t bits;
    address ^= address >> 3 & 0x70;
    memcpy(&bits, (const void *)address, sizeof bits);
    return __uint_as_float((unsigned)bits << 16);
}

template <int COLUMNS>
static inline void group_multiply(float c[COLUMNS / 8][4], const void *a, const void *b)
{
    const int thread = (int)threadIdx.x % 128, lane = thread % 32;
    emulator_defer([=] {
        for (int j = 0; j < COLUMNS / 8; ++j)
            for (int i = 0; i < 4; ++i) {
                const int row = thread / 32 * 16 + lane / 4 + i / 2 * 8;
                const int column = j * 8 + lane % 4 * 2 + i % 2;
                for (int k = 0; k < 16; ++k)
                    c[j][i] += group_element(a, row, k) * group_element(b, column, k);
            }
    });
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
