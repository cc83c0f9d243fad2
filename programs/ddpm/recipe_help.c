/* The recipes in help texts. */
#include "recipe_help.h"

#include <stdio.h>
#include <string.h>

#include "config/recipes.h"

enum { INDENT = 6, WIDTH = 100 };

static const char *const names[] = {
#define RECIPE(id, name, ...) name,
#include "config/recipes.inc"
#undef RECIPE
};

static void print_settings(enum ddpm_recipe recipe)
{
    const char *option, *value;
    int column = 0;
    for (size_t i = 0; ddpm_recipe_setting(recipe, i, &option, &value); ++i) {
        char text[96];
        const int length = snprintf(text, sizeof text, "--%s %s", option, value);
        const bool breaks = column + 1 + length > WIDTH;
        printf("%s%*s%s", breaks ? "\n" : "", column == 0 || breaks ? INDENT : 1, "", text);
        column = column == 0 || breaks ? INDENT + length : column + 1 + length;
    }
    printf("\n");
}

void ddpm_print_recipes(void)
{
    printf("\n"
           "Recipes (options you give win; options not listed are those of %s;\n"
           "the warm-up is at most a tenth of the steps):\n",
           names[DDPM_RECIPE_ARTICLE]);
    for (int recipe = 0; recipe < DDPM_RECIPE_NONE; ++recipe) {
        printf("  %s: %s\n", names[recipe], ddpm_recipe_help((enum ddpm_recipe)recipe));
        print_settings((enum ddpm_recipe)recipe);
    }
}
