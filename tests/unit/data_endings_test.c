/* Unit tests of the endings of pictures and the count of the others. */
#include "data_support.h"

#include "data/endings.h"
#include "data/folder.h"

static void pictures_are_known_by_their_endings(void **state)
{
    (void)state;
    static const char *const yes[] = {"a.jpg",  "a.JPEG", "a.jpe", "b.jfif", "B.JFIF", "c.png",
                                      "d.WebP", "e.bmp",  "f.tif", "g.tiff", "a.b.png"};
    static const char *const no[] = {"a.gif", "a.heic", "a.avif", "png",  ".png",
                                     "a.",    "",       "a.jpg~", "a.pn", "a.png.txt"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; ++i)
        assert_true(ddpm_is_picture_name(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; ++i)
        assert_false(ddpm_is_picture_name(no[i]));
}

static void others_are_counted_by_ending(void **state)
{
    (void)state;
    struct ddpm_endings endings = {0};
    char text[512];
    assert_string_equal(ddpm_endings_text(&endings, text, sizeof text), "");
    static const char *const names[] = {"a.heic", "a.gif",  "b.GIF",    "c.Gif",
                                        "README", "x.heic", "trailing."};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        ddpm_endings_count(&endings, names[i]);
    assert_string_equal(ddpm_endings_text(&endings, text, sizeof text),
                        "3 .gif, 2 .heic, 2 files without an extension");
}

static void many_endings_end_in_a_number(void **state)
{
    (void)state;
    struct ddpm_endings endings = {0};
    char name[32], text[512];
    for (int i = 0; i < 100; ++i) {
        snprintf(name, sizeof name, "file.e%d", i);
        ddpm_endings_count(&endings, name);
    }
    ddpm_endings_count(&endings, "file.e0");
    ddpm_endings_text(&endings, text, sizeof text);
    assert_int_equal(strncmp(text, "2 .e0, 1 .e1, ", 14), 0);
    assert_non_null(strstr(text, ", 92 others"));
    ddpm_endings_text(&endings, text, 10); /* cut, not beyond */
    assert_int_equal(strlen(text), 9);
}

static void one_other_is_one(void **state)
{
    (void)state;
    struct ddpm_endings endings = {0};
    char name[32], text[512];
    for (int i = 0; i < 9; ++i) {
        snprintf(name, sizeof name, "file.e%d", i);
        ddpm_endings_count(&endings, name);
    }
    ddpm_endings_text(&endings, text, sizeof text);
    assert_string_equal(strrchr(text, ','), ", 1 other");
}

static void a_scan_says_once_what_it_did_not_look_at(void **state)
{
    (void)state;
    static const char *const files[] = {"a.png", "b.jfif", "c.jpe",  "d.gif",
                                        "e.gif", "f.heic", "g.avif", "h.\033[1m"};
    char *folder = make_folder();
    struct ddpm_folder scan;
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i)
        write_bytes(folder, files[i], "x", 1);
    start_log();
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, 3);
    assert_int_equal(count_in_log("ignored: 2 .gif, 1 "), 1);
    assert_int_equal(count_in_log("ignored"), 1);
    assert_int_equal(count_in_log("1 .heic"), 1);
    assert_int_equal(count_in_log(".\\x1B[1m"), 1);
    ddpm_folder_free(&scan);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_known_by_their_endings),
        cmocka_unit_test(others_are_counted_by_ending),
        cmocka_unit_test(many_endings_end_in_a_number),
        cmocka_unit_test(one_other_is_one),
        cmocka_unit_test(a_scan_says_once_what_it_did_not_look_at),
    };
    return cmocka_run_group_tests_name("data_endings", tests, NULL, NULL);
}
