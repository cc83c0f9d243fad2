/* The members of a zip file of torch.save, by libzip. */
#ifndef DDPM_FORMATS_TORCH_ZIP_H
#define DDPM_FORMATS_TORCH_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct ddpm_torch_zip;

/* Open a file in memory, which must live as long. DDPM_ERROR_FORMAT where it is no zip file or has
 * no member data.pkl; DDPM_ERROR_UNSUPPORTED in a build without libzip. *out is NULL on failure. */
ddpm_status ddpm_torch_zip_open(struct ddpm_torch_zip **out, const uint8_t *data, size_t bytes);

/* A whole member of the folder that data.pkl is in. Free *out with free(); it is NULL on failure,
 * and where there is no such member, which is a failure unless it is `optional`. All members that
 * are read hold no more together than the file: they must be stored, not packed. */
ddpm_status ddpm_torch_zip_read(struct ddpm_torch_zip *zip, const char *name, bool optional,
                                uint8_t **out, size_t *bytes);

/* *zip may be NULL and is NULL afterwards. */
void ddpm_torch_zip_close(struct ddpm_torch_zip **zip);

#endif
