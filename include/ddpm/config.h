/* Configuration: every option of networks, diffusion, training and data, by name.
 *
 * There is one table of options in the library (name, type, default, range, help); the command
 * line, the JSON files, the metadata of checkpoints and this interface all read it. Values are
 * given and returned as text, in the form the command line takes: "64", "1e-4", "1,2,4,8", "128" or
 * "96x128", "on". */
#ifndef DDPM_CONFIG_H
#define DDPM_CONFIG_H

#include <stddef.h>

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ddpm_config;

/* A configuration with every default. Destroy with ddpm_config_destroy(), which sets the pointer to
 * NULL. */
DDPM_API ddpm_status ddpm_config_create(struct ddpm_config **out);
DDPM_API void ddpm_config_destroy(struct ddpm_config **config);
DDPM_API ddpm_status ddpm_config_copy(const struct ddpm_config *config, struct ddpm_config **out);

/* Set one option. DDPM_ERROR_ARGUMENT for an unknown name (the text names the nearest known one) or
 * a value that is not of its type or out of its range; the configuration is then unchanged. */
DDPM_API ddpm_status ddpm_config_set(struct ddpm_config *config, const char *name,
                                     const char *value);

/* The value of one option as text, written to `buffer` (terminated; DDPM_ERROR_ARGUMENT when it
 * does not fit). */
DDPM_API ddpm_status ddpm_config_get(const struct ddpm_config *config, const char *name,
                                     char *buffer, size_t bytes);

/* Read options from a JSON file with the sections trainer_config, unet_config, diffusion_config,
 * sampling_config and data_config; the article's own file is one. Unknown keys are errors that name
 * the nearest known one. What the file does not mention stays as it is, with two exceptions: a file
 * that names a sampler resets the other options of sampling, and the article's file, which names
 * none, sets its whole chain, "ancestral". */
DDPM_API ddpm_status ddpm_config_read(struct ddpm_config *config, const char *path);

/* Write all options in force, in the same form. Atomic: the file is whole or not there. */
DDPM_API ddpm_status ddpm_config_write(const struct ddpm_config *config, const char *path);

/* Do the options fit each other (picture size and levels, schedule and timesteps, …)? */
DDPM_API ddpm_status ddpm_config_check(const struct ddpm_config *config);

/* The table, for help texts: option i in [0, count). All strings are constants of the library. */
struct ddpm_option_info {
    const char *name;         /* "dim-mults" */
    const char *placeholder;  /* "N,N,…" */
    const char *default_text; /* "1,2,4,8" */
    const char *help;         /* one sentence */
    const char *group;        /* "network", "diffusion", "sampling", "training", … */
};
DDPM_API size_t ddpm_option_count(void);
DDPM_API struct ddpm_option_info ddpm_option_at(size_t index);

#ifdef __cplusplus
}
#endif
#endif
