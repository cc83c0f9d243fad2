/* The few PTX instructions of the matrix kernels (PTX ISA 7.0, sm_80 and later), and the block's
 * dynamic shared memory.
 *
 * Fragments of mma.m16n8k16 for lane l, g = l/4, t = l%4 (two bf16 per register):
 *     a[0] (g, 2t)  a[1] (g+8, 2t)  a[2] (g, 2t+8)  a[3] (g+8, 2t+8)   A is row × k
 *     b[0] (2t, g)  b[1] (2t+8, g)                                     B is k × column
 *     c[0] (g, 2t)  c[1] (g, 2t+1)  c[2] (g+8, 2t)  c[3] (g+8, 2t+1)
 *
 * ldmatrix: lanes 8i..8i+7 give the addresses of the eight 16-byte rows of matrix i; lane l
 * receives elements (g, 2t) and (g, 2t+1) of it, or (2t, g) and (2t+1, g) when transposed. */
#ifndef DDPM_KERNELS_CUDA_TENSOR_CORE_CUH
#define DDPM_KERNELS_CUDA_TENSOR_CORE_CUH

#include <stdint.h>

static __device__ inline unsigned char *dynamic_shared(void)
{
    extern __shared__ __align__(128) unsigned char ddpm_dynamic_shared[];
    return ddpm_dynamic_shared;
}

/* c += a·b, fp32 accumulation. */
static __device__ inline void mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ inline void load_matrices(uint32_t out[4], const void *shared_row)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared_row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

static __device__ inline void load_matrices_transposed(uint32_t out[4], const void *shared_row)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared_row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

/* Start copying 16 bytes into shared memory; if `here` is false, zeros, and nothing is read: `from`
 * may then be any multiple of 16. */
static __device__ inline void copy_async(void *shared, const void *from, bool here)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = here ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(address), "l"(from), "r"(bytes)
                 : "memory");
}

/* The same through the L1 cache, for what other blocks of the multiprocessor read too. */
static __device__ inline void copy_async_cached(void *shared, const void *from, bool here)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    int bytes = here ? 16 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(address), "l"(from), "r"(bytes)
                 : "memory");
}

static __device__ inline void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until at most `Pending` of this thread's committed groups are in flight. */
template <int Pending> static __device__ inline void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

#endif
