/* A hash that tells data apart: file names, contents, weights. It is not cryptographic. */
#ifndef DDPM_CORE_HASH_H
#define DDPM_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 64 bits (Fowler, Noll and Vo): continue `hash` with more bytes, starting from
 * DDPM_FNV64_START. Inline because the CUDA plug-in uses it too and does not link this room. */
#define DDPM_FNV64_START UINT64_C(0xCBF29CE484222325)
static inline uint64_t ddpm_fnv64(uint64_t hash, const void *bytes, size_t count)
{
    const uint8_t *at = (const uint8_t *)bytes;
    for (size_t i = 0; i < count; ++i)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001B3);
    return hash;
}

#endif
