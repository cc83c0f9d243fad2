/* The recipes in help texts. */
#ifndef DDPM_RECIPE_HELP_H
#define DDPM_RECIPE_HELP_H

/* Every recipe with its options, on stdout. */
void ddpm_print_recipes(void);

#endif
