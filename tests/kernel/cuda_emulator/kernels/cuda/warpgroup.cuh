/* Emulated counterpart of src/kernels/cuda/warpgroup.cuh. A thread computes its own sums, as late
 * as it may: when it waits for them. So a tile that is overwritten too early gives wrong sums. */
#ifndef DDPM_EMULATOR_WARPGROUP_CUH
#define DDPM_EMULATOR_WARPGROUP_CUH

#include <cuda_runtime.h>

struct group_tile {
    const unsigned char *shared;
    unsigned leading;
};

static inline struct group_tile group_tile_of(const void *shared, unsigned leading)
{
    return {(const unsigned char *)shared, leading};
}

static inline struct group_tile group_tile_after(struct group_tile tile, int bytes)
{
    return {tile.shared + bytes, tile.leading};
}

/* Element (row, k) of a factor: the hardware exchanges bits of the address. */
template <bool TRANSPOSED> static inline float group_element(struct group_tile tile, int row, int k)
{
    uintptr_t address = (uintptr_t)tile.shared;
    uint16_t bits;
    if (TRANSPOSED)
        address += (uintptr_t)(row / 64) * tile.leading + (uintptr_t)(k * 128 + row % 64 * 2);
    else
        address += (uintptr_t)(row * 128 + k * 2);
    address ^= address >> 3 & 0x70;
    memcpy(&bits, (const void *)address, sizeof bits);
    return __uint_as_float((unsigned)bits << 16);
}

template <int COLUMNS, bool TRANSPOSED = false>
static inline void group_multiply(float c[COLUMNS / 8][4], struct group_tile a, struct group_tile b)
{
    const int thread = (int)threadIdx.x % 128, lane = thread % 32;
    emulator_defer([=] {
        for (int j = 0; j < COLUMNS / 8; ++j)
            for (int i = 0; i < 4; ++i) {
                const int row = thread / 32 * 16 + lane / 4 + i / 2 * 8;
                const int column = j * 8 + lane % 4 * 2 + i % 2;
                for (int k = 0; k < 16; ++k)
                    c[j][i] += group_element<TRANSPOSED>(a, row, k) *
                               group_element<TRANSPOSED>(b, column, k);
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
