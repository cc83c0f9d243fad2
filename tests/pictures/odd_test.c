/* The pictures of tests/pictures/odd: each NAME.npy holds the expected pixels of NAME, uint8 [H, W,
 * 5]: grey, red, green, blue, alpha; each NAME.txt holds part of the expected error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/picture.h"
#include "formats/file.h"
#include "formats/npy.h"

#define FOLDER "tests/pictures/odd"

static const int channels_of[] = {1, 3, 4}, first_of[] = {0, 1, 1};

/* Other versions of libjpeg and libtiff round colours differently. */
static int tolerance_of(const char *name)
{
    if (strstr(name, "jpeg") || strstr(name, "ycbcr"))
        return 2;
    return strstr(name, "premultiplied") ? 1 : 0;
}

static bool is_absent_codec(ddpm_status status)
{
    return status == DDPM_ERROR_UNSUPPORTED && (strstr(ddpm_error_message(), "this build has no") ||
                                                strstr(ddpm_error_message(), "libtiff lacks"));
}

static void compare(const char *name, const char *path, const struct ddpm_npy *wanted)
{
    struct ddpm_picture picture = {0};
    const uint8_t *want = wanted->data;
    for (int mode = 0; mode < 3; ++mode) {
        const int channels = channels_of[mode];
        ddpm_status status = ddpm_picture_load(&picture, path, channels, 0);
        if (is_absent_codec(status))
            break;
        if (status != DDPM_OK)
            fail_msg("%s", ddpm_error_message());
        assert_int_equal(picture.height, wanted->shape[0]);
        assert_int_equal(picture.width, wanted->shape[1]);
        for (int i = 0; i < picture.height * picture.width; ++i)
            for (int c = 0; c < channels; ++c)
                if (abs(picture.pixels[i * channels + c] - want[5 * i + first_of[mode] + c]) >
                    tolerance_of(name))
                    fail_msg("%s as %d channels, pixel (%d, %d), channel %d: got %d, want %d", name,
                             channels, i / picture.width, i % picture.width, c,
                             picture.pixels[i * channels + c], want[5 * i + first_of[mode] + c]);
    }
    ddpm_picture_free(&picture);
}

static void want_error(const char *path, const char *text_path)
{
    struct ddpm_picture picture = {0};
    char *text = NULL;
    size_t bytes = 0;
    if (ddpm_file_read_whole((void **)&text, &bytes, text_path, 1000) != DDPM_OK)
        fail_msg("%s", ddpm_error_message());
    text = realloc(text, bytes + 1);
    assert_non_null(text);
    text[bytes > 0 ? bytes - 1 : 0] = '\0'; /* the line's end */
    ddpm_status status = ddpm_picture_load(&picture, path, 3, 0);
    if (status == DDPM_OK)
        fail_msg("%s decodes, want an error with \"%s\"", path, text);
    if (!is_absent_codec(status) && !strstr(ddpm_error_message(), text))
        fail_msg("got \"%s\", want \"%s\" in it", ddpm_error_message(), text);
    free(text);
    ddpm_picture_free(&picture);
}

/* Calls the right check for the file that `name` describes. */
static int look_at(const char *name)
{
    char path[512], about[512];
    const size_t length = strlen(name);
    const bool array = length > 4 && strcmp(name + length - 4, ".npy") == 0;
    if (!array && !(length > 4 && strcmp(name + length - 4, ".txt") == 0))
        return 0;
    snprintf(path, sizeof path, "%s/%.*s", FOLDER, (int)length - 4, name);
    snprintf(about, sizeof about, "%s/%s", FOLDER, name);
    if (array) {
        struct ddpm_npy wanted;
        if (ddpm_npy_open(&wanted, about) != DDPM_OK)
            fail_msg("%s", ddpm_error_message());
        compare(name, path, &wanted);
        ddpm_npy_close(&wanted);
    } else {
        want_error(path, about);
    }
    return 1;
}

static void odd_pictures_are_read_or_refused_by_name(void **state)
{
    char **names = NULL;
    size_t count = 0;
    int seen = 0;
    (void)state;
    if (ddpm_directory_list(&names, &count, FOLDER) != DDPM_OK)
        fail_msg("%s", ddpm_error_message());
    for (size_t i = 0; i < count; ++i)
        seen += look_at(names[i]);
    ddpm_names_free(names, count);
    assert_true(seen > 100);
}

/* Damaged files decode with a remark; good ones without. */
static void remarks_are_made_where_something_is_missing(void **state)
{
    static const struct {
        const char *name;
        bool remark;
    } files[] = {
        {"png-no-iend.png", true},
        {"png-cut-adler.png", true},
        {"png-wrong-text.png", true},
        {"png-wrong-idat.png", true},
        {"png-trailer.png", false},
        {"png-animated.png", false},
        {"jpeg-no-end-b.jpg", true},
        {"jpeg-no-end-trailer-b.jpg", true},
        {"jpeg-early-end-b.jpg", true},
        {"jpeg-garbage-between.jpg", true},
        {"jpeg-scan-missing-ended.jpg", true},
        {"jpeg-separate-scan-missing-ended.jpg", true},
        {"jpeg-separate.jpg", false},
        {"jpeg-mpo.jpg", false},
        {"jpeg-exif-4le.jpg", false},
        {"bmp-rle8-no-end.bmp", true},
        {"bmp-24-no-padding.bmp", false},
        {"bmp-rle8-too-long.bmp", true},
        {"bmp-rle8-runs.bmp", false},
        {"tiff-bilevel-damaged.tif", true},
        {"tiff-bilevel-group4.tif", false},
    };
    struct ddpm_picture picture = {0};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", FOLDER, files[i].name);
        ddpm_status status = ddpm_picture_load(&picture, path, 3, 0);
        if (is_absent_codec(status))
            continue;
        if (status != DDPM_OK)
            fail_msg("%s", ddpm_error_message());
        if (files[i].remark != (picture.remark != NULL))
            fail_msg("%s: got %s", path, picture.remark ? picture.remark : "no remark");
    }
    ddpm_picture_free(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_pictures_are_read_or_refused_by_name),
        cmocka_unit_test(remarks_are_made_where_something_is_missing),
    };
    return cmocka_run_group_tests_name("odd_pictures", tests, NULL, NULL);
}
