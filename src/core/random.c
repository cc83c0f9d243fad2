/* Normals, permutations and name hashes over Philox. */
#include "core/random.h"

void ddpm_fill_normal(float *out, int64_t count, uint64_t seed, uint32_t stream, uint32_t step,
                      uint32_t sample)
{
    for (int64_t i = 0; i < count; i += 4) {
        float four[4];
        ddpm_normal4(ddpm_philox(seed, (uint32_t)(i / 4), sample, step, stream), four);
        for (int64_t k = 0; k < 4 && i + k < count; ++k)
            out[i + k] = four[k];
    }
}

uint32_t ddpm_permute(uint32_t index, uint32_t count, uint64_t seed, uint32_t epoch)
{
    uint32_t half_bits = 1;
    while (half_bits < 16 && ((uint32_t)1 << (2 * half_bits)) < count)
        ++half_bits;
    const uint32_t mask = ((uint32_t)1 << half_bits) - 1;
    uint32_t value = index;
    do {
        uint32_t left = value >> half_bits, right = value & mask;
        for (uint32_t round = 0; round < 6; ++round) {
            uint32_t mixed = ddpm_philox(seed, right, round, epoch, DDPM_STREAM_ORDER).v[0];
            uint32_t next = left ^ (mixed & mask);
            left = right;
            right = next;
        }
        value = (left << half_bits) | right;
    } while (value >= count);
    return value;
}

uint32_t ddpm_hash_name(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; ++name)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}
