/* Fuzz target: JSON text; parsing, formatting and parsing again must give an equal value; every
 * getter is tried. */
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_getters(const json_t *object)
{
    json_t *inner;
    const char *text;
    int64_t integer;
    (void)ddpm_json_get_object(object, "a", &inner);
    (void)ddpm_json_get_array(object, "a", &inner);
    (void)ddpm_json_get_string(object, "a", &text);
    (void)ddpm_json_get_integer(object, "a", -5, 5, &integer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value, *again;
    char *text;
    if (ddpm_json_parse(&value, data, size, "input") != DDPM_OK)
        return 0;
    try_getters(value);
    if (ddpm_json_format(&text, value, DDPM_JSON_SORTED) != DDPM_OK ||
        ddpm_json_parse(&again, text, strlen(text), "again") != DDPM_OK)
        abort();
    if (!json_equal(value, again))
        abort();
    free(text);
    json_decref(again);
    json_decref(value);
    return 0;
}
