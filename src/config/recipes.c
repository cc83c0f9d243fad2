/* Recipes: named sets of options. */
#include "config/recipes.h"

enum { MOST_SETTINGS = 32 };

static const struct {
    const char *help;
    struct {
        const char *option, *value;
    } settings[MOST_SETTINGS]; /* ends with NULL */
} recipes[DDPM_RECIPE_NONE] = {
#define RECIPE(id, name, help, ...) {help, {__VA_ARGS__}},
#include "config/recipes.inc"
#undef RECIPE
};

const char *ddpm_recipe_help(enum ddpm_recipe recipe)
{
    return recipes[recipe].help;
}

bool ddpm_recipe_setting(enum ddpm_recipe recipe, size_t index, const char **option,
                         const char **value)
{
    if (recipe == DDPM_RECIPE_NONE || index >= MOST_SETTINGS ||
        !recipes[recipe].settings[index].option)
        return false;
    *option = recipes[recipe].settings[index].option;
    *value = recipes[recipe].settings[index].value;
    return true;
}

ddpm_status ddpm_recipe_apply(enum ddpm_recipe recipe, struct ddpm_config *config)
{
    const char *option, *value;
    if (recipe != DDPM_RECIPE_ARTICLE && recipe != DDPM_RECIPE_NONE)
        DDPM_TRY(ddpm_recipe_apply(DDPM_RECIPE_ARTICLE, config));
    for (size_t i = 0; ddpm_recipe_setting(recipe, i, &option, &value); ++i)
        DDPM_TRY(ddpm_option_parse(ddpm_option_find(option), value, config));
    if (recipe != DDPM_RECIPE_NONE)
        config->training.recipe_warmup = config->training.warmup;
    ddpm_recipe_shorten_warmup(&config->training);
    return DDPM_OK;
}

ddpm_status ddpm_recipe_keep(const struct ddpm_config *from, struct ddpm_config *config)
{
    const char *name, *ignored;
    char value[DDPM_OPTION_BYTES];
    for (size_t i = 0; ddpm_recipe_setting(DDPM_RECIPE_ARTICLE, i, &name, &ignored); ++i) {
        const struct ddpm_option *option = ddpm_option_find(name);
        DDPM_TRY(ddpm_option_format(option, from, value, sizeof value));
        DDPM_TRY(ddpm_option_parse(option, value, config));
    }
    config->training.recipe_warmup = from->training.recipe_warmup;
    return DDPM_OK;
}

void ddpm_recipe_shorten_warmup(struct ddpm_training_config *training)
{
    const int64_t most = training->steps / 10;
    if (training->recipe_warmup)
        training->warmup = training->recipe_warmup < most ? training->recipe_warmup : most;
}

void ddpm_recipe_option_was_set(const struct ddpm_option *option, struct ddpm_config *config)
{
    if (option->offset == offsetof(struct ddpm_config, training.warmup))
        config->training.recipe_warmup = 0;
    ddpm_recipe_shorten_warmup(&config->training);
}
