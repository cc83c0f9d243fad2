#include "ranks/wire.h"

#include <string.h>

static void round_all(const float *restrict from, size_t count, uint16_t *restrict to)
{
    for (size_t i = 0; i < count; ++i)
        to[i] = ddpm_float_to_bf16(from[i]);
}

static void widen_all(const uint16_t *restrict from, size_t count, float *restrict to)
{
    for (size_t i = 0; i < count; ++i)
        to[i] = ddpm_bf16_to_float(from[i]);
}

static void add_rounded(const uint16_t *restrict from, size_t count, float *restrict to)
{
    for (size_t i = 0; i < count; ++i)
        to[i] += ddpm_bf16_to_float(from[i]);
}

static void add_whole(const float *restrict from, size_t count, float *restrict to)
{
    for (size_t i = 0; i < count; ++i)
        to[i] += from[i];
}

void ddpm_wire_write(enum ddpm_dtype wire, const float *from, size_t count, void *to, size_t at)
{
    if (wire == DDPM_BF16)
        round_all(from, count, (uint16_t *)to + at);
    else
        memcpy((float *)to + at, from, count * sizeof *from);
}

void ddpm_wire_read(enum ddpm_dtype wire, const void *from, size_t at, size_t count, float *to)
{
    if (wire == DDPM_BF16)
        widen_all((const uint16_t *)from + at, count, to);
    else
        memcpy(to, (const float *)from + at, count * sizeof *to);
}

void ddpm_wire_add(enum ddpm_dtype wire, const void *from, size_t at, size_t count, float *to)
{
    if (wire == DDPM_BF16)
        add_rounded((const uint16_t *)from + at, count, to);
    else
        add_whole((const float *)from + at, count, to);
}
