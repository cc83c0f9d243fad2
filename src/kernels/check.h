/* The `check` backend: runs another backend and checks that its kernels follow the rules of
 * ops.inc. */
#ifndef DDPM_KERNELS_CHECK_H
#define DDPM_KERNELS_CHECK_H

#include "kernels/backend.h"

/* Wraps the host backend named in the environment variable DDPM_CHECK_BACKEND, "cpu" by default. */
extern const struct ddpm_backend ddpm_backend_check;

#endif
