/* Tensor names in files from other programs. PyTorch's wrappers put a word before or inside every
 * name: "module." (DataParallel, DistributedDataParallel), "_orig_mod." (torch.compile),
 * "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "ema_model." (ema_pytorch), "model." and
 * the like (a module that holds the network), several of them if wrappers are nested. */
#ifndef DDPM_MODEL_WRAPPED_NAMES_H
#define DDPM_MODEL_WRAPPED_NAMES_H

#include <stdbool.h>

#include "formats/safetensors.h"
#include "graph/parameters.h"

#define DDPM_TENSOR_NAME_BYTES 256

/* How a file names the parameters. */
struct ddpm_naming {
    char prefix[DDPM_TENSOR_NAME_BYTES]; /* before every name; "" or "module._orig_mod." */
    bool inside;                         /* there are such words inside names too */
};

/* Find the prefix of the network's tensors, which may be any text that ends in a dot, and log it.
 * DDPM_ERROR_MISMATCH if the file has the network under two prefixes, or parts of it under
 * different ones. A file of a different network is not an error here: its prefix is "". */
ddpm_status ddpm_naming_find(const struct ddpm_parameters *parameters,
                             const struct ddpm_safetensors *file, const char *path,
                             struct ddpm_naming *out);

/* The tensor of a parameter under this naming, or NULL. */
const struct ddpm_safetensors_tensor *ddpm_naming_tensor(const struct ddpm_naming *naming,
                                                         const struct ddpm_safetensors *file,
                                                         const char *parameter);

/* Is the tensor with this name one of the parameters? */
bool ddpm_naming_knows(const struct ddpm_naming *naming, const struct ddpm_parameters *parameters,
                       const char *name);

/* Is it a counter that a weight-averaging wrapper stores with the weights? */
bool ddpm_naming_is_counter(const struct ddpm_safetensors_tensor *tensor);

#endif
