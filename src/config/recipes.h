/* Recipes: named sets of options (recipes.inc). */
#ifndef DDPM_CONFIG_RECIPES_H
#define DDPM_CONFIG_RECIPES_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "config/option.h"
#include "core/error.h"

/* One sentence about the recipe, which is not DDPM_RECIPE_NONE. */
const char *ddpm_recipe_help(enum ddpm_recipe recipe);

/* Setting `index` of a recipe; false after the last. Other options are those of
 * DDPM_RECIPE_ARTICLE. */
bool ddpm_recipe_setting(enum ddpm_recipe recipe, size_t index, const char **option,
                         const char **value);

/* Set the recipe's options; does nothing for DDPM_RECIPE_NONE. training.recipe itself is left
 * alone. */
ddpm_status ddpm_recipe_apply(enum ddpm_recipe recipe, struct ddpm_config *config);

/* Copy the options that recipes set, and no others, to `config`. */
ddpm_status ddpm_recipe_keep(const struct ddpm_config *from, struct ddpm_config *config);

/* Limit a warm-up that a recipe has set to a tenth of the steps. Call it when the steps change. */
void ddpm_recipe_shorten_warmup(struct ddpm_training_config *training);

/* Call this after setting an option by itself: a warm-up set that way is no longer the recipe's,
 * and whether steps or recipe come first makes no difference. */
void ddpm_recipe_option_was_set(const struct ddpm_option *option, struct ddpm_config *config);

#endif
