/* Numbers as they travel between ranks: fp32, or bf16. Messages consist of floats, so bf16 numbers
 * travel in pairs. */
#ifndef DDPM_RANKS_WIRE_H
#define DDPM_RANKS_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/tensor.h"

static inline size_t ddpm_wire_bytes(enum ddpm_dtype wire, size_t count)
{
    return count * (wire == DDPM_BF16 ? sizeof(uint16_t) : sizeof(float));
}

/* The next count that fills whole floats; and how many floats such a count fills. */
static inline size_t ddpm_wire_pad(enum ddpm_dtype wire, size_t count)
{
    return wire == DDPM_BF16 ? (count + 1) / 2 * 2 : count;
}

static inline int ddpm_wire_floats(enum ddpm_dtype wire, size_t count)
{
    return (int)(ddpm_wire_bytes(wire, count) / sizeof(float));
}

/* fp32 numbers to numbers [at, at + count) of `to`, rounded to the nearest, ties to even. */
void ddpm_wire_write(enum ddpm_dtype wire, const float *from, size_t count, void *to, size_t at);

/* Numbers [at, at + count) of `from`, written to `to` or added to it. */
void ddpm_wire_read(enum ddpm_dtype wire, const void *from, size_t at, size_t count, float *to);
void ddpm_wire_add(enum ddpm_dtype wire, const void *from, size_t at, size_t count, float *to);

#endif
