/* Unit tests of src/formats/file.h: readers only ever see the complete old or the complete new
 * file. */
#include "unit/formats_support.h"

#include <unistd.h>

static void pieces_come_back_in_order(void **state)
{
    (void)state;
    enum { BYTES = 700001 };
    uint8_t *data = malloc(BYTES);
    for (size_t i = 0; i < BYTES; ++i)
        data[i] = (uint8_t)(i * 7 + i / 256);
    struct ddpm_file *file;
    assert_ok(ddpm_file_create(&file, at("pieces")));
    size_t done = 0;
    for (size_t piece = 0; done < BYTES; piece = piece * 3 + 1) {
        size_t bytes = piece % 300000 < BYTES - done ? piece % 300000 : BYTES - done;
        assert_ok(ddpm_file_write(file, data + done, bytes));
        done += bytes;
        assert_int_equal(ddpm_file_size(file), done);
    }
    memset(data + 131000, 9, 200);
    memset(data + BYTES - 3, 8, 3);
    assert_ok(ddpm_file_patch(file, 131000, data + 131000, 200));
    assert_ok(ddpm_file_patch(file, BYTES - 3, data + BYTES - 3, 3));
    assert_error(ddpm_file_patch(file, BYTES - 3, data, 4), DDPM_ERROR_ARGUMENT, "want it within");
    assert_ok(ddpm_file_write(file, "end", 3));
    assert_ok(ddpm_file_commit(&file));
    assert_null(file);
    data = realloc(data, BYTES + 3);
    memcpy(data + BYTES, "end", 3);
    assert_file_is(at("pieces"), data, BYTES + 3);
    free(data);
}

static void old_content_stays_until_commit(void **state)
{
    (void)state;
    const char *path = at("old");
    struct ddpm_file *file;
    size_t before = scratch_count();
    assert_ok(ddpm_file_write_whole(path, "old", 3));
    assert_ok(ddpm_file_create(&file, path));
    assert_ok(ddpm_file_write(file, "new!", 4));
    assert_file_is(path, "old", 3);
    assert_int_equal(scratch_count(), before + 2);
    ddpm_file_abandon(&file);
    assert_null(file);
    assert_file_is(path, "old", 3);
    assert_int_equal(scratch_count(), before + 1);
    assert_ok(ddpm_file_write_whole(path, "new!", 4));
    assert_file_is(path, "new!", 4);
    assert_int_equal(scratch_count(), before + 1);
    ddpm_file_abandon(&file);
}

/* The number N of the only name PATH.tmp-PID-N in the scratch folder. */
static unsigned number_of_temporary(const char *name)
{
    char **names, start[64];
    size_t count;
    unsigned number = 0;
    snprintf(start, sizeof start, "%s.tmp-%ld-", name, (long)getpid());
    assert_ok(ddpm_directory_list(&names, &count, scratch));
    for (size_t i = 0; i < count; ++i)
        if (strncmp(names[i], start, strlen(start)) == 0)
            number = (unsigned)strtoul(names[i] + strlen(start), NULL, 10);
    ddpm_names_free(names, count);
    return number;
}

/* A file that has the next temporary name, or a link of that name, is left alone. */
static void existing_temporary_files_are_left_alone(void **state)
{
    (void)state;
    char name[64];
    struct ddpm_file *file;
    assert_ok(ddpm_file_write_whole(at("victim"), "mine", 4));
    assert_ok(ddpm_file_create(&file, at("left")));
    const unsigned number = number_of_temporary("left");
    ddpm_file_abandon(&file);
    snprintf(name, sizeof name, "left.tmp-%ld-%u", (long)getpid(), number + 1);
    assert_int_equal(symlink(at("victim"), at(name)), 0);
    snprintf(name, sizeof name, "left.tmp-%ld-%u", (long)getpid(), number + 2);
    assert_int_equal(link(at("victim"), at(name)), 0);
    assert_ok(ddpm_file_write_whole(at("left"), "new", 3));
    assert_file_is(at("left"), "new", 3);
    assert_file_is(at("victim"), "mine", 4);
    assert_file_is(at(name), "mine", 4);
}

/* Two writers of one path do not disturb each other; the later commit wins. */
static void two_writers_are_apart(void **state)
{
    (void)state;
    struct ddpm_file *first, *second;
    assert_ok(ddpm_file_create(&first, at("both")));
    assert_ok(ddpm_file_create(&second, at("both")));
    assert_ok(ddpm_file_write(first, "first", 5));
    assert_ok(ddpm_file_write(second, "second", 6));
    assert_ok(ddpm_file_commit(&second));
    assert_file_is(at("both"), "second", 6);
    assert_ok(ddpm_file_commit(&first));
    assert_file_is(at("both"), "first", 5);
}

static void full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    const char *path = at("full");
    char *data = calloc(BYTES, 1);
    assert_ok(ddpm_file_write_whole(path, "old", 3));
    size_t before = scratch_count();
    limit_files(100000);
    assert_error(ddpm_file_write_whole(path, data, BYTES), DDPM_ERROR_IO, "cannot write");
    /* Small pieces stay in the buffer, so the failure appears at commit. */
    struct ddpm_file *file;
    assert_ok(ddpm_file_create(&file, path));
    assert_ok(ddpm_file_write(file, data, 110000));
    assert_error(ddpm_file_commit(&file), DDPM_ERROR_IO, "cannot write");
    /* A failure sticks. */
    assert_ok(ddpm_file_create(&file, path));
    assert_int_equal(ddpm_file_write(file, data, BYTES), DDPM_ERROR_IO);
    assert_error(ddpm_file_write(file, "x", 1), DDPM_ERROR_IO, "earlier write");
    assert_error(ddpm_file_patch(file, 0, "x", 1), DDPM_ERROR_IO, "earlier write");
    assert_error(ddpm_file_commit(&file), DDPM_ERROR_IO, "earlier write");
    limit_files(RLIM_INFINITY);
    assert_int_equal(scratch_count(), before);
    assert_file_is(path, "old", 3);
    free(data);
}

static void devices_are_written_in_place(void **state)
{
    (void)state;
    assert_ok(ddpm_file_write_whole("/dev/null", "x", 1));
    if (ddpm_path_exists("/dev/full"))
        assert_error(ddpm_file_write_whole("/dev/full", "x", 1), DDPM_ERROR_IO, "No space");
}

static void links_are_followed(void **state)
{
    (void)state;
    char target[8];
    assert_ok(ddpm_file_write_whole(at("target"), "1", 1));
    assert_int_equal(symlink("target", at("link")), 0);
    assert_ok(ddpm_file_write_whole(at("link"), "22", 2));
    assert_file_is(at("target"), "22", 2);
    assert_int_equal(readlink(at("link"), target, sizeof target), 6);
    assert_int_equal(symlink("nowhere", at("dangling")), 0);
    assert_error(ddpm_file_write_whole(at("dangling"), "x", 1), DDPM_ERROR_IO, "symbolic link");
}

static void bad_places_are_refused(void **state)
{
    (void)state;
    size_t before = scratch_count();
    assert_error(ddpm_file_write_whole(at("missing/file"), "x", 1), DDPM_ERROR_IO, "No such file");
    assert_error(ddpm_file_write_whole(scratch, "x", 1), DDPM_ERROR_IO, "directory");
    assert_error(ddpm_file_write_whole("", "x", 1), DDPM_ERROR_ARGUMENT, "empty path");
    struct ddpm_file *file;
    assert_ok(ddpm_file_create(&file, at("becomes-folder")));
    assert_ok(ddpm_directory_create(at("becomes-folder")));
    assert_error(ddpm_file_commit(&file), DDPM_ERROR_IO, "cannot rename");
    assert_int_equal(scratch_count(), before + 1);
}

static void reading_has_limits(void **state)
{
    (void)state;
    void *data;
    size_t bytes;
    struct ddpm_mapping mapping;
    assert_ok(ddpm_file_write_whole(at("four"), "four", 4));
    assert_ok(ddpm_file_read_whole(&data, &bytes, at("four"), 4));
    assert_int_equal(bytes, 4);
    assert_string_equal(data, "four");
    free(data);
    assert_error(ddpm_file_read_whole(&data, &bytes, at("four"), 3), DDPM_ERROR_FORMAT,
                 "at most 3");
    assert_null(data);
    assert_error(ddpm_file_read_whole(&data, &bytes, at("none"), 3), DDPM_ERROR_IO, "No such file");
    assert_error(ddpm_file_read_whole(&data, &bytes, scratch, 3), DDPM_ERROR_IO, "regular file");
    assert_error(ddpm_mapping_open(&mapping, "/dev/null"), DDPM_ERROR_IO, "regular file");
    assert_error(ddpm_mapping_open(&mapping, at("none")), DDPM_ERROR_IO, "No such file");
    assert_ok(ddpm_mapping_open(&mapping, at("four")));
    assert_int_equal(mapping.bytes, 4);
    assert_memory_equal(mapping.data, "four", 4);
    ddpm_mapping_close(&mapping);
    ddpm_mapping_close(&mapping);
    assert_ok(ddpm_file_write_whole(at("empty"), "", 0));
    assert_ok(ddpm_mapping_open(&mapping, at("empty")));
    assert_int_equal(mapping.bytes, 0);
    assert_non_null(mapping.data);
    ddpm_mapping_close(&mapping);
}

static void pieces_are_read_until_the_file_is_cut(void **state)
{
    (void)state;
    struct ddpm_file_reader reader;
    char piece[4] = "";
    assert_ok(ddpm_file_write_whole(at("cut"), "0123456789", 10));
    assert_ok(ddpm_file_reader_open(&reader, at("cut")));
    assert_int_equal(reader.bytes, 10);
    assert_ok(ddpm_file_reader_read(&reader, 6, piece, 4));
    assert_memory_equal(piece, "6789", 4);
    assert_ok(ddpm_file_reader_read(&reader, 10, piece, 0));
    assert_error(ddpm_file_reader_read(&reader, 7, piece, 4), DDPM_ERROR_IO, "cut short");
    assert_int_equal(truncate(at("cut"), 8), 0);
    assert_error(ddpm_file_reader_read(&reader, 6, piece, 4), DDPM_ERROR_IO, "cut short");
    assert_ok(ddpm_file_reader_read(&reader, 4, piece, 4));
    assert_memory_equal(piece, "4567", 4);
    assert_int_equal(unlink(at("cut")), 0);
    assert_ok(ddpm_file_reader_read(&reader, 0, piece, 4));
    ddpm_file_reader_close(&reader);
    assert_error(ddpm_file_reader_open(&reader, at("cut")), DDPM_ERROR_IO, "No such file");
    assert_error(ddpm_file_reader_open(&reader, scratch), DDPM_ERROR_IO, "regular file");
}

static void folders_are_made_listed_and_removed(void **state)
{
    (void)state;
    char **names;
    size_t count;
    assert_ok(ddpm_directory_create(at("a/b/c")));
    assert_ok(ddpm_directory_create(at("a/b/c/")));
    assert_true(ddpm_path_is_directory(at("a/b/c")));
    assert_ok(ddpm_file_write_whole(at("a/z"), "", 0));
    assert_ok(ddpm_file_write_whole(at("a/.hidden"), "", 0));
    assert_ok(ddpm_file_write_whole(at("a/b/c/deep"), "", 0));
    assert_ok(ddpm_file_write_whole(at("outside"), "", 0));
    assert_int_equal(symlink(scratch, at("a/b/up")), 0);
    assert_ok(ddpm_directory_list(&names, &count, at("a")));
    assert_int_equal(count, 3);
    assert_string_equal(names[0], ".hidden");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "z");
    ddpm_names_free(names, count);
    assert_error(ddpm_directory_list(&names, &count, at("nothing")), DDPM_ERROR_IO, "No such file");
    assert_error(ddpm_directory_create(at("outside/in")), DDPM_ERROR_IO, "outside");
    assert_ok(ddpm_directory_remove(at("a")));
    assert_false(ddpm_path_exists(at("a")));
    assert_true(ddpm_path_exists(at("outside")));
    assert_ok(ddpm_directory_remove(at("a")));
}

static void a_folder_is_published_whole(void **state)
{
    (void)state;
    assert_ok(ddpm_directory_create(at("build")));
    assert_ok(ddpm_file_write_whole(at("build/file"), "1", 1));
    assert_ok(ddpm_directory_publish(at("build"), at("step-1")));
    assert_false(ddpm_path_exists(at("build")));
    assert_file_is(at("step-1/file"), "1", 1);
    assert_ok(ddpm_directory_create(at("build")));
    assert_error(ddpm_directory_publish(at("build"), at("step-1")), DDPM_ERROR_IO, "cannot rename");
    assert_file_is(at("step-1/file"), "1", 1);
}

static void paths_are_joined_by_one_slash(void **state)
{
    (void)state;
    const char *cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char *path;
        assert_ok(ddpm_path_join(&path, cases[i][0], cases[i][1]));
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_come_back_in_order),
        cmocka_unit_test(old_content_stays_until_commit),
        cmocka_unit_test(existing_temporary_files_are_left_alone),
        cmocka_unit_test(two_writers_are_apart),
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(devices_are_written_in_place),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(bad_places_are_refused),
        cmocka_unit_test(reading_has_limits),
        cmocka_unit_test(pieces_are_read_until_the_file_is_cut),
        cmocka_unit_test(folders_are_made_listed_and_removed),
        cmocka_unit_test(a_folder_is_published_whole),
        cmocka_unit_test(paths_are_joined_by_one_slash),
    };
    return cmocka_run_group_tests_name("formats_file", tests, make_scratch, remove_scratch);
}
