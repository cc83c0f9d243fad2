/* Options that users of other diffusion trainers are used to typing, and what they are called here.
 * The names come from the article's code, denoising-diffusion-pytorch, diffusers, kohya's scripts,
 * EDM, guided-diffusion, k-diffusion and PyTorch Lightning.
 *
 * A name that means exactly the same, in the same unit, is accepted with a remark. Any other fails
 * with an error that says what to use instead. */
#ifndef DDPM_CONFIG_FOREIGN_H
#define DDPM_CONFIG_FOREIGN_H

#include <stddef.h>

struct ddpm_foreign_name {
    const char *name; /* "learning-rate" */
    const char *ours; /* "lr": our option for it, of the library or of a verb; NULL: we have none */
    const char *advice; /* what to do instead; NULL: `ours` means exactly the same */
};

/* The row for a name of `length` bytes, or NULL. Ignores case; '_' counts as '-'. */
const struct ddpm_foreign_name *ddpm_foreign_find(const char *name, size_t length);

#endif
