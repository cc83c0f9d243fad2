/* The recipes in help texts. */
#ifndef DDPM_RECIPE_HELP_H
#define DDPM_RECIPE_HELP_H

/* Print every recipe and its options on stdout. */
void ddpm_print_recipes(void);

#endif
