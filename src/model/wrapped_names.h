/* Tensors' names in files of other programs. PyTorch's wrappers put a word before every name, or
 * inside: "module." (DataParallel, DistributedDataParallel), "_orig_mod." (torch.compile),
 * "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "ema_model." (ema_pytorch), "model." and
 * the like (a module that holds the network), one behind the other where they are nested. */
#ifndef DDPM_MODEL_WRAPPED_NAMES_H
#define DDPM_MODEL_WRAPPED_NAMES_H

#include <stdbool.h>

#include "formats/safetensors.h"
#include "graph/parameters.h"

#define DDPM_TENSOR_NAME_BYTES 256

/* How a file names the parameters. */
struct ddpm_naming {
    char prefix[DDPM_TENSOR_NAME_BYTES]; /* before every name; "" or "module._orig_mod." */
    bool inside;                         /* wrappers put words inside names, too */
};

/* Find the one prefix that the network's tensors have, which may be any text that ends in a point.
 * What is found is said in the log. DDPM_ERROR_MISMATCH when the network is there under two
 * prefixes, or a part of it under one and a part under another. A file of another network is no
 * failure here: its prefix is "". */
ddpm_status ddpm_naming_find(const struct ddpm_parameters *parameters,
                             const struct ddpm_safetensors *file, const char *path,
                             struct ddpm_naming *out);

/* The tensor of a parameter under that naming, or NULL. */
const struct ddpm_safetensors_tensor *ddpm_naming_tensor(const struct ddpm_naming *naming,
                                                         const struct ddpm_safetensors *file,
                                                         const char *parameter);

/* Is a tensor of that name one of the parameters? */
bool ddpm_naming_knows(const struct ddpm_naming *naming, const struct ddpm_parameters *parameters,
                       const char *name);

/* Is it a number that a wrapper which averages weights keeps beside them? */
bool ddpm_naming_is_counter(const struct ddpm_safetensors_tensor *tensor);

#endif
