/* Unit tests of the folder scan: order, endings, links, fingerprint. */
#include "data_support.h"

#include <stdbool.h>
#include <sys/stat.h>

#include "core/hash.h"
#include "data/folder.h"

static void make_sub(const char *folder, const char *name)
{
    char *path = text("%s/%s", folder, name);
    assert_ok(ddpm_directory_create(path));
    free(path);
}

static void link_to(const char *target, const char *folder, const char *name)
{
    char *path = text("%s/%s", folder, name);
    assert_int_equal(symlink(target, path), 0);
    free(path);
}

static void pictures_are_found_in_order_of_their_paths(void **state)
{
    (void)state;
    static const char *const found[] = {"B.JPG",      "a.png", "sub/deeper/z.WebP",
                                        "sub/x.tiff", "y.Tif", "z.bmp"};
    char *folder = make_folder();
    make_sub(folder, "sub/deeper");
    make_sub(folder, ".hidden");
    make_sub(folder, "looks-like.png");
    for (size_t i = 0; i < 6; ++i)
        write_bytes(folder, found[i], "xxxxxx", i);
    write_bytes(folder, "notes.txt", "x", 1);
    write_bytes(folder, "png", "x", 1);
    write_bytes(folder, ".jpg", "x", 1);
    write_bytes(folder, ".hidden/h.png", "x", 1);
    struct ddpm_folder scan;
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, 6);
    for (size_t i = 0; i < 6; ++i) {
        assert_string_equal(scan.files[i].name, found[i]);
        assert_int_equal(scan.files[i].bytes, i);
    }
    assert_int_equal(scan.unreadable, 0);
    ddpm_folder_free(&scan);
    remove_folder(folder);
}

static void links_that_loop_end(void **state)
{
    (void)state;
    char *folder = make_folder();
    make_sub(folder, "a/b");
    write_bytes(folder, "a/one.png", "x", 1);
    write_bytes(folder, "a/b/two.png", "x", 1);
    link_to("..", folder, "a/b/up");
    link_to("a", folder, "same");
    link_to("one.png", folder, "a/three.png");
    link_to("nowhere", folder, "lost.png");
    struct ddpm_folder scan;
    start_log();
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, 3);
    assert_int_equal(scan.unreadable, 1);
    assert_int_equal(count_in_log("lost.png"), 1);
    ddpm_folder_free(&scan);
    remove_folder(folder);
}

/* More folders than the first table of seen ones holds, each linked to once more. */
static void many_folders_are_visited_once(void **state)
{
    (void)state;
    enum { FOLDERS = 300 };
    char *folder = make_folder(), name[64], link[64];
    for (int i = 0; i < FOLDERS; ++i) {
        snprintf(name, sizeof name, "f%03d", i);
        make_sub(folder, name);
        snprintf(link, sizeof link, "l%03d", i);
        link_to(name, folder, link);
        snprintf(name, sizeof name, "f%03d/a.png", i);
        write_bytes(folder, name, "x", 1);
    }
    struct ddpm_folder scan;
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, FOLDERS);
    ddpm_folder_free(&scan);
    remove_folder(folder);
}

static void the_fingerprint_tells_names_and_sizes(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_folder scan;
    uint64_t prints[4];
    for (int i = 0; i < 4; ++i) {
        if (i == 0)
            write_bytes(folder, "a.png", "xy", 2);
        if (i == 2)
            write_bytes(folder, "a.png", "xyz", 3);
        if (i == 3)
            write_bytes(folder, "b.png", "xyz", 3);
        assert_ok(ddpm_folder_scan(&scan, folder));
        prints[i] = scan.fingerprint;
        ddpm_folder_free(&scan);
    }
    assert_true(prints[0] == prints[1]);
    assert_true(prints[1] != prints[2] && prints[2] != prints[3]);
    assert_true(ddpm_fnv64(DDPM_FNV64_START, "a", 1) == UINT64_C(0xAF63DC4C8601EC8C));
    remove_folder(folder);
}

static void folders_that_cannot_be_read(void **state)
{
    (void)state;
    struct ddpm_folder scan;
    assert_error(ddpm_folder_scan(&scan, "/nonexistent/pictures"), DDPM_ERROR_IO, "/nonexistent");
    assert_null(scan.files);
    assert_error(ddpm_folder_scan(&scan, "/dev/null"), DDPM_ERROR_IO, "/dev/null");
    if (geteuid() == 0) {
        print_message("skipped: root reads every folder\n");
        return;
    }
    char *folder = make_folder(), *closed = text("%s/%s", folder, "closed");
    make_sub(folder, "closed");
    write_bytes(folder, "a.png", "x", 1);
    chmod(closed, 0);
    start_log();
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, 1);
    assert_int_equal(scan.unreadable, 1);
    assert_int_equal(count_in_log("closed"), 1);
    ddpm_folder_free(&scan);
    chmod(closed, 0700);
    free(closed);
    remove_folder(folder);
}

/* A PNG of one pixel, with or without the text that drawn pictures have. */
static void write_png(const char *folder, const char *name, bool drawn)
{
    static const uint8_t grey[] = {7};
    const struct ddpm_png_text texts[] = {{"Software", "ddpm.c"}, {"ddpm:picture", "0"}};
    char *path = text("%s/%s", folder, name);
    assert_ok(ddpm_png_write(path, grey, 1, 1, 1, texts, drawn ? 2 : 1));
    free(path);
}

static void what_ddpm_wrote_is_left_out(void **state)
{
    (void)state;
    static const char config[] = "{\"ddpm_version\": \"0.1.0\"}";
    char *folder = make_folder();
    struct ddpm_folder scan;
    write_bytes(folder, "a.png", "x", 1);
    assert_ok(ddpm_folder_scan(&scan, folder));
    const uint64_t before = scan.fingerprint;
    ddpm_folder_free(&scan);

    make_sub(folder, "x/run/samples");
    write_bytes(folder, "x/run/config.json", config, sizeof config - 1);
    write_png(folder, "x/run/samples/step-000001.png", false);
    make_sub(folder, "drawn");
    write_png(folder, "drawn/0000.png", true);
    write_png(folder, "drawn/grid.png", true);
    make_sub(folder, "frames");
    write_png(folder, "frames/000000-t000990.png", true);
    start_log();
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, 1);
    assert_true(scan.fingerprint == before);
    assert_int_equal(count_in_log("not used as pictures"), 1);
    assert_int_equal(count_in_log("and 2 more"), 1);
    ddpm_folder_free(&scan);
    remove_folder(folder);
}

static void what_only_looks_like_it_is_kept(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_folder scan;
    make_sub(folder, "other/samples"); /* from another program: a configuration without our mark */
    write_bytes(folder, "other/config.json", "{}", 2);
    write_bytes(folder, "other/samples/a.png", "x", 1);
    make_sub(folder, "broken/samples");
    write_bytes(folder, "broken/config.json", "{", 1);
    write_bytes(folder, "broken/samples/a.png", "x", 1);
    make_sub(folder, "numbered"); /* has such names, but was not drawn */
    write_png(folder, "numbered/0000.png", false);
    make_sub(folder, "mixed"); /* a drawn picture among others */
    write_png(folder, "mixed/0000.png", true);
    write_bytes(folder, "mixed/holiday.jpg", "x", 1);
    make_sub(folder, "empty");
    write_bytes(folder, "empty/0000.png", "", 0);
    start_log();
    assert_ok(ddpm_folder_scan(&scan, folder));
    assert_int_equal(scan.count, 6);
    assert_int_equal(count_in_log("not used as pictures"), 0);
    ddpm_folder_free(&scan);
    char *root = text("%s/%s", folder, "drawn"); /* a folder that the user names is never skipped */
    make_sub(folder, "drawn");
    write_png(folder, "drawn/0000.png", true);
    assert_ok(ddpm_folder_scan(&scan, root));
    assert_int_equal(scan.count, 1);
    ddpm_folder_free(&scan);
    free(root);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_found_in_order_of_their_paths),
        cmocka_unit_test(links_that_loop_end),
        cmocka_unit_test(many_folders_are_visited_once),
        cmocka_unit_test(the_fingerprint_tells_names_and_sizes),
        cmocka_unit_test(folders_that_cannot_be_read),
        cmocka_unit_test(what_ddpm_wrote_is_left_out),
        cmocka_unit_test(what_only_looks_like_it_is_kept),
    };
    return cmocka_run_group_tests_name("data_folder", tests, NULL, NULL);
}
