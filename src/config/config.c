/* The configuration: created with the defaults, set and read by option name. */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "config/foreign.h"
#include "config/nearest.h"
#include "config/option.h"
#include "config/recipes.h"
#include "core/arguments.h"
#include "core/memory.h"

ddpm_status ddpm_group_reset(enum ddpm_option_group group, struct ddpm_config *config)
{
    for (size_t i = 0; i < ddpm_options_count; ++i)
        if (ddpm_options[i].group == group)
            DDPM_TRY(ddpm_option_parse(&ddpm_options[i], ddpm_options[i].default_text, config));
    return DDPM_OK;
}

ddpm_status ddpm_config_create(struct ddpm_config **out)
{
    DDPM_REQUIRE(out);
    DDPM_TRY(DDPM_NEW(out, "configuration"));
    for (int group = 0; group < DDPM_GROUP_COUNT; ++group) {
        ddpm_status status = ddpm_group_reset((enum ddpm_option_group)group, *out);
        if (status != DDPM_OK) {
            ddpm_config_destroy(out);
            return status;
        }
    }
    return DDPM_OK;
}

void ddpm_config_destroy(struct ddpm_config **config)
{
    if (!config)
        return;
    free(*config);
    *config = NULL;
}

ddpm_status ddpm_config_copy(const struct ddpm_config *config, struct ddpm_config **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    DDPM_TRY(DDPM_NEW(out, "configuration"));
    **out = *config;
    return DDPM_OK;
}

static ddpm_status find(const char *name, const struct ddpm_option **option)
{
    *option = ddpm_option_find(name);
    if (*option)
        return DDPM_OK;
    const struct ddpm_foreign_name *foreign = ddpm_foreign_find(name, strlen(name));
    if (foreign && !foreign->advice)
        *option = ddpm_option_find(foreign->ours);
    if (*option) {
        ddpm_log(DDPM_LOG_INFO, "option %.80s is called %s here", name, foreign->ours);
        return DDPM_OK;
    }
    if (foreign && foreign->advice)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "no option is called \"%.80s\": %s", name,
                          foreign->advice);
    char text[DDPM_NEAREST_BYTES];
    struct ddpm_nearest nearest = {.wanted = name};
    for (size_t i = 0; i < ddpm_options_count; ++i)
        ddpm_nearest_offer(&nearest, ddpm_options[i].name);
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "no option is called \"%.80s\"%s", name,
                      ddpm_nearest_text(&nearest, "", text));
}

ddpm_status ddpm_config_set(struct ddpm_config *config, const char *name, const char *value)
{
    const struct ddpm_option *option;
    DDPM_REQUIRE(config);
    DDPM_REQUIRE(name);
    DDPM_REQUIRE(value);
    DDPM_TRY(find(name, &option));
    DDPM_TRY(ddpm_option_parse(option, value, config));
    ddpm_recipe_option_was_set(option, config);
    if (option->offset == offsetof(struct ddpm_config, training.recipe))
        return ddpm_recipe_apply((enum ddpm_recipe)config->training.recipe, config);
    return DDPM_OK;
}

ddpm_status ddpm_config_get(const struct ddpm_config *config, const char *name, char *buffer,
                            size_t bytes)
{
    const struct ddpm_option *option;
    DDPM_REQUIRE(config);
    DDPM_REQUIRE(name);
    DDPM_REQUIRE(buffer);
    DDPM_TRY(find(name, &option));
    return ddpm_option_format(option, config, buffer, bytes);
}
