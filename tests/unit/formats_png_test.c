/* Unit tests of the PNG and APNG writers and of the grid: pixels are read back by libpng. */
#include "unit/formats_support.h"

#include <png.h>
#include <zlib.h>

#include "formats/apng_write.h"
#include "formats/grid.h"
#include "formats/png_write.h"

enum { HEIGHT = 37, WIDTH = 53 };

/* A picture with smooth parts, noise and flat parts, different for each `seed`. */
static void paint(uint8_t *out, int channels, int seed)
{
    uint32_t noise = (uint32_t)seed * 2654435761u + 1;
    for (int y = 0; y < HEIGHT; ++y)
        for (int x = 0; x < WIDTH * channels; ++x) {
            noise = noise * 1664525u + 1013904223u;
            int value = y < 12 ? x + y * 3 + seed : y < 24 ? (int)(noise >> 24) : 200;
            out[y * WIDTH * channels + x] = (uint8_t)value;
        }
}

static void assert_pixels(const void *png, size_t bytes, const uint8_t *want, int channels)
{
    static const png_uint_32 formats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB,
                                          PNG_FORMAT_RGBA};
    uint8_t got[HEIGHT * WIDTH * 4];
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, png, bytes));
    assert_int_equal(image.width, WIDTH);
    assert_int_equal(image.height, HEIGHT);
    assert_int_equal(image.format, formats[channels - 1]);
    assert_true(png_image_finish_read(&image, NULL, got, 0, NULL));
    assert_int_equal(image.warning_or_error, 0);
    assert_memory_equal(got, want, (size_t)(HEIGHT * WIDTH * channels));
}

static void assert_file_pixels(const char *path, const uint8_t *want, int channels)
{
    void *png;
    size_t bytes;
    assert_ok(ddpm_file_read_whole(&png, &bytes, path, SIZE_MAX));
    assert_pixels(png, bytes, want, channels);
    free(png);
}

static const struct ddpm_png_text texts[] = {
    {"Software", "ddpm"},
    {"ddpm:seed", "12345\nand a second line"},
    {"Title", "W\xc3\xa4lder \xe6\xa3\xae"},
    {"Empty", ""},
};

static void assert_texts(const char *path)
{
    struct ddpm_png_text *got;
    size_t count;
    assert_ok(ddpm_png_read_text(&got, &count, path));
    assert_int_equal(count, 4);
    for (int i = 0; i < 4; ++i) {
        assert_string_equal(got[i].key, texts[i].key);
        assert_string_equal(got[i].value, texts[i].value);
    }
    ddpm_png_text_free(got, count);
}

static void pictures_come_back(void **state)
{
    (void)state;
    uint8_t pixels[HEIGHT * WIDTH * 4];
    for (int channels = 1; channels <= 4; ++channels) {
        paint(pixels, channels, channels);
        assert_ok(ddpm_png_write(at("a.png"), pixels, HEIGHT, WIDTH, channels, texts, 4));
        assert_file_pixels(at("a.png"), pixels, channels);
        assert_texts(at("a.png"));
    }
    struct ddpm_png_text *none;
    size_t count;
    assert_ok(ddpm_png_write(at("a.png"), pixels, HEIGHT, WIDTH, 3, NULL, 0));
    assert_ok(ddpm_png_read_text(&none, &count, at("a.png")));
    assert_int_equal(count, 0);
    ddpm_png_text_free(none, count);
}

static void bad_pictures_are_refused(void **state)
{
    (void)state;
    const uint8_t pixels[16] = {0};
    const char *keys[] = {"", " a", "a ", "a  b", "W\xc3\xa4", "a\nb"};
    char longest[82];
    const ddpm_status want = DDPM_ERROR_ARGUMENT;
    assert_error(ddpm_png_write(at("b.png"), pixels, 0, 1, 1, NULL, 0), want, "0 x 1");
    assert_error(ddpm_png_write(at("b.png"), pixels, 1, 1 << 21, 1, NULL, 0), want, "want sides");
    assert_error(ddpm_png_write(at("b.png"), pixels, 1, 1, 5, NULL, 0), want, "5 channels");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
        struct ddpm_png_text text = {keys[i], "x"};
        assert_error(ddpm_png_write(at("b.png"), pixels, 1, 1, 1, &text, 1), want, "key");
    }
    memset(longest, 'k', 81);
    longest[80] = 0;
    struct ddpm_png_text text = {longest, "x"};
    assert_error(ddpm_png_write(at("b.png"), pixels, 1, 1, 1, &text, 1), want, "key");
    longest[79] = 0;
    assert_ok(ddpm_png_write(at("c.png"), pixels, 1, 1, 1, &text, 1));
    assert_false(ddpm_path_exists(at("b.png")));
}

static void the_longest_picture_is_written(void **state)
{
    (void)state;
    enum { LONGEST = 1000000 };
    uint8_t *pixels = calloc(1, LONGEST + 1);
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_non_null(pixels);
    assert_ok(ddpm_png_write(at("long.png"), pixels, 1, LONGEST, 1, NULL, 0));
    assert_true(png_image_begin_read_from_file(&image, at("long.png")));
    assert_int_equal(image.width, LONGEST);
    png_image_free(&image);
    assert_ok(ddpm_png_write(at("high.png"), pixels, LONGEST, 1, 1, NULL, 0));
    assert_error(ddpm_png_write(at("b.png"), pixels, 1, LONGEST + 1, 1, NULL, 0),
                 DDPM_ERROR_ARGUMENT, "want sides");
    free(pixels);
}

static void full_disk_is_an_error(void **state)
{
    (void)state;
    enum { SIDE = 600 };
    uint8_t *pixels = malloc(SIDE * SIDE);
    struct ddpm_apng *apng;
    uint32_t noise = 1;
    for (int i = 0; i < SIDE * SIDE; ++i)
        pixels[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
    size_t before = scratch_count();
    assert_error(ddpm_png_write("/dev/full", pixels, SIDE, SIDE, 1, NULL, 0), DDPM_ERROR_IO,
                 "No space");
    limit_files(10000);
    assert_error(ddpm_png_write(at("f.png"), pixels, SIDE, SIDE, 1, NULL, 0), DDPM_ERROR_IO,
                 "cannot write");
    assert_ok(ddpm_apng_create(&apng, at("f.png"), SIDE, SIDE, 1, 0, NULL, 0));
    assert_error(ddpm_apng_append(apng, pixels, 1), DDPM_ERROR_IO, "cannot write");
    assert_error(ddpm_apng_append(apng, pixels, 1), DDPM_ERROR_IO, "earlier frame");
    assert_error(ddpm_apng_finish(&apng), DDPM_ERROR_IO, "earlier frame");
    limit_files(RLIM_INFINITY);
    assert_int_equal(scratch_count(), before);
    free(pixels);
}

/* Without fsync, which would take most of the test's time. */
static void write_plainly(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void damaged_pngs_never_crash(void **state)
{
    (void)state;
    uint8_t pixels[HEIGHT * WIDTH];
    uint8_t *png;
    size_t bytes, count;
    struct ddpm_png_text *got;
    paint(pixels, 1, 1);
    assert_ok(ddpm_png_write(at("d.png"), pixels, HEIGHT, WIDTH, 1, texts, 4));
    assert_ok(ddpm_file_read_whole((void **)&png, &bytes, at("d.png"), SIZE_MAX));
    for (size_t cut = 0; cut < bytes; cut += cut < 200 ? 1 : 97) {
        write_plainly(at("cut.png"), png, cut);
        assert_int_equal(ddpm_png_read_text(&got, &count, at("cut.png")), DDPM_ERROR_FORMAT);
        assert_null(got);
    }
    for (size_t bit = 0; bit < 300 * 8; bit += 5) {
        png[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_plainly(at("cut.png"), png, bytes);
        if (ddpm_png_read_text(&got, &count, at("cut.png")) == DDPM_OK)
            ddpm_png_text_free(got, count);
        png[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(png);
}

static uint32_t get32(const uint8_t *at_byte)
{
    return (uint32_t)at_byte[0] << 24 | (uint32_t)at_byte[1] << 16 | (uint32_t)at_byte[2] << 8 |
           at_byte[3];
}

static void put_chunk(uint8_t **out, const char *type, const uint8_t *content, uint32_t bytes)
{
    uint8_t *start = *out;
    for (int i = 0; i < 4; ++i)
        start[i] = (uint8_t)(bytes >> (24 - 8 * i));
    memcpy(start + 4, type, 4);
    if (bytes)
        memcpy(start + 8, content, bytes);
    uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), start + 4, bytes + 4);
    for (int i = 0; i < 4; ++i)
        start[8 + bytes + (uint32_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    *out = start + 12 + bytes;
}

/* Takes an animation apart: counts its frames, checks every chunk's CRC and sequence number, and
 * rebuilds each frame as a plain PNG that libpng decodes. */
static void assert_animation(const char *path, int channels, uint32_t frames, uint32_t loops)
{
    uint8_t *png, want[HEIGHT * WIDTH * 4];
    size_t bytes;
    assert_ok(ddpm_file_read_whole((void **)&png, &bytes, path, SIZE_MAX));
    uint8_t *plain = malloc(bytes + 100), *end = plain;
    uint32_t sequence = 0, frame = 0;
    const uint8_t *header = png + 16, *chunk = png + 8;
    for (; chunk < png + bytes; chunk += 12 + get32(chunk)) {
        uint32_t length = get32(chunk);
        const char *type = (const char *)chunk + 4;
        const uint8_t *content = chunk + 8;
        bool last = memcmp(type, "IEND", 4) == 0;
        assert_int_equal(get32(content + length), (uint32_t)crc32(0, chunk + 4, length + 4));
        if (memcmp(type, "acTL", 4) == 0) {
            assert_int_equal(get32(content), frames);
            assert_int_equal(get32(content + 4), loops);
        }
        if (end > plain && (last || memcmp(type, "fcTL", 4) == 0)) {
            put_chunk(&end, "IEND", NULL, 0);
            paint(want, channels, (int)frame++);
            assert_pixels(plain, (size_t)(end - plain), want, channels);
        }
        if (memcmp(type, "fcTL", 4) == 0) {
            assert_int_equal(get32(content), sequence++);
            assert_int_equal(get32(content + 4), WIDTH);
            assert_int_equal(get32(content + 8), HEIGHT);
            assert_int_equal(get32(content + 20), (40 + frame) << 16 | 1000);
            end = plain;
            memcpy(end, png, 8);
            end += 8;
            put_chunk(&end, "IHDR", header, 13);
        } else if (memcmp(type, "IDAT", 4) == 0) {
            assert_int_equal(frame, 0);
            put_chunk(&end, "IDAT", content, length);
        } else if (memcmp(type, "fdAT", 4) == 0) {
            assert_int_equal(get32(content), sequence++);
            put_chunk(&end, "IDAT", content + 4, length - 4);
        }
    }
    assert_ptr_equal(chunk, png + bytes);
    assert_int_equal(frame, frames);
    free(plain);
    free(png);
}

static void animations_come_back(void **state)
{
    (void)state;
    uint8_t pixels[HEIGHT * WIDTH * 4];
    for (int channels = 1; channels <= 4; ++channels) {
        struct ddpm_apng *apng;
        assert_ok(
            ddpm_apng_create(&apng, at("a.apng"), HEIGHT, WIDTH, channels, channels, texts, 4));
        for (int frame = 0; frame < 5; ++frame) {
            paint(pixels, channels, frame);
            assert_ok(ddpm_apng_append(apng, pixels, 40 + frame));
        }
        assert_ok(ddpm_apng_finish(&apng));
        assert_null(apng);
        assert_animation(at("a.apng"), channels, 5, (uint32_t)channels);
        paint(pixels, channels, 0);
        assert_file_pixels(at("a.apng"), pixels, channels);
        assert_texts(at("a.apng"));
    }
}

/* A frame that fills several chunks. */
static void large_frames_are_cut_into_chunks(void **state)
{
    (void)state;
    enum { SIDE = 400 };
    static uint8_t pixels[SIDE * SIDE], got[SIDE * SIDE];
    struct ddpm_apng *apng;
    uint32_t noise = 1;
    for (int i = 0; i < SIDE * SIDE; ++i)
        pixels[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
    assert_ok(ddpm_apng_create(&apng, at("l.apng"), SIDE, SIDE, 1, 0, NULL, 0));
    assert_ok(ddpm_apng_append(apng, pixels, 0));
    assert_ok(ddpm_apng_append(apng, pixels, 65535));
    assert_ok(ddpm_apng_finish(&apng));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, at("l.apng")));
    assert_true(png_image_finish_read(&image, NULL, got, 0, NULL));
    assert_memory_equal(got, pixels, sizeof pixels);
}

static void bad_animations_are_refused(void **state)
{
    (void)state;
    struct ddpm_apng *apng;
    const uint8_t pixels[4] = {0};
    const ddpm_status want = DDPM_ERROR_ARGUMENT;
    assert_error(ddpm_apng_create(&apng, at("n.apng"), 0, 1, 1, 0, NULL, 0), want, "0 x 1");
    assert_null(apng);
    assert_error(ddpm_apng_create(&apng, at("n.apng"), 1, 1, 1, -1, NULL, 0), want, "-1 loops");
    assert_ok(ddpm_apng_create(&apng, at("n.apng"), 1, 1, 1, 0, NULL, 0));
    assert_error(ddpm_apng_append(apng, pixels, 65536), want, "65536 ms");
    assert_error(ddpm_apng_finish(&apng), want, "0 frames");
    assert_ok(ddpm_apng_create(&apng, at("n.apng"), 1, 1, 1, 0, NULL, 0));
    assert_ok(ddpm_apng_append(apng, pixels, 1));
    ddpm_apng_abandon(&apng);
    ddpm_apng_abandon(&apng);
    assert_false(ddpm_path_exists(at("n.apng")));
}

static void grids_have_borders(void **state)
{
    (void)state;
    int height, width;
    const uint8_t pictures[3][2][1] = {{{1}, {2}}, {{3}, {4}}, {{5}, {6}}};
    assert_ok(ddpm_grid_size(3, 2, 1, 2, &height, &width));
    assert_int_equal(height, 10);
    assert_int_equal(width, 8);
    uint8_t grid[80], want[80] = {0};
    memset(grid, 9, sizeof grid);
    assert_ok(ddpm_grid_fill(grid, &pictures[0][0][0], 3, 2, 1, 1, 2));
    want[2 * 8 + 2] = 1;
    want[3 * 8 + 2] = 2;
    want[2 * 8 + 5] = 3;
    want[3 * 8 + 5] = 4;
    want[6 * 8 + 2] = 5;
    want[7 * 8 + 2] = 6;
    assert_memory_equal(grid, want, sizeof grid);
    assert_ok(ddpm_grid_size(3, 2, 1, 100, &height, &width));
    assert_int_equal(height, 6);
    assert_int_equal(width, 11);
    assert_error(ddpm_grid_size(0, 2, 1, 2, &height, &width), DDPM_ERROR_ARGUMENT, "at least 1");
    assert_error(ddpm_grid_size(1 << 20, 64, 64, 4, &height, &width), DDPM_ERROR_ARGUMENT, "sides");
}

static void every_pixel_becomes_a_square(void **state)
{
    (void)state;
    int height, width;
    const uint8_t picture[2][1][2] = {{{1, 2}}, {{3, 4}}};
    const uint8_t want[4][2][2] = {
        {{1, 2}, {1, 2}}, {{1, 2}, {1, 2}}, {{3, 4}, {3, 4}}, {{3, 4}, {3, 4}}};
    uint8_t large[4][2][2];
    assert_ok(ddpm_enlarged_size(2, 1, 2, &height, &width));
    assert_int_equal(height, 4);
    assert_int_equal(width, 2);
    ddpm_enlarge(&large[0][0][0], &picture[0][0][0], 2, 1, 2, 2);
    assert_memory_equal(large, want, sizeof want);
    assert_ok(ddpm_enlarged_size(15625, 1 << 10, 64, &height, &width));
    assert_error(ddpm_enlarged_size(15625 + 1, 1, 64, &height, &width), DDPM_ERROR_ARGUMENT,
                 "want sides of at most");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_come_back),
        cmocka_unit_test(bad_pictures_are_refused),
        cmocka_unit_test(the_longest_picture_is_written),
        cmocka_unit_test(full_disk_is_an_error),
        cmocka_unit_test(damaged_pngs_never_crash),
        cmocka_unit_test(animations_come_back),
        cmocka_unit_test(large_frames_are_cut_into_chunks),
        cmocka_unit_test(bad_animations_are_refused),
        cmocka_unit_test(grids_have_borders),
        cmocka_unit_test(every_pixel_becomes_a_square),
    };
    return cmocka_run_group_tests_name("formats_png", tests, make_scratch, remove_scratch);
}
