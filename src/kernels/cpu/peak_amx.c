/* The processor's peak rate in matrix tiles, for ddpm bench; see peak.simd.c. */
#include "kernels/cpu/amx.h"
#include "kernels/cpu/peak.h"

#define STEP_FLOPS (4 * 2.0 * AMX_ROWS * AMX_ROWS * AMX_DEPTH)
/* Tiles do so much per step that fewer steps are enough. */
#define STEPS (DDPM_PEAK_STEPS / 16)

static void range_bf16(void *context, int64_t begin, int64_t end, int thread)
{
    float sums[AMX_BLOCK_BYTES / sizeof(float)] = {0}, *result = context;
    (void)thread;
    amx_begin();
    amx_fence();
    amx_block_load(sums);
    _tile_loadd(4, sums, 64);
    _tile_loadd(5, sums, 64);
    for (int64_t step = begin * STEPS; step < end * STEPS; ++step) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    amx_block_store(sums);
    amx_fence();
    amx_end();
    result[begin] = sums[0];
}

const struct ddpm_peak ddpm_peak_amx = {
    .range_bf16 = range_bf16, .bf16_flops_per_step = STEP_FLOPS * STEPS / DDPM_PEAK_STEPS};
