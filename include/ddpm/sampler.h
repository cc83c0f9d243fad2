/* Drawing pictures from a network. */
#ifndef DDPM_SAMPLER_H
#define DDPM_SAMPLER_H

#include <stdint.h>

#include <ddpm/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a chain stands, for progress bars and trajectories. */
struct ddpm_sample_progress {
    int64_t timestep;     /* the step just done: T-1 … 0 */
    int64_t done, total;  /* reverse steps over all batches */
    int64_t first, count; /* pictures [first, first+count) of the request are in x */
    int64_t channels, height, width;
    const float
        *x; /* fp32 [count, channels, height, width], nominally in [-1,1]; NULL unless wanted */
};

/* Return 0 to go on, anything else to stop: ddpm_sample() then returns DDPM_STOPPED. */
typedef int ddpm_sample_callback(void *user, const struct ddpm_sample_progress *progress);

struct ddpm_sample_options {
    int64_t count;         /* pictures, at least 1 */
    int64_t batch;         /* at once; 0: as many as fit comfortably, at most 16 */
    int64_t height, width; /* 0: the configuration's */
    uint64_t seed;         /* picture k depends on (seed, first + k), not on the batch; on an
                              accelerator, whose kernels differ by size, its last bits may */
    int64_t first;         /* number of the first picture */
    enum ddpm_weights weights;
    int clip;      /* clip predicted x_0: 1 yes, 0 no, -1 as configured */
    int64_t every; /* hand x to the callback each that many steps (and at the last); 0: never */
    ddpm_sample_callback *callback; /* may be NULL; called after every reverse step */
    void *user;
};

/* Run the reverse chain (Ho et al. 2020, algorithm 2, fixed posterior variance) from noise and
 * write the pictures: `pictures` is uint8 [count, height, width, channels]: (x+1)/2 scaled to
 * 0…255, rounded, clamped. Fails with DDPM_ERROR_NOT_FINITE when the chain diverges,
 * DDPM_ERROR_MEMORY before any work when it does not fit. */
DDPM_API ddpm_status ddpm_sample(struct ddpm_network *network,
                                 const struct ddpm_sample_options *options, uint8_t *pictures);

/* What ddpm_sample() takes beyond the network while it draws (weights: 0; a step is one reverse
 * step of a batch). *out is written on success only. */
DDPM_API ddpm_status ddpm_sample_measure(struct ddpm_network *network,
                                         const struct ddpm_sample_options *options,
                                         struct ddpm_memory_plan *out);

#ifdef __cplusplus
}
#endif
#endif
