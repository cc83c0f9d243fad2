/* start.safetensors: the fitted start of a checkpoint. docs/file-formats.md describes it. */
#ifndef DDPM_MODEL_START_FILES_H
#define DDPM_MODEL_START_FILES_H

#include "diffusion/start.h"

#define DDPM_START_FILE "start.safetensors"

/* Write atomically. */
ddpm_status ddpm_start_write(const struct ddpm_start *start, const char *path);

/* Read; the caller frees *out with ddpm_start_free(). DDPM_ERROR_FORMAT if the file does not hold a
 * start, DDPM_ERROR_NOT_FINITE for a value that is not finite. *out is NULL on failure. */
ddpm_status ddpm_start_read(const char *path, struct ddpm_start **out);

/* Read the start of the checkpoint in `folder`; *out is NULL if it has none. */
ddpm_status ddpm_start_load(const char *folder, struct ddpm_start **out);

#endif
