/* Storages of torch.save: rows of values that tensors are views of. See torch_file.c. */
#ifndef DDPM_FORMATS_TORCH_STORAGE_H
#define DDPM_FORMATS_TORCH_STORAGE_H

#include "formats/pickle.h"
#include "formats/safetensors.h"
#include "formats/torch_zip.h"

/* The names accepted in a file: types of storages, then functions that make dicts and tensors. */
enum {
    DDPM_TORCH_STORAGES = 8,
    DDPM_TORCH_TENSOR = 9,
    DDPM_TORCH_PARAMETER = 10,
    DDPM_TORCH_NAMES = 11
};
extern const struct ddpm_pickle_name ddpm_torch_names[DDPM_TORCH_NAMES];

struct ddpm_torch_storage {
    const char *key; /* in the pickle */
    size_t length;
    enum ddpm_safetensors_dtype dtype;
    int64_t count;
    size_t bytes;
    const uint8_t *data; /* NULL until it is found */
    uint8_t *copy;       /* copy of a zip file's member */
};

struct ddpm_torch_storages {
    struct ddpm_torch_storage *at; /* by key */
    size_t count;
};

/* Parse what a persistent value says about its storage. */
ddpm_status ddpm_torch_storage_read(const struct ddpm_pickle *pickle,
                                    const struct ddpm_pickle_value *value,
                                    struct ddpm_torch_storage *out);

/* Collect all storages that a pickle mentions, each once. Free them even after a failure; their
 * keys live as long as the pickle. */
ddpm_status ddpm_torch_storages_list(struct ddpm_torch_storages *storages,
                                     const struct ddpm_pickle *pickle);
void ddpm_torch_storages_free(struct ddpm_torch_storages *storages);

/* The storage with this key, or NULL. */
struct ddpm_torch_storage *ddpm_torch_storages_find(const struct ddpm_torch_storages *storages,
                                                    const char *key, size_t length);

/* Load a storage's values from the member of the zip file, unless they are loaded. `zip` may be
 * NULL. */
ddpm_status ddpm_torch_storage_fetch(struct ddpm_torch_storage *storage,
                                     struct ddpm_torch_zip *zip);

/* Find them in the older form, where they follow in the order of the keys that a pickle lists. */
ddpm_status ddpm_torch_storages_place(struct ddpm_torch_storages *storages,
                                      const struct ddpm_pickle *keys, const uint8_t *data,
                                      size_t bytes);

#endif
