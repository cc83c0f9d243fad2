/** @file
 * Configuration: every option of networks, diffusion, training and data, by name.
 *
 * There is one table of options in the library (name, type, default, range, help). The command
 * line, the JSON files, the metadata of checkpoints and this interface all read it. Values go in
 * and out as text, in the form the command line takes: "64", "1e-4", "1,2,4,8", "128" or "96x128",
 * "on". The meaning and range of each option: docs/options.md.
 *
 * The error for an unknown name suggests the nearest known one, if one is close enough to be a
 * likely typo. Functions check their arguments as those of network.h do. */
#ifndef DDPM_CONFIG_H
#define DDPM_CONFIG_H

#include <stddef.h>

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A value for every option. */
struct ddpm_config;

/** Make a configuration with every default. On success the caller owns *out and frees it with
 * ddpm_config_destroy(). On failure *out is NULL. Fails with DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_config_create(struct ddpm_config **out);

/** Free a configuration and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_config_destroy(struct ddpm_config **config);

/** Copy a configuration. Ownership and errors are those of ddpm_config_create(). */
DDPM_API ddpm_status ddpm_config_copy(const struct ddpm_config *config, struct ddpm_config **out);

/** Set one option. In names, '_' counts as '-'. Some names from other programs are accepted too;
 * the log says which option was meant. Setting `recipe` sets every option of that recipe, so set it
 * before the options that should differ. A recipe's warm-up is at most a tenth of `steps`,
 * whichever of the two is set first. DDPM_ERROR_ARGUMENT for an unknown name, or for a value of the
 * wrong type or out of range; the configuration is then unchanged. */
DDPM_API ddpm_status ddpm_config_set(struct ddpm_config *config, const char *name,
                                     const char *value);

/** Write one option's value as 0-terminated text to `buffer`, which has room for `bytes` bytes.
 * DDPM_ERROR_ARGUMENT for an unknown name, or if the text does not fit. */
DDPM_API ddpm_status ddpm_config_get(const struct ddpm_config *config, const char *name,
                                     char *buffer, size_t bytes);

/** Read options from a JSON file with the sections unet_config, diffusion_config, sampling_config,
 * trainer_config, data_config and run_config; the article's own file is one. Options that the file
 * does not mention keep their values, with three exceptions: a file that names a sampler resets the
 * other sampling options; one that names a recipe sets that recipe's options, unless this library
 * or ddpm train wrote it (it then has every value, and newer options keep theirs); and the
 * article's file, which names neither, sets the full ancestral chain and the recipe `article`.
 * DDPM_ERROR_IO if the file cannot be read, DDPM_ERROR_FORMAT for an unknown key or a value of the
 * wrong type or out of range; the configuration is then unchanged. */
DDPM_API ddpm_status ddpm_config_read(struct ddpm_config *config, const char *path);

/** Write every option in the same form, with the version of the library. The write is atomic: the
 * file is either complete or unchanged. DDPM_ERROR_IO, DDPM_ERROR_MEMORY; DDPM_ERROR_ARGUMENT for
 * text that JSON cannot hold. */
DDPM_API ddpm_status ddpm_config_write(const struct ddpm_config *config, const char *path);

/** Check that the options fit each other (picture size and levels, schedule and timesteps, …).
 * DDPM_ERROR_ARGUMENT names those that do not. */
DDPM_API ddpm_status ddpm_config_check(const struct ddpm_config *config);

/** One row of the table of options. All strings are constants of the library. */
struct ddpm_option_info {
    const char *name;         /**< "dim-mults" */
    const char *placeholder;  /**< stands for the value in help texts: "N,N,…" */
    const char *default_text; /**< "1,2,4,8" */
    const char *help;         /**< one sentence */
    const char *group; /**< "network", "diffusion", "sampling", "training", "data" or "run" */
};

/** How many options there are. */
DDPM_API size_t ddpm_option_count(void);

/** Option `index` in [0, count). All fields are NULL for a larger index. */
DDPM_API struct ddpm_option_info ddpm_option_at(size_t index);

#ifdef __cplusplus
}
#endif
#endif
