/* Spherical interpolation. */
#ifndef DDPM_PROGRAM_SLERP_H
#define DDPM_PROGRAM_SLERP_H

#include <stddef.h>

/* Spherical linear interpolation of `count` values (Shoemake 1985), t from 0, which gives `a`, to
 * 1, which gives `b`. Linear where the two have one direction or opposite ones. */
void ddpm_slerp(const float *a, const float *b, size_t count, double t, float *out);

#endif
