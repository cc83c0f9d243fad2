/* Unit tests of the picture decoders, against Pillow's pixels (tests/golden/make_picture_golden.py)
 * and on bad files. */
#include "data_support.h"

#include <stdbool.h>

#include "data/picture.h"

/* The golden arrays have L, RGB and RGBA side by side. */
static void compare(const char *name, const struct ddpm_npy *golden)
{
    static const int wanted[] = {1, 3, 4}, start[] = {0, 1, 4};
    struct ddpm_picture picture = {0};
    char *path = text("%s/%s", GOLDEN, name);
    for (int mode = 0; mode < 3; ++mode) {
        ddpm_status status = ddpm_picture_load(&picture, path, wanted[mode], 0);
        if (status == DDPM_ERROR_UNSUPPORTED && strstr(ddpm_error_message(), "this build has no")) {
            print_message("%s\n", ddpm_error_message());
            break;
        }
        assert_ok(status);
        assert_int_equal(picture.height, golden->shape[0]);
        assert_int_equal(picture.width, golden->shape[1]);
        assert_int_equal(picture.channels, wanted[mode]);
        const uint8_t *want = golden->data;
        for (int i = 0; i < picture.height * picture.width; ++i)
            for (int c = 0; c < wanted[mode]; ++c) {
                int got = picture.pixels[i * wanted[mode] + c],
                    should = want[8 * i + start[mode] + c];
                if (got != should)
                    fail_msg("%s as %d channels, pixel (%d, %d), channel %d: got %d, want %d", name,
                             wanted[mode], i / picture.width, i % picture.width, c, got, should);
            }
    }
    ddpm_picture_free(&picture);
    free(path);
}

static void every_kind_gives_the_pixels_of_pillow(void **state)
{
    (void)state;
    char **names = NULL;
    size_t count = 0;
    int compared = 0;
    assert_ok(ddpm_directory_list(&names, &count, GOLDEN));
    for (size_t i = 0; i < count; ++i) {
        if (strstr(names[i], ".npy") || strncmp(names[i], "resize", 6) == 0)
            continue;
        char *stem = text("%s%s", names[i], "");
        *strrchr(stem, '.') = '\0';
        char *part = text("%s/%s.npy", GOLDEN, stem);
        struct ddpm_npy golden;
        assert_ok(ddpm_npy_open(&golden, part));
        compare(names[i], &golden);
        ddpm_npy_close(&golden);
        free(part);
        free(stem);
        ++compared;
    }
    ddpm_names_free(names, count);
    assert_true(compared > 60);
}

/* A file cut off anywhere gives an error and nothing worse. If only the end mark is cut off, it
 * decodes to the same pixels with a remark. */
enum { END_BYTES = 20 }; /* of a PNG: two checksums of the data, IEND */

static void truncated_files_are_errors(void **state)
{
    (void)state;
    static const char *const names[] = {
        "jpeg-420.jpg",     "jpeg-progressive.jpg",  "jpeg-cmyk.jpg",
        "png-rgb.png",      "webp-lossy.webp",       "webp-lossless.webp",
        "bmp-24.bmp",       "bmp-rle8.bmp",          "tiff-rgb-lzw.tif",
        "tiff-rgb-raw.tif", "png-rgb-interlaced.png"};
    struct ddpm_picture picture = {0}, whole = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        char *path = text("%s/%s", GOLDEN, names[i]);
        void *data = NULL;
        size_t size = 0;
        assert_ok(ddpm_file_read_whole(&data, &size, path, 1 << 20));
        bool readable = ddpm_picture_decode(&whole, data, size, 3, 0) == DDPM_OK;
        assert_null(whole.remark);
        for (size_t cut = 0; cut + 2 < size; cut += 1 + cut / 40) {
            uint8_t *copy = malloc(cut + 1); /* its own block, so that a sanitizer sees the end */
            memcpy(copy, data, cut);
            ddpm_status status = ddpm_picture_decode(&picture, copy, cut, 3, 0);
            if (status == DDPM_OK &&
                (size - cut > END_BYTES || !readable || !picture.remark ||
                 memcmp(picture.pixels, whole.pixels, 3 * (size_t)(whole.height * whole.width))))
                fail_msg("%s decodes with %zu of %zu bytes", names[i], cut, size);
            free(copy);
        }
        size_t most = size - size / 8;
        ddpm_status status = ddpm_picture_decode(&picture, data, most, 3, 0);
        if (status != DDPM_ERROR_UNSUPPORTED && strncmp(names[i], "tiff", 4) != 0)
            assert_non_null(strstr(ddpm_error_message(), "truncated"));
        free(data);
        free(path);
    }
    ddpm_picture_free(&picture);
    ddpm_picture_free(&whole);
}

static void flipped_bits_never_do_harm(void **state)
{
    (void)state;
    char **names = NULL;
    size_t count = 0;
    struct ddpm_picture picture = {0};
    uint32_t random = 1;
    assert_ok(ddpm_directory_list(&names, &count, GOLDEN));
    for (size_t i = 0; i < count; ++i) {
        if (strstr(names[i], ".npy"))
            continue;
        char *path = text("%s/%s", GOLDEN, names[i]);
        void *data = NULL;
        size_t size = 0;
        assert_ok(ddpm_file_read_whole(&data, &size, path, 1 << 20));
        for (int round = 0; round < 200; ++round) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % size;
            uint8_t bit = (uint8_t)(1u << (random >> 29));
            ((uint8_t *)data)[at] ^= bit;
            (void)ddpm_picture_decode(&picture, data, size, 3, 1 << 20);
            if (round % 8)
                ((uint8_t *)data)[at] ^= bit;
        }
        free(data);
        free(path);
    }
    ddpm_names_free(names, count);
    ddpm_picture_free(&picture);
}

static void what_is_no_picture_is_refused(void **state)
{
    (void)state;
    struct ddpm_picture picture = {0};
    char *folder = make_folder();
    write_bytes(folder, "text.jpg", "Dear diary", 10);
    write_bytes(folder, "empty.png", "", 0);
    char *path = text("%s/%s", folder, "text.jpg");
    assert_error(ddpm_picture_load(&picture, path, 3, 0), DDPM_ERROR_FORMAT, "not a picture");
    assert_non_null(strstr(ddpm_error_message(), "text.jpg: "));
    free(path);
    path = text("%s/%s", folder, "empty.png");
    assert_error(ddpm_picture_load(&picture, path, 3, 0), DDPM_ERROR_FORMAT, "empty");
    free(path);
    path = text("%s/%s", folder, "absent.png");
    assert_error(ddpm_picture_load(&picture, path, 3, 0), DDPM_ERROR_IO, "absent.png");
    free(path);
    assert_error(ddpm_picture_load(&picture, folder, 3, 0), DDPM_ERROR_IO, "not a file");
    assert_error(ddpm_picture_load(&picture, GOLDEN "/png-rgb.png", 2, 0), DDPM_ERROR_ARGUMENT,
                 "got 2 channels");
    assert_null(ddpm_picture_format((const uint8_t *)"GIF89a", 6));
    assert_string_equal(ddpm_picture_format((const uint8_t *)"BM..............", 16), "BMP");
    remove_folder(folder);
    ddpm_picture_free(&picture);
}

/* The size is rejected before memory is allocated: a BMP header with 2^30 x 2^30 pixels and no
 * pixel data. */
static void giant_pictures_are_refused(void **state)
{
    (void)state;
    uint8_t bmp[70] = {'B', 'M'};
    struct ddpm_picture picture = {0};
    bmp[10] = 54;
    bmp[14] = 40;
    bmp[21] = bmp[25] = 0x40;
    bmp[26] = 1;
    bmp[28] = 24;
    assert_error(ddpm_picture_decode(&picture, bmp, sizeof bmp, 3, 0), DDPM_ERROR_FORMAT,
                 "too large");
    assert_null(picture.pixels);
    assert_error(ddpm_picture_load(&picture, GOLDEN "/png-rgb.png", 3, 100), DDPM_ERROR_FORMAT,
                 "want at most 100 pixels");
    assert_error(ddpm_picture_load(&picture, GOLDEN "/jpeg-420.jpg", 3, 100), DDPM_ERROR_FORMAT,
                 "want at most 100 pixels");
    assert_ok(ddpm_picture_load(&picture, GOLDEN "/png-rgb.png", 3, 7 * 19));
    ddpm_picture_free(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_gives_the_pixels_of_pillow),
        cmocka_unit_test(truncated_files_are_errors),
        cmocka_unit_test(flipped_bits_never_do_harm),
        cmocka_unit_test(what_is_no_picture_is_refused),
        cmocka_unit_test(giant_pictures_are_refused),
    };
    return cmocka_run_group_tests_name("data_picture", tests, NULL, NULL);
}
