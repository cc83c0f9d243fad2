/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011).
 *
 * Every number is a pure function of (seed, stream, step, sample, index). There is no state, so
 * resuming, thread counts and device counts never change a number.
 *
 *     key     = seed (64 bits)
 *     counter = { block, sample, step, stream }   block = index / 4
 *
 * The CUDA backend computes the same integers from the same counter (kernels/cuda/philox.cuh). */
#ifndef DDPM_CORE_RANDOM_H
#define DDPM_CORE_RANDOM_H

#include <math.h>
#include <stdint.h>

/* What a number is for. The values are part of the reproducibility promise: never renumber. */
enum ddpm_stream {
    DDPM_STREAM_WEIGHTS = 1,     /* initial weights: sample = hash of the parameter's name */
    DDPM_STREAM_ORDER = 2,       /* order of the pictures: step = epoch */
    DDPM_STREAM_AUGMENT = 3,     /* flip, rotation, crop and patch: sample = place in the
                                    batch */
    DDPM_STREAM_TIMESTEP = 4,    /* t of training */
    DDPM_STREAM_NOISE = 5,       /* epsilon of training */
    DDPM_STREAM_SAMPLE_INIT = 6, /* x_T: sample = picture */
    DDPM_STREAM_SAMPLE_STEP = 7, /* z of the reverse step: step = t, sample = picture */
    DDPM_STREAM_SYNTHETIC = 8,   /* procedural pictures: sample = picture */
    DDPM_STREAM_BENCH = 9,       /* arbitrary values */
    DDPM_STREAM_KNOWN = 10,      /* noise of pixels that a mask keeps: numbered like SAMPLE_STEP */
    DDPM_STREAM_OFFSET = 11,     /* offset noise of training */
    DDPM_STREAM_VALIDATION = 12, /* crop and noise of validation: sample and step = hash of the
                                    picture's content, with the noise level */
    DDPM_STREAM_START = 14,      /* the basis that a fitted start is searched from */
    DDPM_STREAM_LIKELIHOOD = 13, /* likelihood of pictures: sample = picture, step = t for noise, or
                                    one of the values below plus a number */
};

/* Steps of DDPM_STREAM_LIKELIHOOD other than timesteps. */
#define DDPM_LIKELIHOOD_LEVEL (1u << 28) /* plus a stratum: which of its timesteps is used */
#define DDPM_LIKELIHOOD_BYTE (2u << 28)  /* where a byte's value lies in its bin */
#define DDPM_LIKELIHOOD_PROBE (3u << 28) /* plus a number: the signs of a probe */

struct ddpm_random4 {
    uint32_t v[4];
};

static inline struct ddpm_random4 ddpm_philox(uint64_t seed, uint32_t block, uint32_t sample,
                                              uint32_t step, uint32_t stream)
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t c0 = block, c1 = sample, c2 = step, c3 = stream;
    for (int round = 0; round < 10; ++round) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(product1 >> 32) ^ c1 ^ key0;
        uint32_t n2 = (uint32_t)(product0 >> 32) ^ c3 ^ key1;
        c1 = (uint32_t)product1;
        c3 = (uint32_t)product0;
        c0 = n0;
        c2 = n2;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return (struct ddpm_random4){{c0, c1, c2, c3}};
}

/* Uniform in (0,1): 23 bits, exact in fp32, never 0 and never 1. */
static inline float ddpm_uniform(uint32_t bits)
{
    return ((float)(bits >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/* Uniform integer in [0, bound) by multiply-shift (Lemire); the bias is below bound / 2^32. */
static inline uint32_t ddpm_below(uint32_t bits, uint32_t bound)
{
    return (uint32_t)(((uint64_t)bits * bound) >> 32);
}

/* Four standard normals from one block, by Box-Muller: integers 0 and 1 make one pair, 2 and 3 the
 * other. */
static inline void ddpm_normal4(struct ddpm_random4 r, float out[4])
{
    for (int pair = 0; pair < 2; ++pair) {
        float radius = sqrtf(-2.0f * logf(ddpm_uniform(r.v[2 * pair])));
        float angle = 6.28318530717958647692f * ddpm_uniform(r.v[2 * pair + 1]);
        out[2 * pair] = radius * cosf(angle);
        out[2 * pair + 1] = radius * sinf(angle);
    }
}

/* Fill `out` with `count` standard normals of one sample. */
void ddpm_fill_normal(float *out, int64_t count, uint64_t seed, uint32_t stream, uint32_t step,
                      uint32_t sample);

/* The place of item `index` in the permutation of [0, count) for (seed, epoch): a six-round Feistel
 * cipher on the next even power of two, repeated until the result is inside. Random access, no
 * table. count in [1, 2^31]. */
uint32_t ddpm_permute(uint32_t index, uint32_t count, uint64_t seed, uint32_t epoch);

/* FNV-1a hash of a name. */
uint32_t ddpm_hash_name(const char *name);

#endif
