/* JSON through jansson: reading and writing files, and getters whose errors name the key. Callers
 * may use json_t directly. As in jansson, integers and reals are distinct. */
#ifndef DDPM_FORMATS_JSON_H
#define DDPM_FORMATS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "core/error.h"

/* Largest JSON file that is read. */
#define DDPM_JSON_LIMIT ((size_t)64 << 20)

/* Parse `bytes` bytes of UTF-8. The root must be an object or an array; duplicate keys are errors.
 * DDPM_ERROR_FORMAT with "label:line:column: why". *out is NULL on failure; release it with
 * json_decref(). */
ddpm_status ddpm_json_parse(json_t **out, const void *text, size_t bytes, const char *label);

/* The same from a file of at most DDPM_JSON_LIMIT bytes. */
ddpm_status ddpm_json_read(json_t **out, const char *path);

enum ddpm_json_order {
    DDPM_JSON_INSERTION_ORDER,
    DDPM_JSON_SORTED,
};

/* JSON text with an indent of 4 and a newline at the end. Reals get enough digits that all of them
 * read back the same. Free with free(). */
ddpm_status ddpm_json_format(char **out, const json_t *value, enum ddpm_json_order order);

/* Write the same to a file, atomically. */
ddpm_status ddpm_json_write(const char *path, const json_t *value, enum ddpm_json_order order);

/* Is it valid UTF-8? JSON can hold nothing else. */
bool ddpm_json_is_text(const char *text);

/* Set a member. Takes ownership of `value`, even on failure. DDPM_ERROR_MEMORY, also if `value` is
 * NULL, which jansson returns when out of memory; DDPM_ERROR_ARGUMENT for a key that is not
 * UTF-8. */
ddpm_status ddpm_json_put(json_t *object, const char *key, json_t *value);

/* Set a string member; DDPM_ERROR_ARGUMENT if the string is not UTF-8. */
ddpm_status ddpm_json_put_text(json_t *object, const char *key, const char *text);

/* "an object", "an integer", … for error texts; "nothing" for NULL. */
const char *ddpm_json_type_name(const json_t *value);

/* Get the member `key` of `object`. DDPM_ERROR_FORMAT "key \"dim\": got a string, want an integer
 * in [1, 4096]" if it is missing, of a different type or out of range; *out is then unchanged.
 * Objects, arrays and strings are borrowed from `object`. */
ddpm_status ddpm_json_get_object(const json_t *object, const char *key, json_t **out);
ddpm_status ddpm_json_get_array(const json_t *object, const char *key, json_t **out);
ddpm_status ddpm_json_get_string(const json_t *object, const char *key, const char **out);
ddpm_status ddpm_json_get_integer(const json_t *object, const char *key, int64_t least,
                                  int64_t most, int64_t *out);

#endif
