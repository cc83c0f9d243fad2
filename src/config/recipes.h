/* Recipes: named sets of options (recipes.inc). */
#ifndef DDPM_CONFIG_RECIPES_H
#define DDPM_CONFIG_RECIPES_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "core/error.h"

/* One sentence about a recipe that is not DDPM_RECIPE_NONE. */
const char *ddpm_recipe_help(enum ddpm_recipe recipe);

/* Setting `index` of a recipe, or false after the last. What a recipe does not set is as in
 * DDPM_RECIPE_ARTICLE. */
bool ddpm_recipe_setting(enum ddpm_recipe recipe, size_t index, const char **option,
                         const char **value);

/* Give the options their values in the recipe; nothing for DDPM_RECIPE_NONE. training.recipe stays
 * as it is. */
ddpm_status ddpm_recipe_apply(enum ddpm_recipe recipe, struct ddpm_config *config);

#endif
