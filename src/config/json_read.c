/* Reading the configuration from JSON. Values are turned into the text that the command line
 * takes, so both go through the same checks. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_json.h"
#include "config/foreign.h"
#include "config/nearest.h"
#include "config/option.h"
#include "config/recipes.h"
#include "core/arguments.h"
#include "core/text.h"
#include "formats/json.h"

/* Keys of the article's file that are not our own. They are read first, so that our keys win. */
static const struct {
    enum ddpm_option_group group;
    const char *key;
    const char *options[2];
} aliases[] = {
    {DDPM_GROUP_TRAINING, "save_and_sample_every", {"save-every", "sample-every"}},
    {DDPM_GROUP_NETWORK, "batch_size", {"batch-size", NULL}},
};
enum { ALIAS_COUNT = sizeof aliases / sizeof *aliases };

/* Keys of the root that are not options: notes by the program that wrote the file. */
static const char *const notes[] = {"ddpm_version", "data_fingerprint", "starts_from", "last_start",
                                    NULL};

static bool is_note(const char *key)
{
    for (size_t i = 0; notes[i]; ++i)
        if (strcmp(notes[i], key) == 0)
            return true;
    return false;
}

static bool is_alias(enum ddpm_option_group group, const char *key)
{
    for (size_t i = 0; i < ALIAS_COUNT; ++i)
        if (aliases[i].group == group && strcmp(aliases[i].key, key) == 0)
            return true;
    return false;
}

/* The values of an array, joined by `separator`. */
static bool join(const json_t *array, char separator, char *buffer, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(array); ++i) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_integer(value) || used + 32 > bytes)
            return false;
        if (i)
            buffer[used++] = separator;
        used += (size_t)snprintf(buffer + used, bytes - used, "%lld",
                                 (long long)json_integer_value(value));
    }
    return used > 0;
}

/* The text of a JSON value, if its type fits the option. */
static bool value_text(const struct ddpm_option *option, const json_t *value, char *buffer,
                       size_t bytes)
{
    switch (option->type) {
    case DDPM_OPTION_INTEGER:
    case DDPM_OPTION_NUMBER:
        if (json_is_integer(value))
            snprintf(buffer, bytes, "%lld", (long long)json_integer_value(value));
        else
            ddpm_print(buffer, bytes, "%.17g", json_number_value(value));
        return json_is_number(value);
    case DDPM_OPTION_SWITCH:
    case DDPM_OPTION_CHOICE:
    case DDPM_OPTION_TEXT:
        if (json_is_boolean(value) && option->choices == ddpm_off_on) {
            snprintf(buffer, bytes, "%s", ddpm_off_on[json_is_true(value)]);
            return true;
        }
        if (option->offset == offsetof(struct ddpm_config, data.validation) &&
            json_is_number(value)) {
            ddpm_print(buffer, bytes, "%.15g", json_number_value(value)); /* 0.05, a fraction */
            return true;
        }
        /* A 0 byte inside would cut the text short. */
        if (!json_is_string(value) || json_string_length(value) >= bytes ||
            strlen(json_string_value(value)) != json_string_length(value))
            return false;
        memcpy(buffer, json_string_value(value), json_string_length(value) + 1);
        return true;
    case DDPM_OPTION_LIST:
        return json_is_array(value) && join(value, ',', buffer, bytes);
    case DDPM_OPTION_SIZE:
        if (json_is_integer(value)) {
            snprintf(buffer, bytes, "%lld", (long long)json_integer_value(value));
            return true;
        }
        return json_is_array(value) && json_array_size(value) == 2 &&
               join(value, 'x', buffer, bytes);
    }
    return false;
}

static ddpm_status set(struct ddpm_config *config, const struct ddpm_option *option,
                       const json_t *value)
{
    char text[DDPM_OPTION_BYTES];
    ddpm_status status = value_text(option, value, text, sizeof text)
                             ? ddpm_option_parse(option, text, config)
                             : ddpm_option_refuse(option, ddpm_json_type_name(value));
    if (status != DDPM_OK)
        return DDPM_ERROR_FORMAT;
    ddpm_recipe_option_was_set(option, config);
    return DDPM_OK;
}

/* The option that has this key in another section, or this name in another program. */
static const struct ddpm_option *meant(const char *key, const struct ddpm_foreign_name *foreign)
{
    for (size_t i = 0; i < ddpm_options_count; ++i)
        if (strcmp(ddpm_options[i].key, key) == 0)
            return &ddpm_options[i];
    return foreign && foreign->ours ? ddpm_option_find(foreign->ours) : NULL;
}

static ddpm_status unknown(const char *key, const struct ddpm_nearest *nearest)
{
    char text[DDPM_NEAREST_BYTES];
    const struct ddpm_foreign_name *foreign = ddpm_foreign_find(key, strlen(key));
    const struct ddpm_option *option = meant(key, foreign);
    const char *advice = foreign && foreign->advice ? foreign->advice : NULL;
    if (option)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "no key is called \"%.80s\" here; want \"%s\" of %s%s%s", key,
                          option->key + (*option->key == '/'), ddpm_group_section(option->group),
                          advice ? ": " : "", advice ? advice : "");
    return ddpm_raise(DDPM_ERROR_FORMAT, "no key is called \"%.80s\" here%s%s", key,
                      advice ? ": " : "", advice ? advice : ddpm_nearest_text(nearest, "", text));
}

/* The option with this key in the section, or in its object `inner`. */
static const struct ddpm_option *find(enum ddpm_option_group group, const char *inner,
                                      const char *key, struct ddpm_nearest *nearest)
{
    size_t skip = inner ? strlen(inner) + 1 : 0;
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const struct ddpm_option *option = &ddpm_options[i];
        const char *dot = strchr(option->key, '.');
        if (option->group != group || option->key[0] == '/')
            continue;
        if (inner ? !dot || strncmp(option->key, inner, skip - 1) != 0 : dot != NULL)
            continue;
        if (strcmp(option->key + skip, key) == 0)
            return option;
        ddpm_nearest_offer(nearest, option->key + skip);
    }
    return NULL;
}

/* "schedule_fn_kwargs", the only object inside a section. */
static const char kwargs[] = "schedule_fn_kwargs";

static ddpm_status read_kwargs(struct ddpm_config *config, const json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %s, want an object", ddpm_json_type_name(object));
    json_object_foreach((json_t *)object, key, value)
    {
        struct ddpm_nearest nearest = {.wanted = key};
        const struct ddpm_option *option = find(DDPM_GROUP_DIFFUSION, kwargs, key, &nearest);
        if (!option)
            return unknown(key, &nearest);
        ddpm_status status = set(config, option, value);
        if (status != DDPM_OK)
            return ddpm_raise_context(status, "%.80s: ", key);
    }
    return DDPM_OK;
}

static ddpm_status read_key(struct ddpm_config *config, enum ddpm_option_group group,
                            const char *key, const json_t *value)
{
    if (group == DDPM_GROUP_DIFFUSION && strcmp(key, kwargs) == 0)
        return read_kwargs(config, value);
    struct ddpm_nearest nearest = {.wanted = key};
    const struct ddpm_option *option = find(group, NULL, key, &nearest);
    if (option)
        return set(config, option, value);
    for (size_t i = 0; i < ALIAS_COUNT; ++i)
        if (aliases[i].group == group)
            ddpm_nearest_offer(&nearest, aliases[i].key);
    if (group == DDPM_GROUP_DIFFUSION)
        ddpm_nearest_offer(&nearest, kwargs);
    return unknown(key, &nearest);
}

static ddpm_status read_section(struct ddpm_config *config, enum ddpm_option_group group,
                                const json_t *section)
{
    const char *key;
    json_t *value;
    if (!json_is_object(section))
        return ddpm_raise_context(
            ddpm_raise(DDPM_ERROR_FORMAT, "got %s, want an object", ddpm_json_type_name(section)),
            "%s: ", ddpm_group_section(group));
    json_object_foreach((json_t *)section, key, value)
    {
        if (is_alias(group, key))
            continue;
        ddpm_status status = read_key(config, group, key, value);
        if (status != DDPM_OK)
            return ddpm_raise_context(status, "%s.%.80s: ", ddpm_group_section(group), key);
    }
    return DDPM_OK;
}

static ddpm_status read_aliases(struct ddpm_config *config, const json_t *root)
{
    for (size_t i = 0; i < ALIAS_COUNT; ++i) {
        const char *section = ddpm_group_section(aliases[i].group);
        const json_t *value = json_object_get(json_object_get(root, section), aliases[i].key);
        for (size_t k = 0; value && k < 2 && aliases[i].options[k]; ++k) {
            ddpm_status status = set(config, ddpm_option_find(aliases[i].options[k]), value);
            if (status != DDPM_OK)
                return ddpm_raise_context(status, "%s.%s: ", section, aliases[i].key);
        }
    }
    return DDPM_OK;
}

/* The article's file gives the batch size twice. */
static ddpm_status check_batch_sizes(const json_t *root)
{
    const json_t *in_network = json_object_get(json_object_get(root, "unet_config"), "batch_size");
    const json_t *in_trainer =
        json_object_get(json_object_get(root, "trainer_config"), "train_batch_size");
    if (!in_network || !in_trainer || json_equal(in_network, in_trainer))
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "unet_config.batch_size: got %lld, want the %lld of "
                      "trainer_config.train_batch_size; leave one of them out",
                      (long long)json_integer_value(in_network),
                      (long long)json_integer_value(in_trainer));
}

static ddpm_status read_root_key(struct ddpm_config *config, const char *key, const json_t *value)
{
    struct ddpm_nearest nearest = {.wanted = key};
    for (int group = 0; group < DDPM_GROUP_COUNT; ++group) {
        const char *section = ddpm_group_section((enum ddpm_option_group)group);
        if (strcmp(section, key) == 0)
            return read_section(config, (enum ddpm_option_group)group, value);
        ddpm_nearest_offer(&nearest, section);
    }
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        if (ddpm_options[i].key[0] != '/')
            continue;
        if (strcmp(ddpm_options[i].key + 1, key) == 0) {
            ddpm_status status = set(config, &ddpm_options[i], value);
            return status == DDPM_OK ? status : ddpm_raise_context(status, "%.80s: ", key);
        }
        ddpm_nearest_offer(&nearest, ddpm_options[i].key + 1);
    }
    return is_note(key) ? DDPM_OK : unknown(key, &nearest);
}

/* These keys occur only in the article's file. */
static bool is_article(const json_t *root)
{
    for (size_t i = 0; i < ALIAS_COUNT; ++i)
        if (json_object_get(json_object_get(root, ddpm_group_section(aliases[i].group)),
                            aliases[i].key))
            return true;
    return false;
}

/* The recipe comes first, so that the file's own values win. A run's file has values for all
 * options that existed when it was written; newer options have their defaults, whatever the recipe
 * says now. The article's file implies recipe article. */
static ddpm_status settle_recipe(struct ddpm_config *config, const json_t *root)
{
    const struct ddpm_option *option = ddpm_option_find("recipe");
    const json_t *named = json_object_get(root, option->key + 1);
    if (!named && !is_article(root))
        return DDPM_OK;
    config->training.recipe = DDPM_RECIPE_ARTICLE;
    ddpm_status status = named ? set(config, option, named) : DDPM_OK;
    if (status != DDPM_OK)
        return ddpm_raise_context(status, "%s: ", option->key + 1);
    if (named && json_object_get(root, "ddpm_version"))
        return DDPM_OK;
    return ddpm_recipe_apply((enum ddpm_recipe)config->training.recipe, config);
}

/* A file that names a sampler describes all of drawing: steps or eta set for another sampler must
 * not survive. The same goes for the article's file, which knows only one sampler. */
static ddpm_status settle_sampling(struct ddpm_config *config, const json_t *root)
{
    const json_t *section = json_object_get(root, ddpm_group_section(DDPM_GROUP_SAMPLING));
    const bool named = json_object_get(section, ddpm_option_find("sampler")->key) != NULL;
    if (!named && !is_article(root))
        return DDPM_OK;
    DDPM_TRY(ddpm_group_reset(DDPM_GROUP_SAMPLING, config));
    if (!named)
        config->sampling.sampler = DDPM_SAMPLER_ANCESTRAL;
    return DDPM_OK;
}

/* The article trains on all pictures, so its file means no validation. */
static ddpm_status settle_validation(struct ddpm_config *config, const json_t *root)
{
    const struct ddpm_option *option = ddpm_option_find("validation");
    return is_article(root) ? ddpm_option_parse(option, "off", config) : DDPM_OK;
}

static ddpm_status read_root(struct ddpm_config *config, const json_t *root)
{
    const char *key;
    json_t *value;
    if (!json_is_object(root))
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "got %s, want an object with sections such as "
                          "unet_config",
                          ddpm_json_type_name(root));
    DDPM_TRY(check_batch_sizes(root));
    DDPM_TRY(settle_recipe(config, root));
    DDPM_TRY(settle_sampling(config, root));
    DDPM_TRY(settle_validation(config, root));
    DDPM_TRY(read_aliases(config, root));
    json_object_foreach((json_t *)root, key, value) DDPM_TRY(read_root_key(config, key, value));
    return DDPM_OK;
}

ddpm_status ddpm_config_from_json(struct ddpm_config *config, const json_t *root, const char *label)
{
    struct ddpm_config changed = *config;
    ddpm_status status = read_root(&changed, root);
    if (status != DDPM_OK)
        return ddpm_raise_context(status, "%s: ", label);
    *config = changed;
    return DDPM_OK;
}

ddpm_status ddpm_config_from_text(struct ddpm_config *config, const char *text, const char *label)
{
    json_t *root;
    DDPM_TRY(ddpm_json_parse(&root, text, strlen(text), label));
    ddpm_status status = ddpm_config_from_json(config, root, label);
    json_decref(root);
    return status;
}

ddpm_status ddpm_config_read(struct ddpm_config *config, const char *path)
{
    json_t *root;
    DDPM_REQUIRE(config);
    DDPM_REQUIRE(path);
    DDPM_TRY(ddpm_json_read(&root, path));
    ddpm_status status = ddpm_config_from_json(config, root, path);
    json_decref(root);
    return status;
}
