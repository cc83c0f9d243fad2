/* The metadata of a drawn picture: PNG texts, enough to draw it again. */
#ifndef DDPM_PROGRAM_METADATA_H
#define DDPM_PROGRAM_METADATA_H

#include <ddpm/sampler.h>

#include "formats/png_write.h"
#include "program.h"

#define DDPM_METADATA_COUNT 28

struct ddpm_metadata {
    struct ddpm_png_text texts[DDPM_METADATA_COUNT];
    size_t count;
    char values[DDPM_METADATA_COUNT][64];
    char *config; /* JSON */
};

/* For pictures of `model` (called `path` on the command line), drawn by `sampler` from `seed`; or
 * from an x that `init` describes, unless that is NULL. Free with ddpm_metadata_clear(), after
 * failures too. */
ddpm_status ddpm_metadata_fill(struct ddpm_metadata *metadata,
                               const struct ddpm_opened_model *model, const char *path,
                               const struct ddpm_sampler *sampler, uint64_t seed, const char *init);

/* Set the number of the picture that the texts belong to; a grid has the number of its first
 * picture. */
void ddpm_metadata_set_picture(struct ddpm_metadata *metadata, int64_t picture, int64_t count);

void ddpm_metadata_clear(struct ddpm_metadata *metadata);

#endif
