/* What users of other programs that train diffusion models are used to type, and what it is here.
 * The names are those of the article's code, denoising-diffusion-pytorch, diffusers, kohya's
 * scripts, EDM, guided-diffusion, k-diffusion and PyTorch Lightning.
 *
 * A name that means the very same thing, in the same unit, is taken and remarked on. A name of
 * something else is refused with what to use instead. */
#ifndef DDPM_CONFIG_FOREIGN_H
#define DDPM_CONFIG_FOREIGN_H

#include <stddef.h>

struct ddpm_foreign_name {
    const char *name;   /* "learning-rate" */
    const char *ours;   /* "lr": an option of the library or of a verb; NULL: nothing of the kind */
    const char *advice; /* what to do instead; NULL: the very same thing as `ours` */
};

/* The row of a name of `length` bytes, in any case and with '_' for '-'; or NULL. */
const struct ddpm_foreign_name *ddpm_foreign_find(const char *name, size_t length);

#endif
