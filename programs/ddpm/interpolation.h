/* Pictures between two noises: the first x of every frame of ddpm sample --interpolate. */
#ifndef DDPM_PROGRAM_INTERPOLATION_H
#define DDPM_PROGRAM_INTERPOLATION_H

#include <ddpm/sampler.h>

#include "options.h"

struct ddpm_interpolation {
    const char *text; /* "A,B"; NULL: not given */
    char *ends[2];    /* A and B: each a seed, a .npy file or a picture */
    int64_t frames;
};

/* Read the options of `arguments`. Free with ddpm_interpolation_clear(), even after a failure. */
ddpm_status ddpm_interpolation_read_options(struct ddpm_interpolation *interpolation,
                                            const struct ddpm_arguments *arguments);
void ddpm_interpolation_clear(struct ddpm_interpolation *interpolation);

/* DDPM_ERROR_ARGUMENT if `config` draws with noise, because every frame would get its own. */
ddpm_status ddpm_interpolation_check(const struct ddpm_interpolation *interpolation,
                                     const struct ddpm_config *config);

/* x at the first level of every frame, fp32 [frames, channels, height, width], on the great
 * circle from A to B. Free it with free(). A seed means the noise of its picture `first`; a
 * picture is inverted with the chain of `options`. */
ddpm_status ddpm_interpolation_make(const struct ddpm_interpolation *interpolation,
                                    struct ddpm_network *network, const struct ddpm_config *config,
                                    const struct ddpm_sampler_options *options, int64_t first,
                                    float **out);

#endif
