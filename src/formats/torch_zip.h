/* The members of a zip file of torch.save, through libzip. */
#ifndef DDPM_FORMATS_TORCH_ZIP_H
#define DDPM_FORMATS_TORCH_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct ddpm_torch_zip;

/* Open a file in memory, which must live as long as *out. DDPM_ERROR_FORMAT if it is not a zip file
 * or has no member data.pkl; DDPM_ERROR_UNSUPPORTED in a build without libzip. *out is NULL on
 * failure. */
ddpm_status ddpm_torch_zip_open(struct ddpm_torch_zip **out, const uint8_t *data, size_t bytes);

/* Read a whole member of the folder that data.pkl is in. Free *out with free(). It is NULL on
 * failure, and if there is no such member, which is a failure unless `optional`. Members must be
 * stored, not compressed, so all that are read together are no larger than the file. */
ddpm_status ddpm_torch_zip_read(struct ddpm_torch_zip *zip, const char *name, bool optional,
                                uint8_t **out, size_t *bytes);

/* *zip may be NULL and is set to NULL. */
void ddpm_torch_zip_close(struct ddpm_torch_zip **zip);

#endif
