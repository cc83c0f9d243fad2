/* Unit tests of contents and parts: a picture is on the same side whatever its name and order, and
 * so is a second file with its content; hashes are kept; a part reads only its own items. */
#include <fcntl.h>
#include <sys/stat.h>

#include "data_support.h"

#include "data/content.h"

enum { COUNT = 60 };

static const struct ddpm_source_options plain = {
    .channels = 3, .height = 8, .width = 8, .crop = DDPM_CROP_CENTRE, .threads = 2};

/* Pictures 0 … COUNT-1 as "<prefix><number>.png", numbered from the other end if `backwards`. */
static void write_numbered(const char *folder, const char *prefix, bool backwards)
{
    for (int i = 0; i < COUNT; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%s%02d.png", prefix, backwards ? COUNT - 1 - i : i);
        write_picture(folder, name, i, 8, 8);
    }
}

struct opened {
    struct ddpm_source *source;
    struct ddpm_content *contents;
    int64_t count;
};

static struct opened open_contents(const char *folder, const char *kept)
{
    struct opened opened;
    assert_ok(ddpm_source_open(&opened.source, folder, &plain));
    opened.count = ddpm_source_count(opened.source);
    assert_ok(ddpm_contents_make(&opened.contents, opened.source, kept));
    return opened;
}

static void close_contents(struct opened *opened)
{
    free(opened->contents);
    ddpm_source_close(&opened->source);
}

static bool is_aside(const struct opened *opened, int64_t item)
{
    return ddpm_content_is_set_aside(opened->contents[item].hash, 0.3);
}

static void names_and_order_change_no_side(void **state)
{
    (void)state;
    char *one = make_folder(), *other = make_folder();
    write_numbered(one, "a", false);
    write_numbered(other, "other-", true);
    struct opened a = open_contents(one, NULL), b = open_contents(other, NULL);
    int aside = 0;
    for (int i = 0; i < COUNT; ++i) {
        assert_true(a.contents[i].hash == b.contents[COUNT - 1 - i].hash);
        assert_true(a.contents[i].stamp != b.contents[COUNT - 1 - i].stamp);
        aside += is_aside(&a, i);
    }
    assert_in_range(aside, COUNT / 10, COUNT / 2); /* 18 are expected */
    close_contents(&a);
    close_contents(&b);
    remove_folder(one);
    remove_folder(other);
}

static void copies_are_on_one_side_and_counted_once(void **state)
{
    (void)state;
    char *folder = make_folder(), *elsewhere = make_folder();
    struct ddpm_hashed_item *aside, *left, *few;
    int64_t aside_count, left_count, few_count;
    write_numbered(folder, "a", false);
    write_numbered(folder, "copy", false);
    struct opened opened = open_contents(folder, NULL);
    assert_int_equal(opened.count, 2 * COUNT);
    for (int i = 0; i < COUNT; ++i)
        assert_int_equal(is_aside(&opened, i), is_aside(&opened, COUNT + i));
    assert_ok(ddpm_contents_sort(&aside, &aside_count, opened.contents, opened.count, 0.3, true));
    assert_ok(ddpm_contents_sort(&left, &left_count, opened.contents, opened.count, 0.3, false));
    assert_int_equal(aside_count + left_count, COUNT);
    for (int64_t i = 1; i < aside_count; ++i)
        assert_true(aside[i - 1].hash < aside[i].hash);
    assert_true(aside[aside_count - 1].hash < left[0].hash);
    assert_int_equal(ddpm_contents_common(aside, aside_count, left, left_count), 0);

    for (int i = 0; i < 5; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%d.png", i);
        write_picture(elsewhere, name, i < 3 ? i : 1000 + i, 8, i < 3 ? 8 : 9);
    }
    struct opened others = open_contents(elsewhere, NULL);
    assert_ok(ddpm_contents_sort(&few, &few_count, others.contents, others.count, 0, false));
    assert_int_equal(ddpm_contents_common(few, few_count, aside, aside_count) +
                         ddpm_contents_common(few, few_count, left, left_count),
                     3);
    free(aside);
    free(left);
    free(few);
    close_contents(&others);
    close_contents(&opened);
    remove_folder(folder);
    remove_folder(elsewhere);
}

static void set_time(const char *folder, const char *name, const struct timespec *changed)
{
    char *path = text("%s/%s", folder, name);
    const struct timespec times[2] = {*changed, *changed};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    free(path);
}

static struct timespec time_of(const char *folder, const char *name)
{
    char *path = text("%s/%s", folder, name);
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    free(path);
    return about.st_mtim;
}

static void kept_hashes_are_not_found_again(void **state)
{
    (void)state;
    char *folder = make_folder(), *run = make_folder(), *kept = text("%s/%s", run, "kept.npy");
    for (int i = 0; i < 4; ++i) {
        char name[] = "0.png";
        name[0] = (char)('0' + i);
        write_picture(folder, name, i, 8, 8);
    }
    struct opened first = open_contents(folder, kept); /* the file does not exist yet */
    assert_ok(ddpm_contents_keep(first.contents, first.count, kept));
    /* Change one byte of two files, after the picture's end; the stamp of one stays the same. */
    for (int i = 0; i < 2; ++i) {
        char name[] = "0.png", *path;
        name[0] = (char)('0' + i);
        const struct timespec before = time_of(folder, name);
        path = text("%s/%s", folder, name);
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, -1, SEEK_END), 0);
        assert_int_equal(fputc('x', file), 'x');
        assert_int_equal(fclose(file), 0);
        const struct timespec later = {before.tv_sec + 5, 0};
        set_time(folder, name, i == 0 ? &before : &later);
        free(path);
    }
    struct opened second = open_contents(folder, kept);
    assert_true(second.contents[0].hash == first.contents[0].hash); /* not read */
    assert_true(second.contents[1].hash != first.contents[1].hash);
    assert_memory_equal(&second.contents[2], &first.contents[2], 2 * sizeof *first.contents);
    write_bytes(run, "kept.npy", "damaged", 7);
    struct opened third = open_contents(folder, kept);
    assert_true(third.contents[0].hash != first.contents[0].hash);
    assert_true(third.contents[1].hash == second.contents[1].hash);
    close_contents(&first);
    close_contents(&second);
    close_contents(&third);
    free(kept);
    remove_folder(run);
    remove_folder(folder);
}

static void packed_pictures_have_contents_too(void **state)
{
    (void)state;
    char *folder = make_folder(), *path = text("%s/%s", folder, "p.npy");
    const int64_t shape[4] = {3, 8, 8, 3};
    uint8_t pixels[3][8 * 8 * 3];
    for (int i = 0; i < 3; ++i)
        memset(pixels[i], i == 2 ? 0 : i, sizeof pixels[i]); /* the last is the first */
    assert_ok(ddpm_npy_write(path, DDPM_NPY_U8, 4, shape, pixels));
    struct opened opened = open_contents(path, NULL);
    assert_true(opened.contents[0].hash == opened.contents[2].hash);
    assert_true(opened.contents[0].hash != opened.contents[1].hash);
    assert_true(opened.contents[0].stamp != opened.contents[2].stamp);
    close_contents(&opened);
    free(path);
    remove_folder(folder);
}

static void a_part_reads_its_own_items(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_source *whole, *part;
    struct ddpm_source_reader *reader;
    uint8_t out[8 * 8 * 3];
    int64_t used;
    write_numbered(folder, "a", false);
    write_bytes(folder, "a03.png", "only text", 9);
    assert_ok(ddpm_source_open(&whole, folder, &plain));
    const int64_t items[] = {3, 7, 20};
    int64_t *own = malloc(sizeof items);
    memcpy(own, items, sizeof items);
    assert_ok(ddpm_source_part_open(&part, whole, own, 3));
    assert_int_equal(ddpm_source_count(part), 3);
    assert_int_equal(ddpm_source_wanted(part)->height, 8);
    assert_ok(ddpm_source_reader_create(&reader, part));
    for (int64_t i = 0; i < 3; ++i) {
        assert_ok(ddpm_source_read(reader, i, NULL, out, &used));
        assert_int_equal(used, items[i == 0 ? 1 : i]); /* 7 replaces 3, not 4 */
        assert_int_equal(out[4], made_up((int)used, 0, 1, 1));
    }
    assert_error(ddpm_source_read(reader, 3, NULL, out, &used), DDPM_ERROR_ARGUMENT,
                 "got picture 3");
    ddpm_source_reader_destroy(&reader);
    ddpm_source_part_close(&part);
    assert_null(part);
    ddpm_source_part_close(&part);
    ddpm_source_close(&whole);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_order_change_no_side),
        cmocka_unit_test(copies_are_on_one_side_and_counted_once),
        cmocka_unit_test(kept_hashes_are_not_found_again),
        cmocka_unit_test(packed_pictures_have_contents_too),
        cmocka_unit_test(a_part_reads_its_own_items),
    };
    return cmocka_run_group_tests_name("data: contents", tests, NULL, NULL);
}
