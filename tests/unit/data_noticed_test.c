/* Unit tests of what is noticed about pictures, of the grouped reasons, and of counting pages. */
#include "data_support.h"

#include "data/decode.h"
#include "data/noticed.h"
#include "data/reasons.h"

static const struct ddpm_picture_stored usual = {.bits = 8, .channels = 3, .pages = 1, .most = 255};

static void usual_pictures_are_not_remarked_on(void **state)
{
    (void)state;
    struct ddpm_noticed noticed = {0};
    uint8_t values[300];
    for (size_t i = 0; i < sizeof values; ++i)
        values[i] = (uint8_t)(i * 5);
    start_log();
    ddpm_notice(&noticed, &usual, values, 100, 3);
    ddpm_noticed_say(&noticed, "folder", 3);
    assert_int_equal(noticed.looked_at, 1);
    assert_int_equal(noticed.channels[3], 1);
    assert_int_equal(count_in_log("folder"), 0);
}

static void the_range_of_wide_values_is_of_all_pictures(void **state)
{
    (void)state;
    struct ddpm_noticed noticed = {0};
    struct ddpm_picture_stored stored = usual;
    uint8_t values[300];
    char text[DDPM_NOTICED_BYTES];
    bool severe;
    for (size_t i = 0; i < sizeof values; ++i)
        values[i] = (uint8_t)(i * 5);
    stored.bits = 16;
    stored.least = 7;
    stored.most = 9;
    ddpm_notice(&noticed, &stored, values, 100, 3);
    stored.least = 2;
    stored.most = 3;
    ddpm_notice(&noticed, &stored, values, 100, 3);
    ddpm_notice(&noticed, &usual, values, 100, 3);
    ddpm_noticed_bits(text, &noticed, &severe);
    assert_true(severe);
    assert_non_null(strstr(text, "2 of the 3 pictures"));
    assert_non_null(strstr(text, "within 512 to 2559, so 8 of 256 levels remain:"));
    stored.most = 255;
    ddpm_notice(&noticed, &stored, values, 100, 3);
    ddpm_noticed_bits(text, &noticed, &severe);
    assert_false(severe);
    assert_null(strstr(text, "remain"));
}

/* More pixels than are looked at, and an empty picture in ten. */
static void large_empty_pictures_are_counted(void **state)
{
    (void)state;
    enum { PIXELS = 300000 };
    struct ddpm_noticed noticed = {0};
    uint8_t *values = calloc(PIXELS, 3);
    assert_non_null(values);
    ddpm_notice(&noticed, &usual, values, PIXELS, 3);
    for (int i = 0; i < PIXELS * 3; ++i)
        values[i] = (uint8_t)(i / 1000);
    start_log();
    for (int i = 0; i < 10; ++i)
        ddpm_notice(&noticed, NULL, values, PIXELS, 3);
    assert_int_equal(ddpm_noticed_empty(&noticed), 1);
    ddpm_noticed_say(&noticed, "file", 3);
    assert_int_equal(count_in_log("show nothing"), 0);
    memset(values, 255, PIXELS * 3);
    ddpm_notice(&noticed, NULL, values, PIXELS, 3);
    ddpm_noticed_say(&noticed, "file", 3);
    assert_int_equal(count_in_log("2 of the 12 pictures looked at show nothing: 1 black, 1 white"),
                     1);
    free(values);
}

static void log_line(void *user, const char *line)
{
    (void)user;
    ddpm_log(DDPM_LOG_WARNING, "%s", line);
}

static void reasons_are_grouped(void **state)
{
    (void)state;
    struct ddpm_reasons reasons = {0};
    char name[32], message[96];
    for (int i = 0; i < 5; ++i) {
        snprintf(name, sizeof name, "e%d.tif", i);
        snprintf(message, sizeof message, "in/e%d.tif: truncated: more than %d bytes", i, 9 + i);
        assert_ok(ddpm_reasons_add(&reasons, name, message));
    }
    assert_true(ddpm_reasons_are_many(&reasons, "x", "x: truncated: more than 1 bytes"));
    assert_ok(ddpm_reasons_add(&reasons, "a.png", "in/a.png: the file is empty"));
    assert_ok(ddpm_reasons_add(&reasons, "b.png", "in/b.png: the file is empty"));
    assert_false(ddpm_reasons_are_many(&reasons, "x", "x: the file is empty"));
    assert_int_equal(reasons.count, 2);
    start_log();
    ddpm_reasons_say(&reasons, log_line, NULL);
    assert_int_equal(
        count_in_log("5 files: truncated: more than 9 bytes: e0.tif, e1.tif, e2.tif and 2 more"),
        1);
    assert_int_equal(count_in_log("in/a.png: the file is empty"), 1);
    assert_int_equal(count_in_log("in/b.png: the file is empty"), 1);
    assert_string_equal(ddpm_reasons_usual(&reasons), "in/e0.tif: truncated: more than 9 bytes");
    for (int i = 0; i < 30; ++i) {
        snprintf(message, sizeof message, "in/b.png: %.*s", i + 1,
                 "abcdefghijklmnopqrstuvwxyzabcdefghijk");
        assert_ok(ddpm_reasons_add(&reasons, "b.png", message));
    }
    assert_int_equal(reasons.count, DDPM_REASONS_GROUPS);
    start_log();
    ddpm_reasons_say(&reasons, log_line, NULL);
    assert_int_equal(count_in_log("16 files for other reasons"), 1);
    ddpm_reasons_free(&reasons);
    assert_null(ddpm_reasons_usual(&reasons));
}

/* Messages are escaped, names are not: they may hold any bytes. */
static void names_that_are_not_utf_8_are_grouped(void **state)
{
    (void)state;
    struct ddpm_reasons reasons = {0};
    char name[32];
    for (char i = 'a'; i < 'a' + 5; ++i) {
        snprintf(name, sizeof name, "%c\xff\n.png", i);
        (void)ddpm_raise(DDPM_ERROR_FORMAT, "in/%s: the file is empty", name);
        assert_ok(ddpm_reasons_add(&reasons, name, ddpm_error_message()));
    }
    assert_int_equal(reasons.count, 1);
    start_log();
    ddpm_reasons_say(&reasons, log_line, NULL);
    assert_int_equal(count_in_log("5 files: the file is empty: a\\xFF\\n.png, "), 1);
    ddpm_reasons_free(&reasons);
}

/* A directory with `entries` entries, the first of them tag NewSubfileType. */
static size_t put_directory(uint8_t *out, size_t at, uint8_t entries, uint8_t subfile, uint8_t next)
{
    const uint8_t first[12] = {254, 0, 4, 0, 1, 0, 0, 0, subfile};
    memset(out + at, 0, 2 + 12u * entries + 4);
    out[at] = entries;
    if (entries > 0)
        memcpy(out + at + 2, first, sizeof first);
    out[at + 2 + 12u * entries] = next;
    return at + 2 + 12u * entries + 4;
}

static void pages_are_counted(void **state)
{
    (void)state;
    uint8_t file[256] = {'I', 'I', 42, 0, 8};
    assert_int_equal(ddpm_tiff_pages(file, 4), 1);
    put_directory(file, 8, 1, 0, 26);
    put_directory(file, 26, 2, 2, 56); /* a page of several */
    put_directory(file, 56, 1, 1, 74); /* a smaller version */
    put_directory(file, 74, 0, 0, 80);
    put_directory(file, 80, 1, 4, 0); /* a mask */
    assert_int_equal(ddpm_tiff_pages(file, sizeof file), 3);
    assert_int_equal(ddpm_tiff_pages(file, 40), 2); /* cut off */
    put_directory(file, 80, 1, 0, 8);               /* and again from the start */
    assert_int_equal(ddpm_tiff_pages(file, sizeof file), 1);
    put_directory(file, 8, 0, 0, 8);
    assert_int_equal(ddpm_tiff_pages(file, sizeof file), 1);
    put_directory(file, 8, 1, 0, 255); /* outside */
    assert_int_equal(ddpm_tiff_pages(file, sizeof file), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_pictures_are_not_remarked_on),
        cmocka_unit_test(the_range_of_wide_values_is_of_all_pictures),
        cmocka_unit_test(large_empty_pictures_are_counted),
        cmocka_unit_test(reasons_are_grouped),
        cmocka_unit_test(names_that_are_not_utf_8_are_grouped),
        cmocka_unit_test(pages_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
