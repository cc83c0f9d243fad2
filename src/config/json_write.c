/* The configuration written as JSON. */
#include <stdlib.h>
#include <string.h>

#include "config/config_json.h"
#include "config/option.h"
#include "core/arguments.h"
#include "formats/json.h"

static json_t *list_value(const int64_t *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; list && i < count; ++i)
        if (json_array_append_new(list, json_integer(values[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static json_t *option_value(const struct ddpm_option *option, const struct ddpm_config *config)
{
    const char *field = (const char *)config + option->offset;
    const char *second = (const char *)config + option->second_offset;
    int64_t integers[DDPM_MAX_LEVELS];
    double number;
    int count;
    switch (option->type) {
    case DDPM_OPTION_INTEGER:
        memcpy(integers, field, sizeof *integers);
        return json_integer(integers[0]);
    case DDPM_OPTION_NUMBER:
        memcpy(&number, field, sizeof number);
        return json_real(number);
    case DDPM_OPTION_SWITCH:
        if (option->choices == ddpm_off_on)
            return json_boolean(*(const bool *)field);
        return json_string(option->choices[*(const bool *)field]);
    case DDPM_OPTION_CHOICE:
        memcpy(&count, field, sizeof count);
        return json_string(option->choices[count]);
    case DDPM_OPTION_LIST:
        memcpy(integers, field, sizeof integers);
        memcpy(&count, second, sizeof count);
        return list_value(integers, count);
    case DDPM_OPTION_SIZE:
        memcpy(&integers[0], field, sizeof *integers);
        memcpy(&integers[1], second, sizeof *integers);
        return integers[0] == integers[1] ? json_integer(integers[0]) : list_value(integers, 2);
    case DDPM_OPTION_TEXT:
        return json_string(field);
    }
    return NULL;
}

static bool is_text(const struct ddpm_option *option, const struct ddpm_config *config)
{
    return option->type != DDPM_OPTION_TEXT ||
           ddpm_json_is_text((const char *)config + option->offset);
}

/* The member object `name` of `object`, created if missing. */
static json_t *member(json_t *object, const char *name)
{
    json_t *found = json_object_get(object, name);
    if (found)
        return found;
    json_object_set_new(object, name, json_object());
    return json_object_get(object, name);
}

static json_t *place_of(json_t *root, const struct ddpm_option *option, const char **key)
{
    *key = option->key;
    if (option->key[0] == '/') {
        ++*key;
        return root;
    }
    json_t *place = member(root, ddpm_group_section(option->group));
    const char *dot = strchr(option->key, '.');
    if (!dot)
        return place;
    char name[64] = "";
    memcpy(name, option->key, (size_t)(dot - option->key));
    *key = dot + 1;
    return member(place, name);
}

ddpm_status ddpm_config_to_json(const struct ddpm_config *config, json_t **out)
{
    *out = NULL;
    json_t *root = json_object();
    json_object_set_new(root, "model_name", json_string(""));
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const char *key;
        json_t *place = place_of(root, &ddpm_options[i], &key);
        if (json_object_set_new(place, key, option_value(&ddpm_options[i], config)) != 0) {
            json_decref(root);
            return is_text(&ddpm_options[i], config)
                       ? ddpm_raise_memory(sizeof *config, "the options as JSON")
                       : ddpm_raise(DDPM_ERROR_ARGUMENT,
                                    "option %s: got a text that is not UTF-8, which JSON cannot "
                                    "hold",
                                    ddpm_options[i].name);
        }
    }
    *out = root;
    return DDPM_OK;
}

ddpm_status ddpm_config_to_text(const struct ddpm_config *config, char **out)
{
    json_t *root;
    *out = NULL;
    DDPM_TRY(ddpm_config_to_json(config, &root));
    ddpm_status status = ddpm_json_format(out, root, DDPM_JSON_INSERTION_ORDER);
    json_decref(root);
    return status;
}

ddpm_status ddpm_config_write(const struct ddpm_config *config, const char *path)
{
    json_t *root;
    DDPM_REQUIRE(config);
    DDPM_REQUIRE(path);
    DDPM_TRY(ddpm_config_to_json(config, &root));
    /* The file has every value, so a later version must not apply its own recipe to it. */
    ddpm_status status = ddpm_json_put_text(root, "ddpm_version", ddpm_version());
    if (status == DDPM_OK)
        status = ddpm_json_write(path, root, DDPM_JSON_INSERTION_ORDER);
    json_decref(root);
    return status;
}
