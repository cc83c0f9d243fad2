/** @file
 * Configuration: every option of networks, diffusion, training and data, by name.
 *
 * There is one table of options in the library (name, type, default, range, help). The command
 * line, the JSON files, the metadata of checkpoints and this interface all read it. Values are
 * given and returned as text, in the form that the command line takes: "64", "1e-4", "1,2,4,8",
 * "128" or "96x128", "on". The meaning and range of each option: docs/options.md.
 *
 * A text that says a name is unknown also gives the nearest known one, but only if one is near
 * enough to be what was meant. Functions check their arguments as those of network.h do. */
#ifndef DDPM_CONFIG_H
#define DDPM_CONFIG_H

#include <stddef.h>

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A value for every option. */
struct ddpm_config;

/** Make a configuration with every default. On success *out is owned by the caller: free it with
 * ddpm_config_destroy(). On failure *out is NULL: DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_config_create(struct ddpm_config **out);

/** Free a configuration and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_config_destroy(struct ddpm_config **config);

/** Make a configuration with the same values. Ownership and errors: as ddpm_config_create(). */
DDPM_API ddpm_status ddpm_config_copy(const struct ddpm_config *config, struct ddpm_config **out);

/** Set one option. In names '_' counts as '-'; some names that other programs use are understood
 * too, and the log says so. Setting `recipe` sets all options of that recipe, so it goes before
 * those that shall differ from it. DDPM_ERROR_ARGUMENT for an unknown name, or for a value that is
 * not of the option's type or out of its range; the configuration is then unchanged. */
DDPM_API ddpm_status ddpm_config_set(struct ddpm_config *config, const char *name,
                                     const char *value);

/** Write the value of one option as text, with its terminating 0, to `buffer`, which has room for
 * `bytes` bytes. DDPM_ERROR_ARGUMENT for an unknown name, or when the text does not fit. */
DDPM_API ddpm_status ddpm_config_get(const struct ddpm_config *config, const char *name,
                                     char *buffer, size_t bytes);

/** Read options from a JSON file with the sections unet_config, diffusion_config, sampling_config,
 * trainer_config, data_config and run_config; the article's own file is one. What the file does not
 * mention stays as it is, with three exceptions: a file that names a sampler resets the other
 * options of sampling; one that names a recipe sets that recipe's options; and the article's file,
 * which names neither, sets the whole ancestral chain and the recipe `article`.
 * DDPM_ERROR_IO when it cannot be read, DDPM_ERROR_FORMAT for an unknown key or a value that is not
 * of its type or out of its range; the configuration is then unchanged. */
DDPM_API ddpm_status ddpm_config_read(struct ddpm_config *config, const char *path);

/** Write every option in the same form, atomically: the file is whole or as before. DDPM_ERROR_IO,
 * DDPM_ERROR_MEMORY; DDPM_ERROR_ARGUMENT for a text that JSON cannot hold. */
DDPM_API ddpm_status ddpm_config_write(const struct ddpm_config *config, const char *path);

/** Do the options fit each other (picture size and levels, schedule and timesteps, …)?
 * DDPM_ERROR_ARGUMENT says which do not. */
DDPM_API ddpm_status ddpm_config_check(const struct ddpm_config *config);

/** One row of the table of options. All strings are constants of the library. */
struct ddpm_option_info {
    const char *name;         /**< "dim-mults" */
    const char *placeholder;  /**< the placeholder of a value in help texts: "N,N,…" */
    const char *default_text; /**< "1,2,4,8" */
    const char *help;         /**< one sentence */
    const char *group; /**< "network", "diffusion", "sampling", "training", "data" or "run" */
};

/** How many options there are. */
DDPM_API size_t ddpm_option_count(void);

/** Option `index` in [0, count). All NULL for an index beyond. */
DDPM_API struct ddpm_option_info ddpm_option_at(size_t index);

#ifdef __cplusplus
}
#endif
#endif
