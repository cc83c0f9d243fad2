/* Matrix products of a warpgroup, which is four neighbouring warps (PTX ISA 8.0). They exist only
 * on sm_90a: kernels compiled for another architecture must not be launched, and trap if they are.
 *
 * Both factors are tiles of rows of 128 bytes, 64 bf16, in shared memory, from an address that is a
 * multiple of 1,024 on. In the row r, the 16-byte chunk c is at c ^ (r & 7): chunk_wide<8>() of
 * conv_mma.cuh. The hardware takes the same three bits of the address. A row of a tile is a row of
 * the factor: to advance by 16 columns of depth, add 32 bytes in every row. Where the product reads
 * transposed tiles, a row is one column of depth of 64 rows of the factor: to advance by 16 columns
 * of depth, add 2,048 bytes. A factor with more rows has more tiles.
 *
 * Sums of thread t of the group, warp w = t/32, g = t%32/4, l = t%4, for c[j]:
 *     [0] (16w+g, 8j+2l)  [1] (16w+g, 8j+2l+1)  [2] (16w+g+8, 8j+2l)  [3] (16w+g+8, 8j+2l+1) */
#ifndef DDPM_KERNELS_CUDA_WARPGROUP_CUH
#define DDPM_KERNELS_CUDA_WARPGROUP_CUH

#include <stdint.h>

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define DDPM_HAS_WARPGROUPS
#endif

#define GROUP_SUMS(c) "+f"((c)[0]), "+f"((c)[1]), "+f"((c)[2]), "+f"((c)[3])

/* The lower half of the descriptor of a factor: the address of its tiles. */
struct group_tile {
    uint32_t bits;
};

/* The upper half: 1,024 bytes from one group of eight rows to the next, chunks swizzled within 128
 * bytes. */
#define GROUP_TILE_KIND (1u << 30 | 1024 >> 4)

/* leading: bytes to the next tile of the same factor; counts only where the product reads several
 * transposed tiles. The result is hidden from the compiler, which would otherwise compute it again
 * for every product. */
static __device__ inline struct group_tile group_tile_of(const void *shared, unsigned leading)
{
    uint32_t address = (uint32_t)__cvta_generic_to_shared(shared);
    struct group_tile tile = {(address & 0x3ffff) >> 4 | (leading >> 4) << 16};
    asm volatile("" : "+r"(tile.bits));
    return tile;
}

static __device__ inline struct group_tile group_tile_after(struct group_tile tile, int bytes)
{
    return {tile.bits + (uint32_t)bytes / 16};
}

/* c[64][COLUMNS] += a·bᵀ over 16 columns of a [64][16] and b [COLUMNS][16], begun and not waited
 * for: until group_wait() nobody may read c or write the tiles. */
template <int COLUMNS, bool TRANSPOSED = false>
static __device__ inline void group_multiply(float c[COLUMNS / 8][4], struct group_tile a,
                                             struct group_tile b)
{
#ifdef DDPM_HAS_WARPGROUPS
    const uint64_t first = (uint64_t)GROUP_TILE_KIND << 32 | a.bits;
    const uint64_t second = (uint64_t)GROUP_TILE_KIND << 32 | b.bits;
    static_assert(COLUMNS == 64 || COLUMNS == 128, "one instruction for each");
    if constexpr (COLUMNS == 64)
        asm volatile(
            "{\n.reg .pred adds;\nsetp.eq.b32 adds, 0, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
            "%32, %33, adds, 1, 1, %34, %34;\n}"
            : GROUP_SUMS(c[0]), GROUP_SUMS(c[1]),
              GROUP_SUMS(c[2]), GROUP_SUMS(c[3]),
              GROUP_SUMS(c[4]), GROUP_SUMS(c[5]),
              GROUP_SUMS(c[6]), GROUP_SUMS(c[7])
            : "l"(first), "l"(second), "n"((int)TRANSPOSED));
    else
        asm volatile(
            "{\n.reg .pred adds;\nsetp.eq.b32 adds, 0, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31,"
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47,"
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
            "%64, %65, adds, 1, 1, %66, %66;\n}"
            : GROUP_SUMS(c[0]), GROUP_SUMS(c[1]),
              GROUP_SUMS(c[2]), GROUP_SUMS(c[3]),
              GROUP_SUMS(c[4]), GROUP_SUMS(c[5]),
              GROUP_SUMS(c[6]), GROUP_SUMS(c[7]),
              GROUP_SUMS(c[8]), GROUP_SUMS(c[9]),
              GROUP_SUMS(c[10]), GROUP_SUMS(c[11]),
              GROUP_SUMS(c[12]), GROUP_SUMS(c[13]),
              GROUP_SUMS(c[14]), GROUP_SUMS(c[15])
            : "l"(first), "l"(second), "n"((int)TRANSPOSED));
#else
    (void)c, (void)a, (void)b;
    __trap();
#endif
}

/* Call this before the first product: it lets the products see what this thread has written to c,
 * and to the tiles by cp.async and stores. Follow it with the block's barrier. */
static __device__ inline void group_publish(void)
{
#ifdef DDPM_HAS_WARPGROUPS
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

static __device__ inline void group_begin(void)
{
#ifdef DDPM_HAS_WARPGROUPS
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

static __device__ inline void group_commit(void)
{
#ifdef DDPM_HAS_WARPGROUPS
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

/* Wait for all products that this thread's group has begun. */
template <int COLUMNS> static __device__ inline void group_wait(float c[COLUMNS / 8][4])
{
#ifdef DDPM_HAS_WARPGROUPS
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; ++j) /* reads of c stay after the wait */
        asm volatile("" : GROUP_SUMS(c[j])::"memory");
#else
    (void)c;
#endif
}

#endif
