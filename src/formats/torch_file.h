/* Files of torch.save: the tensors of a state dict. See tensor_file.h. */
#ifndef DDPM_FORMATS_TORCH_FILE_H
#define DDPM_FORMATS_TORCH_FILE_H

#include "formats/tensor_file.h"

struct ddpm_torch_file;

/* Read a file in the caller's memory: a zip file, or the older form. *out is NULL on failure. Close
 * with ddpm_torch_close(); *file may be NULL. */
ddpm_status ddpm_torch_parse(struct ddpm_torch_file **out, const uint8_t *data, size_t bytes,
                             bool zip, const char *label);
void ddpm_torch_close(struct ddpm_torch_file **file);

/* Its tensors, in no particular order; they live until the file is closed. Names may occur
 * twice. */
void ddpm_torch_entries(const struct ddpm_torch_file *file,
                        const struct ddpm_tensor_entry **entries, size_t *count);

#endif
