/* JSON through jansson. It takes the decimal point from the locale and assumes that it is one byte,
 * so we call it in the C locale. */
#include "formats/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "formats/file.h"

ddpm_status ddpm_json_parse(json_t **out, const void *text, size_t bytes, const char *label)
{
    json_error_t error;
    const locale_t before = ddpm_enter_c_locale();
    *out = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    ddpm_leave_c_locale(before);
    if (*out)
        return DDPM_OK;
    /* When an allocation of the parser fails, it gives no error text. */
    if (json_error_code(&error) == json_error_out_of_memory || !error.text[0])
        return ddpm_raise_memory(bytes, "JSON values");
    return ddpm_raise(DDPM_ERROR_FORMAT, "%s:%d:%d: not valid JSON: %s", label,
                      error.line > 0 ? error.line : 1, error.column > 0 ? error.column : 0,
                      error.text);
}

ddpm_status ddpm_json_read(json_t **out, const char *path)
{
    void *text;
    size_t bytes;
    *out = NULL;
    DDPM_TRY(ddpm_file_read_whole(&text, &bytes, path, DDPM_JSON_LIMIT));
    ddpm_status status = ddpm_json_parse(out, text, bytes, path);
    free(text);
    return status;
}

ddpm_status ddpm_json_format(char **out, const json_t *value, enum ddpm_json_order order)
{
    size_t flags = JSON_INDENT(4) | JSON_ENCODE_ANY;
    if (order == DDPM_JSON_SORTED)
        flags |= JSON_SORT_KEYS;
    *out = NULL;
    const locale_t before = ddpm_enter_c_locale();
    /* 15 digits keep 0.9 from becoming 0.90000000000000002; use 17 if 15 lose precision. */
    char *text = json_dumps(value, flags | JSON_REAL_PRECISION(15));
    json_t *again = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (text && !json_equal(value, again)) {
        free(text);
        text = json_dumps(value, flags | JSON_REAL_PRECISION(17));
    }
    ddpm_leave_c_locale(before);
    json_decref(again);
    if (!text)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a value cannot be written as JSON");
    ddpm_status status = ddpm_format(out, "%s\n", text);
    free(text);
    return status;
}

ddpm_status ddpm_json_write(const char *path, const json_t *value, enum ddpm_json_order order)
{
    char *text;
    DDPM_TRY(ddpm_json_format(&text, value, order));
    ddpm_status status = ddpm_file_write_whole(path, text, strlen(text));
    free(text);
    return status;
}

/* How many bytes follow the first byte of a character, or -1. */
static int following(unsigned char first)
{
    if (first < 0x80)
        return 0;
    if (first >= 0xC2 && first < 0xE0)
        return 1;
    if (first >= 0xE0 && first < 0xF0)
        return 2;
    return first >= 0xF0 && first < 0xF5 ? 3 : -1;
}

bool ddpm_json_is_text(const char *text)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    for (const unsigned char *p = (const unsigned char *)text; *p; ++p) {
        const int more = following(*p);
        if (more < 0)
            return false;
        uint32_t code = more ? *p & (0x3Fu >> more) : *p;
        for (int i = 0; i < more; ++i) {
            if ((*++p & 0xC0) != 0x80)
                return false;
            code = code << 6 | (*p & 0x3Fu);
        }
        if (code < smallest[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return false;
    }
    return true;
}

ddpm_status ddpm_json_put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) == 0)
        return DDPM_OK;
    if (!ddpm_json_is_text(key))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "key \"%s\": want valid UTF-8", key);
    return ddpm_raise_memory(strlen(key), "JSON values");
}

ddpm_status ddpm_json_put_text(json_t *object, const char *key, const char *text)
{
    if (!ddpm_json_is_text(text))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "key \"%s\": got \"%s\", want valid UTF-8", key,
                          text);
    return ddpm_json_put(object, key, json_string(text));
}

const char *ddpm_json_type_name(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "an unknown value";
}

static ddpm_status wrong_type(const char *key, const json_t *value, const char *wanted)
{
    return ddpm_raise(DDPM_ERROR_FORMAT, "key \"%s\": got %s, want %s", key,
                      ddpm_json_type_name(value), wanted);
}

ddpm_status ddpm_json_get_object(const json_t *object, const char *key, json_t **out)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_object(value))
        return wrong_type(key, value, "an object");
    *out = value;
    return DDPM_OK;
}

ddpm_status ddpm_json_get_array(const json_t *object, const char *key, json_t **out)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_array(value))
        return wrong_type(key, value, "an array");
    *out = value;
    return DDPM_OK;
}

ddpm_status ddpm_json_get_string(const json_t *object, const char *key, const char **out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong_type(key, value, "a string");
    *out = json_string_value(value);
    return DDPM_OK;
}

ddpm_status ddpm_json_get_integer(const json_t *object, const char *key, int64_t least,
                                  int64_t most, int64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        char wanted[96];
        snprintf(wanted, sizeof wanted, "an integer in [%lld, %lld]", (long long)least,
                 (long long)most);
        return wrong_type(key, value, wanted);
    }
    int64_t number = json_integer_value(value);
    if (number < least || number > most)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "key \"%s\": got %lld, want an integer in [%lld, %lld]", key,
                          (long long)number, (long long)least, (long long)most);
    *out = number;
    return DDPM_OK;
}
