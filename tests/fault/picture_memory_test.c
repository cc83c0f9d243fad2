/* The memory bound for one picture (data/picture.h), for every format. Each case decodes in its own
 * process, whose address space may grow only by the bound. Small files that claim to be large must
 * be rejected by their header, within a few MiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jpeglib.h>
#include <zlib.h>
#ifdef HAVE_WEBP
#include <webp/encode.h>
#endif

#include "data/picture.h"
#include "formats/npy.h"

#include "sanitized.h"

enum { MIB = 1 << 20, SIDE = 2000, HEADER_MIB = 8 };

/* A file that a test builds. */
struct file {
    uint8_t *bytes;
    size_t size;
};

static void put(struct file *file, const void *bytes, size_t size)
{
    file->bytes = realloc(file->bytes, file->size + size + 1);
    assert_non_null(file->bytes);
    if (size > 0)
        memcpy(file->bytes + file->size, bytes, size);
    file->size += size;
}

static void put_number(struct file *file, uint64_t value, int count, bool big_endian)
{
    for (int i = 0; i < count; ++i) {
        const uint8_t byte = (uint8_t)(value >> 8 * (big_endian ? count - 1 - i : i));
        put(file, &byte, 1);
    }
}

/* A limit of memory had no effect: qemu-user accepts them and ignores them. */
static bool unlimited;

/* Exit codes: of the children, and ctest's for a skipped test. */
enum { GOOD = 0, WRONG = 1, NO_LIMIT = 3, GOOD_UNLIMITED = 4, SKIPPED = 77 };

/* Limit the process to `room` bytes more than now. Not with a sanitizer, which needs all of the
 * address space. */
static bool limit_growth(size_t room)
{
#ifdef SANITIZED
    (void)room;
    return true;
#else
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    const bool known = file && fscanf(file, "%lu", &pages) == 1;
    if (file)
        fclose(file);
    const rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + room;
    const struct rlimit limit = {bytes, bytes};
    struct rlimit got = {0};
    const bool done = known && setrlimit(RLIMIT_AS, &limit) == 0 && getrlimit(RLIMIT_AS, &got) == 0;
    unlimited = done && got.rlim_cur != bytes;
    return done;
#endif
}

/* At the end of each case. */
static void skip_if_unlimited(void)
{
    if (unlimited) {
        print_message("limits of memory have no effect here, so the bound was not checked\n");
        skip();
    }
}

typedef ddpm_status reader(const struct file *file);

static ddpm_status read_picture(const struct file *file)
{
    struct ddpm_picture picture = {0};
    ddpm_status status = ddpm_picture_decode(&picture, file->bytes, file->size, 3, 0);
    ddpm_picture_free(&picture);
    return status;
}

static ddpm_status read_npy(const struct file *file)
{
    struct ddpm_npy npy;
    return ddpm_npy_parse(&npy, file->bytes, file->size, "x.npy");
}

/* Read with `room` more bytes of address space; expect an error that contains `text`, or success if
 * NULL. Frees the file. */
static void read_within(const char *name, struct file file, reader *read, size_t room,
                        const char *text)
{
    const pid_t child = fork();
    if (child == 0) {
        if (!limit_growth(room))
            _exit(NO_LIMIT);
        const ddpm_status status = read(&file);
        const bool good =
            text ? status != DDPM_OK && strstr(ddpm_error_message(), text) : status == DDPM_OK;
        if (!good)
            fprintf(stderr, "%s: got \"%s\", want \"%s\"\n", name,
                    status == DDPM_OK ? "a picture" : ddpm_error_message(),
                    text ? text : "a picture");
        _exit(!good ? WRONG : unlimited ? GOOD_UNLIMITED : GOOD);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    free(file.bytes);
    if (WIFEXITED(status) && WEXITSTATUS(status) == GOOD_UNLIMITED)
        unlimited = true;
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != GOOD)
        fail_msg("%s: the child ended with %x", name, (unsigned)status);
}

/* The bound for `pixels` pixels, with a small base: the documented base covers codec tables that
 * these files do not need. */
static size_t bound(int64_t pixels, const struct file *file)
{
    return (size_t)pixels * DDPM_PICTURE_PIXEL_BYTES + file->size * DDPM_PICTURE_FILE_TIMES +
           (size_t)16 * MIB;
}

static void refused(const char *name, struct file file, const char *text)
{
    read_within(name, file, read_picture, (size_t)HEADER_MIB * MIB, text);
}

/* ---- PNG ---- */

static void put_chunk(struct file *file, const char *kind, const void *data, size_t size)
{
    uLong sum = crc32(crc32(0, NULL, 0), (const Bytef *)kind, 4);
    if (size > 0)
        sum = crc32(sum, data, (uInt)size);
    put_number(file, size, 4, true);
    put(file, kind, 4);
    put(file, data, size);
    put_number(file, sum, 4, true);
}

/* A chunk `kind`: `prefix`, then `before` zeros, compressed. */
static void put_packed(struct file *file, const char *kind, const char *prefix, size_t prefix_bytes,
                       size_t zeros)
{
    struct file data = {0};
    uLongf packed = compressBound((uLong)zeros);
    uint8_t *plain = calloc(1, zeros), *out = malloc(packed);
    assert_non_null(plain);
    assert_non_null(out);
    assert_int_equal(compress2(out, &packed, plain, (uLong)zeros, 1), Z_OK);
    put(&data, prefix, prefix_bytes);
    put(&data, out, packed);
    put_chunk(file, kind, data.bytes, data.size);
    free(data.bytes);
    free(plain);
    free(out);
}

static struct file png_start(uint32_t width, uint32_t height, int depth, int colour, int interlaced)
{
    struct file file = {0}, header = {0};
    put(&file, "\x89PNG\r\n\x1a\n", 8);
    put_number(&header, width, 4, true);
    put_number(&header, height, 4, true);
    put_number(&header, (uint64_t)depth, 1, true);
    put_number(&header, (uint64_t)colour, 1, true);
    put_number(&header, (uint64_t)interlaced, 3, true);
    put_chunk(&file, "IHDR", header.bytes, header.size);
    free(header.bytes);
    return file;
}

static void png_is_bounded(void **state)
{
    (void)state;
    struct file file = png_start(200000000, 1, 16, 6, 0);
    put_packed(&file, "IDAT", "", 0, 100);
    refused("png of 200 million pixels", file, "too large");
    file = png_start(100000000, 1, 16, 6, 1);
    put_packed(&file, "IDAT", "", 0, 100);
    refused("png with a long side", file, "sides of at most");
    file = png_start(1000000, 130, 16, 6, 1);
    put_packed(&file, "IDAT", "", 0, 100);
    refused("png without its pixels", file, "truncated");
    file = png_start(SIDE, SIDE, 16, 6, 0);
    put_packed(&file, "IDAT", "", 0, (size_t)SIDE * (8 * SIDE + 1));
    read_within("png of 16 bits", file, read_picture, bound(SIDE * SIDE, &file), NULL);
    file = png_start(1000000, 4, 16, 6, 0);
    put_packed(&file, "IDAT", "", 0, (size_t)4 * (8000000 + 1));
    read_within("long png", file, read_picture, bound(4000000, &file) + (size_t)24 * MIB, NULL);
    file = png_start(1, 1, 8, 0, 0);
    put_packed(&file, "iCCP", "x\0", 3, (size_t)64 * MIB);
    put_packed(&file, "zTXt", "Raw profile type exif\0", 23, (size_t)64 * MIB);
    put_packed(&file, "iTXt", "XML:com.adobe.xmp\0\1\0\0", 22, (size_t)64 * MIB);
    put_packed(&file, "IDAT", "", 0, 2);
    put_chunk(&file, "IEND", NULL, 0);
    read_within("png with packed texts", file, read_picture, (size_t)HEADER_MIB * MIB, NULL);
    skip_if_unlimited();
}

/* ---- JPEG ---- */

static struct file jpeg_of(int side, J_COLOR_SPACE space, int components, bool progressive)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    uint8_t *row = calloc((size_t)side, (size_t)components);
    JSAMPROW rows[] = {row};
    assert_non_null(row);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &size);
    jpeg.image_width = jpeg.image_height = (JDIMENSION)side;
    jpeg.input_components = components;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    for (int c = 0; c < components; ++c)
        jpeg.comp_info[c].h_samp_factor = jpeg.comp_info[c].v_samp_factor = 1;
    if (progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < side; ++y)
        jpeg_write_scanlines(&jpeg, rows, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    return (struct file){bytes, size};
}

static void jpeg_is_bounded(void **state)
{
    (void)state;
    struct file file = jpeg_of(16, JCS_RGB, 3, true);
    for (size_t i = 0; i + 9 < file.size; ++i)
        if (file.bytes[i] == 0xFF && file.bytes[i + 1] == 0xC2)
            memcpy(file.bytes + i + 5, "\xFF\x00\xFF\x00", 4); /* height, width */
    refused("jpeg of 65280x65280", file, "too large");
    file = jpeg_of(SIDE, JCS_CMYK, 4, true);
    read_within("progressive jpeg", file, read_picture, bound(SIDE * SIDE, &file), NULL);
    struct file many = {0};
    file = jpeg_of(16, JCS_RGB, 3, false);
    uint8_t *segment = calloc(1, 65537);
    assert_non_null(segment);
    memcpy(segment,
           "\xFF\xE1\xFF\xFF"
           "Exif\0\0",
           10);
    put(&many, file.bytes, 2);
    for (int i = 0; i < 500; ++i)
        put(&many, segment, 65537);
    put(&many, file.bytes + 2, file.size - 2);
    free(file.bytes);
    free(segment);
    read_within("jpeg with 32 MB of EXIF", many, read_picture, (size_t)HEADER_MIB * MIB, NULL);
    skip_if_unlimited();
}

/* ---- BMP ---- */

static struct file bmp_of(int32_t width, int32_t height, int bits, int compression)
{
    struct file file = {0};
    put(&file, "BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", 18);
    put_number(&file, (uint32_t)width, 4, false);
    put_number(&file, (uint32_t)height, 4, false);
    put_number(&file, 1, 2, false);
    put_number(&file, (uint64_t)bits, 2, false);
    put_number(&file, (uint64_t)compression, 4, false);
    const uint8_t rest[20] = {0}; /* sizes, resolutions, colours: none stated */
    put(&file, rest, sizeof rest);
    return file;
}

static void bmp_is_bounded(void **state)
{
    (void)state;
    refused("bmp of 2^30x2^30", bmp_of(1 << 30, 1 << 30, 24, 0), "too large");
    refused("bmp of -2^31 rows", bmp_of(1, INT32_MIN, 24, 0), "too large");
    refused("bmp without pixels", bmp_of(11000, 11000, 32, 0), "truncated");
    struct file file = bmp_of(SIDE, SIDE, 8, 1);
    put(&file, "\0\1", 2);
    read_within("bmp of one run", file, read_picture, bound(SIDE * SIDE, &file), NULL);
    skip_if_unlimited();
}

/* ---- TIFF ---- */

/* Deflated zeros in one strip, with `more` empty tags that all point to the same `claimed`
 * bytes. */
static struct file tiff_of(uint32_t width, uint32_t height, int samples, int compression,
                           size_t zeros, int more, uint32_t claimed)
{
    struct file file = {0};
    uLongf packed = compressBound((uLong)zeros);
    uint8_t *plain = calloc(1, zeros + 1), *out = malloc(packed);
    assert_non_null(plain);
    assert_non_null(out);
    assert_int_equal(compress2(out, &packed, plain, (uLong)zeros, 1), Z_OK);
    const uint32_t bits = 16, strips = 8, at = (uint32_t)(8 + packed + (packed & 1));
    const uint32_t tags[][3] = {{256, 4, width},
                                {257, 4, height},
                                {258, 3, bits},
                                {259, 3, (uint32_t)compression},
                                {262, 3, 2},
                                {273, 4, strips},
                                {277, 3, (uint32_t)samples},
                                {278, 4, height},
                                {279, 4, (uint32_t)packed},
                                {338, 3, 2}};
    const size_t count = sizeof tags / sizeof *tags - (samples == 3);
    put(&file, "II*\0", 4);
    put_number(&file, at, 4, false);
    put(&file, out, packed);
    put(&file, "\0", packed & 1); /* the directory starts at an even offset */
    put_number(&file, count + (size_t)more, 2, false);
    for (size_t i = 0; i < count; ++i) {
        put_number(&file, tags[i][0], 2, false);
        put_number(&file, tags[i][1], 2, false);
        put_number(&file, 1, 4, false);
        put_number(&file, tags[i][2], 4, false);
    }
    for (int i = 0; i < more; ++i) {
        put_number(&file, (uint64_t)(40000 + i), 2, false);
        put_number(&file, 1, 2, false);
        put_number(&file, claimed, 4, false);
        put_number(&file, 8, 4, false);
    }
    put_number(&file, 0, 4, false);
    free(plain);
    free(out);
    return file;
}

static void tiff_is_bounded(void **state)
{
    (void)state;
    const size_t zeros = (size_t)8 * SIDE * SIDE;
    struct file file = tiff_of(0x7FFFFFFF, 0x7FFFFFFF, 3, 8, 10, 0, 0);
    struct ddpm_picture picture = {0};
    if (ddpm_picture_decode(&picture, file.bytes, file.size, 3, 0) == DDPM_ERROR_UNSUPPORTED) {
        free(file.bytes);
        skip(); /* no libtiff */
    }
    refused("tiff of 2^31x2^31", file, "too large");
    file = tiff_of(8, 8, 3, 8, 384, 20000, 200000);
    refused("tiff of many tags", file, "tags claim more");
    file = tiff_of(8, 8, 3, 34925, 384, 0, 0);
    refused("tiff with lzma", file, "LZMA");
    file = tiff_of(SIDE, SIDE, 4, 8, zeros, 0, 0);
    read_within("tiff of one strip", file, read_picture, bound(SIDE * SIDE, &file), NULL);
    skip_if_unlimited();
}

/* ---- WebP ---- */

static void webp_is_bounded(void **state)
{
    (void)state;
#ifdef HAVE_WEBP
    struct file file = {0};
    put(&file, "RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0\xff\xff\xff\x7f\0\0ANIM\0\0\0\0", 38);
    refused("webp animation of a giant canvas", file, "too large");
    uint8_t *pixels = calloc((size_t)4 * SIDE, SIDE), *bytes = NULL;
    assert_non_null(pixels);
    size_t size = WebPEncodeLosslessRGBA(pixels, SIDE, SIDE, 4 * SIDE, &bytes);
    assert_true(size > 0);
    file = (struct file){0};
    put(&file, bytes, size);
    WebPFree(bytes);
    read_within("lossless webp", file, read_picture, bound(SIDE * SIDE, &file), NULL);
    memset(pixels, 90, (size_t)4 * SIDE * SIDE);
    size = WebPEncodeRGBA(pixels, SIDE, SIDE, 4 * SIDE, 80, &bytes);
    assert_true(size > 0);
    file = (struct file){0};
    put(&file, bytes, size);
    WebPFree(bytes);
    read_within("lossy webp", file, read_picture, bound(SIDE * SIDE, &file), NULL);
    free(pixels);
    skip_if_unlimited();
#else
    skip();
#endif
}

/* ---- .npy ---- */

static void npy_is_bounded(void **state)
{
    (void)state;
    static const char dict[] =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 64, 64, 3)}\n";
    struct file file = {0};
    put(&file, "\x93NUMPY\1\0", 8);
    put_number(&file, sizeof dict - 1, 2, false);
    put(&file, dict, sizeof dict - 1);
    read_within("npy of a giant shape", file, read_npy, (size_t)HEADER_MIB * MIB, "truncated");
    file = (struct file){0};
    put(&file, "\x93NUMPY\2\0\xff\xff\xff\xff{", 13);
    read_within("npy of a giant header", file, read_npy, (size_t)HEADER_MIB * MIB, "truncated");
    skip_if_unlimited();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_is_bounded),  cmocka_unit_test(jpeg_is_bounded),
        cmocka_unit_test(bmp_is_bounded),  cmocka_unit_test(tiff_is_bounded),
        cmocka_unit_test(webp_is_bounded), cmocka_unit_test(npy_is_bounded),
    };
    const int failed = cmocka_run_group_tests_name("picture_memory", tests, NULL, NULL);
    return failed == 0 && unlimited ? SKIPPED : failed;
}
