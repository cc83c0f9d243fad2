/* The drawing options of the command line and the configuration: for sample, and for the sample
 * grids of train. */
#ifndef DDPM_PROGRAM_DRAWING_H
#define DDPM_PROGRAM_DRAWING_H

#include <ddpm/sampler.h>

#include "diffusion/chain.h"
#include "options.h"

/* Do the drawing options that were given fit `config`, into which they are already merged?
 * *evaluations is how often the chain runs the network. Needs no network, so it runs before any
 * work. */
ddpm_status ddpm_drawing_check(const struct ddpm_arguments *arguments,
                               const struct ddpm_config *config, int64_t *evaluations);

/* The sampler that `config` draws with. */
struct ddpm_chain ddpm_drawing_chain(const struct ddpm_config *config);

/* Sampler options with the chain, size and clipping of `config`. */
struct ddpm_sampler_options ddpm_drawing_options(const struct ddpm_config *config);

/* Read x at the first level from a .npy file: float32 [count, channels, height, width], all
 * finite, with the channels, height and width of `config`. *count is that of the file, which must
 * be `wanted` unless that is 0. Free *out with free(). */
ddpm_status ddpm_drawing_read_init(const char *path, const struct ddpm_config *config,
                                   int64_t wanted, float **out, int64_t *count);

#endif
