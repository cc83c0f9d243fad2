/* The configuration as JSON values and as text, for files and for the metadata of weights.
 *
 *     {"model_name": …,
 *      "unet_config": {"model_mapping", "input", "dim_mults", "channels", …},
 *      "diffusion_config": {"timesteps", "betas_scheduler", "schedule_fn_kwargs": {…}, …},
 *      "sampling_config": {"sampler", "sampling_steps", "spacing", …},
 *      "trainer_config": {"train_batch_size", "train_lr", "train_num_steps", …},
 *      "data_config": {…}, "run_config": {…}}
 *
 * The keys are those of the option table. A recipe (at the root) is applied before the rest is
 * read. The article's own file can be read too: its keys are trainer_config.save_and_sample_every
 * and unet_config.batch_size. A file with one of these that names no sampler gets the article's
 * ("ancestral", every timestep) and recipe article. A file with ddpm_version at the root was
 * written by this program with every option that existed then: its recipe is only a name. Of the
 * root's other notes, data_fingerprint, starts_from and last_start, nothing is read. */
#ifndef DDPM_CONFIG_CONFIG_JSON_H
#define DDPM_CONFIG_CONFIG_JSON_H

#include <jansson.h>

#include "config/config.h"
#include "core/error.h"

/* All options and their values. *out is NULL on failure; release it with json_decref(). */
ddpm_status ddpm_config_to_json(const struct ddpm_config *config, json_t **out);

/* Set the options that `root` mentions. DDPM_ERROR_FORMAT "label: unet_config.input: …" leaves
 * the configuration unchanged. */
ddpm_status ddpm_config_from_json(struct ddpm_config *config, const json_t *root,
                                  const char *label);

/* The same as text. Free *out with free(). */
ddpm_status ddpm_config_to_text(const struct ddpm_config *config, char **out);
ddpm_status ddpm_config_from_text(struct ddpm_config *config, const char *text, const char *label);

#endif
