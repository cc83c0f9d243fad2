/* How pictures are drawn, as the command line and a configuration say it: for sample and for the
 * grids of train. */
#ifndef DDPM_PROGRAM_DRAWING_H
#define DDPM_PROGRAM_DRAWING_H

#include <ddpm/sampler.h>

#include "diffusion/chain.h"
#include "options.h"

/* Is what was given of drawing fit for `config`, which has it already? *evaluations is how often
 * its chain runs the network. Before any work, since nothing here needs a network. */
ddpm_status ddpm_drawing_check(const struct ddpm_arguments *arguments,
                               const struct ddpm_config *config, int64_t *evaluations);

/* What `config` draws with. */
struct ddpm_chain ddpm_drawing_chain(const struct ddpm_config *config);

/* Sampler options of the same chain, size and clipping. */
struct ddpm_sampler_options ddpm_drawing_options(const struct ddpm_config *config);

/* Read x at the first level from a .npy file: float32 [count, channels, height, width], all finite,
 * with height, width and channels those of `config`. *count is that of the file; where `wanted` is
 * not 0 it must be that. *out is to be freed. */
ddpm_status ddpm_drawing_read_init(const char *path, const struct ddpm_config *config,
                                   int64_t wanted, float **out, int64_t *count);

#endif
