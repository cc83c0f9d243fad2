/* Emulated counterpart of src/kernels/cuda/tensor_core.cuh: the same functions, performed for a
 * whole warp by the emulator. */
#ifndef DDPM_EMULATOR_TENSOR_CORE_CUH
#define DDPM_EMULATOR_TENSOR_CORE_CUH

#include <cuda_runtime.h>

static inline unsigned char *dynamic_shared(void)
{
    return emulator_shared();
}

static inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    struct emulator_collective lane = {emulator_collective::MMA, {a, b}, c, 0};
    emulator_wait_warp(&lane);
}

static inline void load_matrices(uint32_t out[4], const void *shared_row)
{
    struct emulator_collective lane = {emulator_collective::LDMATRIX, {shared_row, NULL}, out, 0};
    emulator_wait_warp(&lane);
}

static inline void load_matrices_transposed(uint32_t out[4], const void *shared_row)
{
    struct emulator_collective lane = {
        emulator_collective::LDMATRIX_TRANSPOSED, {shared_row, NULL}, out, 0};
    emulator_wait_warp(&lane);
}

static inline void copy_async(void *shared, const void *from, bool here)
{
    emulator_copy_async(shared, from, here);
}

static inline void copy_async_cached(void *shared, const void *from, bool here)
{
    emulator_copy_async(shared, from, here);
}

static inline void copy_commit(void)
{
    emulator_copy_commit();
}

template <int Pending> static inline void copy_wait(void)
{
    emulator_copy_wait(Pending);
}

#endif
