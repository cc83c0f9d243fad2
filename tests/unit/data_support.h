/* Shared by the tests of src/data: golden files, temporary folders, made-up pictures, a recorded
 * log. */
#ifndef DDPM_TESTS_DATA_SUPPORT_H
#define DDPM_TESTS_DATA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "formats/file.h"
#include "formats/npy.h"
#include "formats/png_write.h"

#define GOLDEN "tests/golden/picture"

#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        if ((expression) != DDPM_OK)                                                               \
            fail_msg("%s", ddpm_error_message());                                                  \
    } while (0)

#define assert_error(expression, wanted, part)                                                     \
    do {                                                                                           \
        assert_int_equal((expression), (wanted));                                                  \
        if (!strstr(ddpm_error_message(), (part)))                                                 \
            fail_msg("got \"%s\", want \"%s\" in it", ddpm_error_message(), (part));               \
    } while (0)

static inline char *text(const char *format, const char *a, const char *b)
{
    size_t bytes = strlen(format) + strlen(a) + strlen(b) + 1;
    char *out = malloc(bytes);
    snprintf(out, bytes, format, a, b);
    return out;
}

/* A new folder with a unique name; remove_folder() frees the name. */
static inline char *make_folder(void)
{
    const char *place = getenv("TMPDIR");
    char *name = text("%s/%s", place ? place : "/tmp", "ddpm-data-XXXXXX");
    assert_non_null(mkdtemp(name));
    return name;
}

static inline void remove_folder(char *folder)
{
    assert_ok(ddpm_directory_remove(folder));
    free(folder);
}

static inline void write_bytes(const char *folder, const char *name, const void *bytes, size_t size)
{
    char *path = text("%s/%s", folder, name);
    assert_ok(ddpm_file_write_whole(path, bytes, size));
    free(path);
}

/* Value of channel c at (y, x) of made-up picture number `index`. */
static inline uint8_t made_up(int index, int y, int x, int c)
{
    return (uint8_t)(index * 37 + y * 5 + x * 3 + c * 71);
}

/* A PNG of height x width, RGB, whose pixels are made_up(). */
static inline void write_picture(const char *folder, const char *name, int index, int height,
                                 int width)
{
    char *path = text("%s/%s", folder, name);
    uint8_t *pixels = malloc((size_t)height * (size_t)width * 3), *to = pixels;
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c)
                *to++ = made_up(index, y, x, c);
    assert_ok(ddpm_png_write(path, pixels, height, width, 3, NULL, 0));
    free(pixels);
    free(path);
}

/* Copy a file of the golden folder to another folder; only its first `bytes` bytes if that is not
 * 0. */
static inline void copy_golden(const char *golden, const char *folder, const char *name,
                               size_t bytes)
{
    char *path = text("%s/%s", GOLDEN, golden);
    void *data = NULL;
    size_t size = 0;
    assert_ok(ddpm_file_read_whole(&data, &size, path, 1 << 20));
    write_bytes(folder, name, data, bytes ? bytes : size);
    free(data);
    free(path);
}

/* The lines of the log, in order. */
static char kept_log[1 << 14];

static inline void keep_log(void *user, ddpm_log_level level, const char *line)
{
    (void)user;
    (void)level;
    size_t used = strlen(kept_log);
    snprintf(kept_log + used, sizeof kept_log - used, "%s\n", line);
}

static inline void start_log(void)
{
    kept_log[0] = '\0';
    ddpm_set_log_callback(keep_log, NULL);
}

static inline int count_in_log(const char *part)
{
    int count = 0;
    for (const char *at = kept_log; (at = strstr(at, part)) != NULL; at += strlen(part))
        ++count;
    return count;
}

#endif
