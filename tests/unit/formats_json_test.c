/* Unit tests of src/formats/json.h. */
#include "unit/formats_support.h"

#include "formats/json.h"

static ddpm_status parse(json_t **out, const char *text)
{
    return ddpm_json_parse(out, text, strlen(text), "here");
}

static void values_come_back(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:i, s:f, s:s, s:[b, n], s:{}}", "z", 7, "lr", 1e-4, "name",
                              "W\xc3\xa4lder", "list", 1, "empty");
    json_t *back;
    char *text;
    assert_ok(ddpm_json_write(at("a.json"), value, DDPM_JSON_INSERTION_ORDER));
    assert_ok(ddpm_json_read(&back, at("a.json")));
    assert_true(json_equal(value, back));
    assert_true(json_number_value(json_object_get(back, "lr")) == 1e-4);
    assert_ok(ddpm_json_format(&text, back, DDPM_JSON_INSERTION_ORDER));
    assert_memory_equal(text, "{\n    \"z\": 7,", 13);
    free(text);
    assert_ok(ddpm_json_format(&text, back, DDPM_JSON_SORTED));
    assert_memory_equal(text, "{\n    \"empty\"", 13);
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
    json_decref(back);
    json_decref(value);
}

static void errors_say_where(void **state)
{
    (void)state;
    json_t *value;
    const char *bad[][2] = {
        {"", "here:1:"},
        {"{\n  \"a\": 1,\n}", "here:3:"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": {\"b\": 1, \"b\": 2}}", "duplicate"},
        {"{\"a\": 1} x", "end of file expected"},
        {"{\"a\": 01}", "here:1:"},
        {"{\"a\": NaN}", "here:1:"},
        {"{\"a\": 1e999}", "overflow"},
        {"{\"a\": \"\xff\"}", "byte 0xff"},
        {"{\"a\": \"\\u0000\"}", "here:1:"},
        {"7", "here:1:"},
        {"[1, 2", "here:1:"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        assert_error(parse(&value, bad[i][0]), DDPM_ERROR_FORMAT, bad[i][1]);
        assert_null(value);
    }
    assert_error(ddpm_json_read(&value, at("none.json")), DDPM_ERROR_IO, "none.json");
    assert_ok(ddpm_file_write_whole(at("bad.json"), "{\"a\"", 4));
    assert_error(ddpm_json_read(&value, at("bad.json")), DDPM_ERROR_FORMAT, "bad.json:1:");
}

static void deep_nesting_is_an_error(void **state)
{
    (void)state;
    enum { DEPTH = 1 << 20 };
    char *text = malloc(DEPTH);
    json_t *value;
    memset(text, '[', DEPTH);
    assert_int_equal(ddpm_json_parse(&value, text, DEPTH, "deep"), DDPM_ERROR_FORMAT);
    free(text);
}

static void getters_name_key_and_type(void **state)
{
    (void)state;
    json_t *value, *inner;
    const char *text = "untouched";
    int64_t integer = 5;
    assert_ok(
        parse(&value, "{\"o\": {}, \"a\": [], \"s\": \"t\", \"i\": 3, \"r\": 0.5, \"b\": true}"));
    assert_ok(ddpm_json_get_object(value, "o", &inner));
    assert_ok(ddpm_json_get_array(value, "a", &inner));
    assert_ok(ddpm_json_get_string(value, "s", &text));
    assert_string_equal(text, "t");
    assert_ok(ddpm_json_get_integer(value, "i", 3, 3, &integer));
    assert_int_equal(integer, 3);

    const ddpm_status want = DDPM_ERROR_FORMAT;
    assert_error(ddpm_json_get_object(value, "a", &inner), want,
                 "\"a\": got an array, want an obj");
    assert_error(ddpm_json_get_array(value, "none", &inner), want,
                 "\"none\": got nothing, want an");
    assert_error(ddpm_json_get_string(value, "i", &text), want,
                 "\"i\": got an integer, want a str");
    assert_error(ddpm_json_get_integer(value, "r", 1, 9, &integer), want,
                 "want an integer in [1, 9");
    assert_error(ddpm_json_get_integer(value, "i", 4, 9, &integer), want,
                 "got 3, want an integer in");
    assert_error(ddpm_json_get_integer(inner, "i", 0, 9, &integer), want, "got nothing");
    assert_int_equal(integer, 3);
    json_decref(value);
}

static void unwritable_values_are_errors(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:i}", "a", 1);
    assert_error(ddpm_json_write(at("x.json"), NULL, DDPM_JSON_SORTED), DDPM_ERROR_ARGUMENT,
                 "JSON");
    assert_error(ddpm_json_write("/dev/full", value, DDPM_JSON_SORTED), DDPM_ERROR_IO, "No space");
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(deep_nesting_is_an_error),
        cmocka_unit_test(getters_name_key_and_type),
        cmocka_unit_test(unwritable_values_are_errors),
    };
    return cmocka_run_group_tests_name("formats_json", tests, make_scratch, remove_scratch);
}
