/* Unit tests of src/core/escape.c, and that error texts and log messages are escaped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/escape.h"

static const struct {
    const char *text, *want;
} cases[] = {
    {"", ""},
    {"photo 1.png", "photo 1.png"},
    {"a\nb\rc\td", "a\\nb\\rc\\td"},
    {"\033[31mred", "\\x1B[31mred"},
    {"\a\b\v\f\177", "\\x07\\x08\\x0B\\x0C\\x7F"},
    {"b\303\251\342\202\254\360\237\230\200", "b\303\251\342\202\254\360\237\230\200"},
    {"\302\2331m", "\\xC2\\x9B1m"},                        /* C1: CSI, which controls terminals */
    {"\302\205next", "\\xC2\\x85next"},                    /* C1: next line */
    {"\302\240\302\241", "\302\240\302\241"},              /* the first above C1 */
    {"\2331m", "\\x9B1m"},                                 /* CSI as one byte */
    {"\377\376", "\\xFF\\xFE"},                            /* never in UTF-8 */
    {"\300\212", "\\xC0\\x8A"},                            /* a line feed in two bytes */
    {"\340\200\212", "\\xE0\\x80\\x8A"},                   /* and in three */
    {"\360\200\200\212", "\\xF0\\x80\\x80\\x8A"},          /* and in four */
    {"\355\240\200", "\\xED\\xA0\\x80"},                   /* a surrogate */
    {"\364\220\200\200", "\\xF4\\x90\\x80\\x80"},          /* above U+10FFFF */
    {"\364\217\277\277", "\364\217\277\277"},              /* U+10FFFF */
    {"\370\210\200\200\200", "\\xF8\\x88\\x80\\x80\\x80"}, /* five bytes */
    {"cut\303", "cut\\xC3"},
    {"cut\342\202", "cut\\xE2\\x82"},
    {"cut\342\n", "cut\\xE2\\n"},
    {"back\\slash\\n", "back\\slash\\n"},
};

static void control_characters_are_written_out(void **state)
{
    char out[64], again[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        assert_string_equal(ddpm_escape(out, sizeof out, cases[i].text), cases[i].want);
        assert_string_equal(ddpm_escape(again, sizeof again, out), out);
    }
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
    char out[8];
    (void)state;
    assert_string_equal(ddpm_escape(out, 1, "a"), "");
    assert_string_equal(ddpm_escape(out, sizeof out, "1234567"), "1234567");
    assert_string_equal(ddpm_escape(out, sizeof out, "12345678"), "1234567");
    assert_string_equal(ddpm_escape(out, sizeof out, "123\033"), "123\\x1B");
    assert_string_equal(ddpm_escape(out, sizeof out, "1234\033"), "1234");
    assert_string_equal(ddpm_escape(out, sizeof out, "123456\303\251"), "123456");
}

static void errors_hold_no_control_characters(void **state)
{
    (void)state;
    ddpm_raise(DDPM_ERROR_IO, "%s: cannot be read", "a\nddpm train: done");
    assert_string_equal(ddpm_error_message(), "a\\nddpm train: done: cannot be read");
    ddpm_raise_context(DDPM_ERROR_IO, "%s: ", "\033[2J");
    assert_string_equal(ddpm_error_message(), "\\x1B[2J: a\\nddpm train: done: cannot be read");
    ddpm_raise_errno("%s", "x\ry");
    assert_int_equal(strncmp(ddpm_error_message(), "x\\ry: ", 6), 0);
}

static void keep(void *user, ddpm_log_level level, const char *text)
{
    (void)level;
    snprintf(user, 64, "%s", text);
}

static void remarks_are_one_line(void **state)
{
    char got[64] = "";
    (void)state;
    ddpm_set_log_callback(keep, got);
    ddpm_log(DDPM_LOG_WARNING, "skipped: %s", "b\nc\303.png");
    ddpm_set_log_callback(NULL, NULL);
    assert_string_equal(got, "skipped: b\\nc\\xC3.png");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_written_out),
        cmocka_unit_test(what_does_not_fit_is_left_out_whole),
        cmocka_unit_test(errors_hold_no_control_characters),
        cmocka_unit_test(remarks_are_one_line),
    };
    return cmocka_run_group_tests_name("core_escape", tests, NULL, NULL);
}
