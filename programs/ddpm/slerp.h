/* Spherical interpolation. */
#ifndef DDPM_PROGRAM_SLERP_H
#define DDPM_PROGRAM_SLERP_H

#include <stddef.h>

/* Spherical linear interpolation of `count` values (Shoemake 1985), from `a` at t = 0 to `b` at t
 * = 1. Linear if the two have the same direction or opposite ones. */
void ddpm_slerp(const float *a, const float *b, size_t count, double t, float *out);

#endif
