/* Unit tests of picture sources and of packing: sizes, bad pictures, packed files. */
#include "data_support.h"

#include "data/pack.h"
#include "data/source.h"

static const struct ddpm_source_options plain = {
    .channels = 3, .height = 8, .width = 8, .crop = DDPM_CROP_CENTRE, .threads = 2};

static const struct ddpm_random4 any_random = {{1u << 30, 1u << 30, 3u << 29, 0}};

/* Make `count` good pictures of 8 x 8: 00.png, 01.png, … */
static char *make_pictures(int count)
{
    char *folder = make_folder();
    for (int i = 0; i < count; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%02d.png", i);
        write_picture(folder, name, i, 8, 8);
    }
    return folder;
}

static void check_item(struct ddpm_source_reader *reader, int64_t index, int64_t wanted)
{
    uint8_t out[8 * 8 * 3];
    int64_t used = -1;
    assert_ok(ddpm_source_read(reader, index, &any_random, out, &used));
    assert_int_equal(used, wanted);
    for (int y = 0; y < 8; ++y)
        for (int x = 0; x < 8; ++x)
            for (int c = 0; c < 3; ++c)
                assert_int_equal(out[(y * 8 + x) * 3 + c], made_up((int)wanted, y, x, c));
}

/* One of each bad kind among good ones; with and without a cache, each is replaced by the next good
 * one. */
static void bad_pictures_are_stood_in_for(void **state)
{
    (void)state;
    char *folder = make_pictures(12);
    write_bytes(folder, "02.png", "", 0);
    write_bytes(folder, "03.png", "only text", 9);
    copy_golden("png-rgb.png", folder, "04.png", 200);
    copy_golden("jpeg-420.jpg", folder, "11.png", 500);
    for (int cached = 0; cached < 2; ++cached) {
        struct ddpm_source_options options = plain;
        struct ddpm_source *source = NULL;
        struct ddpm_source_reader *reader = NULL;
        options.cache_bytes = cached ? DDPM_SOURCE_CACHE_BYTES : 0;
        start_log();
        assert_ok(ddpm_source_open(&source, folder, &options));
        assert_int_equal(ddpm_source_count(source), 12);
        assert_int_equal(ddpm_source_count_kinds(source).bad, 4);
        assert_int_equal(count_in_log("skipped: "), 4);
        assert_int_equal(count_in_log("02.png: the file is empty"), 1);
        assert_int_equal(count_in_log("03.png: not a picture"), 1);
        assert_int_equal(count_in_log("04.png: PNG: truncated"), 1);
        assert_int_equal(count_in_log("11.png: JPEG: truncated"), 1);
        assert_ok(ddpm_source_reader_create(&reader, source));
        check_item(reader, 0, 0);
        check_item(reader, 1, 1);
        for (int64_t i = 2; i <= 5; ++i)
            check_item(reader, i, 5);
        check_item(reader, 11, 0);
        check_item(reader, 6, 6);
        check_item(reader, 6, 6);
        assert_error(ddpm_source_read(reader, 12, NULL, (uint8_t *)folder, NULL),
                     DDPM_ERROR_ARGUMENT, "want 0 to 11");
        assert_string_equal(ddpm_source_name(source, 6, NULL, 0), "06.png");
        ddpm_source_reader_destroy(&reader);
        ddpm_source_close(&source);
    }
    remove_folder(folder);
}

static void too_many_bad_pictures_are_an_error(void **state)
{
    (void)state;
    char *folder = make_pictures(4);
    struct ddpm_source *source = NULL;
    write_bytes(folder, "00.png", "", 0);
    copy_golden("png-rgb.png", folder, "01.png", 200);
    start_log();
    assert_ok(ddpm_source_open(&source, folder, &plain)); /* half of them may be bad */
    ddpm_source_close(&source);
    copy_golden("png-rgb.png", folder, "02.png", 300);
    start_log();
    assert_error(ddpm_source_open(&source, folder, &plain), DDPM_ERROR_FORMAT, "3 of 4 pictures");
    assert_null(source);
    assert_int_equal(count_in_log("skipped: "), 3);
    remove_folder(folder);

    folder = make_folder();
    assert_error(ddpm_source_open(&source, folder, &plain), DDPM_ERROR_FORMAT, "no pictures found");
    write_bytes(folder, "notes.txt", "x", 1);
    assert_error(ddpm_source_open(&source, folder, &plain), DDPM_ERROR_FORMAT, "no pictures found");
    write_bytes(folder, "a.jpg", "x", 1);
    assert_error(ddpm_source_open(&source, folder, &plain), DDPM_ERROR_FORMAT, "1 of 1 pictures");
    remove_folder(folder);
    assert_error(ddpm_source_open(&source, "/nonexistent", &plain), DDPM_ERROR_IO, "/nonexistent");
}

/* Pictures that go bad after opening: the run continues until more than half are bad. */
static void pictures_that_go_bad_later(void **state)
{
    (void)state;
    char *folder = make_pictures(4);
    struct ddpm_source *source = NULL;
    struct ddpm_source_reader *reader = NULL;
    struct ddpm_source_options options = plain;
    uint8_t out[8 * 8 * 3];
    options.crop = DDPM_CROP_RANDOM; /* so that each is decoded again */
    assert_ok(ddpm_source_open(&source, folder, &options));
    assert_ok(ddpm_source_reader_create(&reader, source));
    check_item(reader, 1, 1);
    copy_golden("png-rgb.png", folder, "01.png", 200);
    write_bytes(folder, "02.png", "", 0);
    start_log();
    for (int round = 0; round < 3; ++round)
        check_item(reader, 1, 3);
    assert_int_equal(count_in_log("skipped: "), 2);
    write_bytes(folder, "00.png", "", 0);
    assert_error(ddpm_source_read(reader, 0, &any_random, out, NULL), DDPM_ERROR_FORMAT,
                 "3 of 4 pictures");
    ddpm_source_reader_destroy(&reader);
    ddpm_source_close(&source);
    remove_folder(folder);
}

static void small_and_mixed_pictures(void **state)
{
    (void)state;
    char *folder = make_folder();
    struct ddpm_source *source = NULL;
    struct ddpm_source_reader *reader = NULL;
    uint8_t out[10 * 14 * 4];
    copy_golden("png-grey8.png", folder, "a.png", 0);
    copy_golden("jpeg-cmyk.jpg", folder, "b.jpg", 0);
    copy_golden("png-16bit-4.png", folder, "c.PNG", 0);
    write_picture(folder, "d.png", 1, 30, 20);
    for (int channels = 1; channels <= 4; ++channels) {
        struct ddpm_source_options options = {
            .channels = channels, .height = 10, .width = 14, .threads = 1, .cache_bytes = 1 << 20};
        start_log();
        if (channels == 2) {
            assert_error(ddpm_source_open(&source, folder, &options), DDPM_ERROR_ARGUMENT,
                         "got 2 channels");
            continue;
        }
        assert_ok(ddpm_source_open(&source, folder, &options));
        assert_int_equal(count_in_log("3 of 4 pictures are smaller than 10x14 and are enlarged"),
                         1);
        assert_int_equal(ddpm_source_count_kinds(source).enlarged, 3);
        assert_ok(ddpm_source_reader_create(&reader, source));
        for (int64_t i = 0; i < 4; ++i)
            assert_ok(ddpm_source_read(reader, i, NULL, out, NULL));
        ddpm_source_reader_destroy(&reader);
        ddpm_source_close(&source);
    }
    struct ddpm_source_options options = plain;
    options.pixel_limit = 500; /* only d.png is larger */
    start_log();
    assert_ok(ddpm_source_open(&source, folder, &options));
    assert_int_equal(count_in_log("d.png: PNG: picture of 20x30 pixels is too large"), 1);
    ddpm_source_close(&source);
    options.height = 0;
    assert_error(ddpm_source_open(&source, folder, &options), DDPM_ERROR_ARGUMENT,
                 "at least 1x1x1");
    remove_folder(folder);
}

static bool count_progress(void *user, int64_t done, int64_t total)
{
    assert_true(done <= total);
    ++*(int *)user;
    return total != 3;
}

static void packed_files_hold_the_same_pictures(void **state)
{
    (void)state;
    char *folder = make_pictures(5), *file = text("%s/%s", folder, "packed.npy");
    int calls = 0;
    struct ddpm_pack_options options = {.channels = 3,
                                        .height = 8,
                                        .width = 8,
                                        .threads = 2,
                                        .progress = count_progress,
                                        .user = &calls};
    struct ddpm_pack_result result;
    write_bytes(folder, "01.png", "text", 4);
    start_log();
    assert_ok(ddpm_pack_folder(folder, file, &options, &result));
    assert_int_equal(result.packed, 4);
    assert_int_equal(result.bad, 1);
    assert_int_equal(calls, 1);
    assert_int_equal(count_in_log("skipped: "), 1);

    static const int64_t order[] = {0, 2, 3, 4};
    struct ddpm_source *packed = NULL, *loose = NULL;
    struct ddpm_source_reader *from_packed = NULL, *from_loose = NULL;
    assert_ok(ddpm_source_open(&packed, file, &plain));
    assert_ok(ddpm_source_open(&loose, folder, &plain));
    assert_ok(ddpm_source_reader_create(&from_packed, packed));
    assert_ok(ddpm_source_reader_create(&from_loose, loose));
    assert_int_equal(ddpm_source_count(packed), 4);
    for (int64_t i = 0; i < 4; ++i) {
        uint8_t a[8 * 8 * 3], b[8 * 8 * 3];
        int64_t used = -1;
        assert_ok(ddpm_source_read(from_packed, i, NULL, a, &used));
        assert_int_equal(used, i);
        assert_ok(ddpm_source_read(from_loose, order[i], NULL, b, NULL));
        assert_memory_equal(a, b, sizeof a);
    }
    char name[32];
    assert_string_equal(ddpm_source_name(packed, 3, name, sizeof name), "#3");
    ddpm_source_reader_destroy(&from_packed);
    ddpm_source_reader_destroy(&from_loose);
    ddpm_source_close(&packed);
    ddpm_source_close(&loose);
    assert_error(ddpm_pack_folder(file, file, &options, NULL), DDPM_ERROR_IO, "not a folder");
    remove_folder(folder);

    folder = make_pictures(3);
    free(file);
    file = text("%s/%s", folder, "packed.npy");
    assert_int_equal(ddpm_pack_folder(folder, file, &options, NULL), DDPM_STOPPED);
    assert_false(ddpm_path_exists(file));
    free(file);
    remove_folder(folder);
}

static void packed_files_of_another_kind_are_refused(void **state)
{
    (void)state;
    char *folder = make_folder(), *file = text("%s/%s", folder, "x.npy");
    struct ddpm_source *source = NULL;
    struct ddpm_source_options options = plain;
    const int64_t shape[] = {2, 10, 12, 3}, empty[] = {0, 8, 8, 3};
    uint8_t pixels[2 * 10 * 12 * 3];
    const float floats[2 * 10 * 12 * 3] = {0};
    for (size_t i = 0; i < sizeof pixels; ++i)
        pixels[i] = (uint8_t)i;

    assert_ok(ddpm_npy_write(file, DDPM_NPY_F32, 4, shape, floats));
    assert_error(ddpm_source_open(&source, file, &plain), DDPM_ERROR_FORMAT, "want uint8");
    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 2, shape + 1, pixels));
    assert_error(ddpm_source_open(&source, file, &plain), DDPM_ERROR_FORMAT, "got 2 dimensions");
    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 3, shape + 1, pixels));
    assert_error(ddpm_source_open(&source, file, &plain), DDPM_ERROR_MISMATCH, "got 1 channel,");
    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 4, empty, pixels));
    assert_error(ddpm_source_open(&source, file, &plain), DDPM_ERROR_FORMAT, "no pictures");
    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 4, shape, pixels));
    assert_error(ddpm_source_open(&source, file, &plain), DDPM_ERROR_MISMATCH, "random crops");
    options.height = 11;
    assert_error(ddpm_source_open(&source, file, &options), DDPM_ERROR_MISMATCH, "pack again");
    options.height = 8;
    options.channels = 1;
    assert_error(ddpm_source_open(&source, file, &options), DDPM_ERROR_MISMATCH, "got 3 channels");

    options.channels = 3;
    options.crop = DDPM_CROP_RANDOM;
    uint8_t out[8 * 8 * 3];
    struct ddpm_source_reader *reader = NULL;
    assert_ok(ddpm_source_open(&source, file, &options));
    assert_ok(ddpm_source_reader_create(&reader, source));
    assert_error(ddpm_source_read(reader, 1, NULL, out, NULL), DDPM_ERROR_ARGUMENT,
                 "random numbers");
    assert_ok(ddpm_source_read(reader, 1, &any_random, out, NULL));
    int top = (int)ddpm_below(any_random.v[1], 3), left = (int)ddpm_below(any_random.v[2], 5);
    for (int y = 0; y < 8; ++y)
        assert_memory_equal(out + y * 24, pixels + 360 + ((top + y) * 12 + left) * 3, 24);
    ddpm_source_reader_destroy(&reader);
    ddpm_source_close(&source);
    write_bytes(folder, "x.npy", "nothing of the kind", 19);
    assert_int_equal(ddpm_source_open(&source, file, &plain), DDPM_ERROR_FORMAT);
    free(file);
    remove_folder(folder);
}

/* What another process may do to a packed file while it is read. */
static void packed_files_that_change(void **state)
{
    (void)state;
    char *folder = make_folder(), *file = text("%s/%s", folder, "x.npy");
    const int64_t shape[] = {100, 8, 8, 3};
    static uint8_t pixels[100 * 8 * 8 * 3], other[sizeof pixels];
    uint8_t out[8 * 8 * 3];
    struct ddpm_source *source = NULL;
    struct ddpm_source_reader *reader = NULL;
    for (size_t i = 0; i < sizeof pixels; ++i)
        pixels[i] = (uint8_t)(i / 7);
    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 4, shape, pixels));
    assert_ok(ddpm_source_open(&source, file, &plain));
    assert_ok(ddpm_source_reader_create(&reader, source));
    /* Replaced by a rename, then deleted: the old file is still open. */
    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 4, shape, other));
    assert_int_equal(unlink(file), 0);
    assert_ok(ddpm_source_read(reader, 99, NULL, out, NULL));
    assert_memory_equal(out, pixels + 99 * sizeof out, sizeof out);
    ddpm_source_reader_destroy(&reader);
    ddpm_source_close(&source);

    assert_ok(ddpm_npy_write(file, DDPM_NPY_U8, 4, shape, pixels));
    assert_ok(ddpm_source_open(&source, file, &plain));
    assert_ok(ddpm_source_reader_create(&reader, source));
    assert_int_equal(truncate(file, 128 + 50 * (off_t)sizeof out), 0);
    assert_error(ddpm_source_read(reader, 99, NULL, out, NULL), DDPM_ERROR_IO, "cut short");
    /* It is no picture's fault, so none is replaced. */
    assert_int_equal(ddpm_source_count_kinds(source).bad, 0);
    ddpm_source_reader_destroy(&reader);
    ddpm_source_close(&source);
    free(file);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_pictures_are_stood_in_for),
        cmocka_unit_test(too_many_bad_pictures_are_an_error),
        cmocka_unit_test(pictures_that_go_bad_later),
        cmocka_unit_test(small_and_mixed_pictures),
        cmocka_unit_test(packed_files_hold_the_same_pictures),
        cmocka_unit_test(packed_files_of_another_kind_are_refused),
        cmocka_unit_test(packed_files_that_change),
    };
    return cmocka_run_group_tests_name("data_source", tests, NULL, NULL);
}
