/* What is not the picture's fault, and what must not hang or take long: no memory, a FIFO,
 * thousands of texts. */
#include "data_support.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include "allocations.h"
#include "data/picture.h"
#include "sanitized.h"

enum { SIDE = 24, TIFF_SIDE = 2000 };

static void no_memory_is_not_the_fault_of_a_png(void **state)
{
    (void)state;
    char *folder = make_folder(), *path = text("%s/%s", folder, "a.png");
    struct ddpm_picture picture = {0};
    int failed = 0;
    write_picture(folder, "a.png", 1, SIDE, SIDE);
    for (long which = 1;; ++which) {
        allocations_fail(which);
        const ddpm_status status = ddpm_picture_load(&picture, path, 3, 0);
        const bool all = !allocations_have_failed();
        allocations_fail(0);
        ddpm_picture_free(&picture);
        if (all) {
            assert_ok(status);
            break;
        }
        if (status != DDPM_OK) /* libpng can do without some */
            assert_int_equal(status, DDPM_ERROR_MEMORY);
        failed += status != DDPM_OK;
    }
    assert_true(failed >= 5); /* the file, the pixels, and libpng's own */
    remove_folder(folder);
    free(path);
}

struct bytes {
    uint8_t *at;
    size_t size;
};

static void put(struct bytes *file, const void *bytes, size_t size)
{
    file->at = realloc(file->at, file->size + size);
    assert_non_null(file->at);
    memcpy(file->at + file->size, bytes, size);
    file->size += size;
}

static void put_number(struct bytes *file, uint32_t value, int count, bool big_endian)
{
    for (int i = 0; i < count; ++i) {
        const uint8_t byte = (uint8_t)(value >> 8 * (big_endian ? count - 1 - i : i));
        put(file, &byte, 1);
    }
}

/* RGB of 16 bits, in one strip that is deflated without making it smaller: libtiff needs a buffer
 * of its size. */
static struct bytes make_tiff(void)
{
    const uLong size = (uLong)6 * TIFF_SIDE * TIFF_SIDE;
    uLongf packed = compressBound(size);
    uint8_t *plain = calloc(1, size), *out = malloc(packed);
    struct bytes file = {0};
    assert_non_null(plain);
    assert_non_null(out);
    assert_int_equal(compress2(out, &packed, plain, size, 0), Z_OK);
    const uint32_t tags[][2] = {{256, TIFF_SIDE}, {257, TIFF_SIDE}, {258, 16},
                                {259, 8},         {262, 2},         {273, 8},
                                {277, 3},         {278, TIFF_SIDE}, {279, (uint32_t)packed}};
    const uint32_t count = sizeof tags / sizeof *tags;
    packed += packed & 1;
    put(&file, "II*\0", 4);
    put_number(&file, (uint32_t)(8 + packed), 4, false);
    put(&file, out, packed);
    put_number(&file, count, 2, false);
    for (uint32_t i = 0; i < count; ++i) {
        put_number(&file, tags[i][0], 2, false);
        put_number(&file, 4, 2, false);
        put_number(&file, 1, 4, false);
        put_number(&file, tags[i][1], 4, false);
    }
    put_number(&file, 0, 4, false);
    free(plain);
    free(out);
    return file;
}

static bool limit_growth(rlim_t room)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    const bool known = file && fscanf(file, "%lu", &pages) == 1;
    if (file)
        fclose(file);
    const rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + room;
    const struct rlimit limit = {bytes, bytes};
    return known && setrlimit(RLIMIT_AS, &limit) == 0;
}

/* In a process with 48 MB left: 12 MB for the picture, 24 MB for the strip, and 24 MB for libtiff,
 * which are too many. */
static void no_memory_is_not_the_fault_of_a_tiff(void **state)
{
    (void)state;
#ifdef SANITIZED
    skip(); /* it needs all of the address space */
#endif
    struct bytes file = make_tiff();
    struct ddpm_picture picture = {0};
    ddpm_status status = ddpm_picture_decode(&picture, file.at, file.size, 3, 0);
    ddpm_picture_free(&picture);
    if (status == DDPM_ERROR_UNSUPPORTED) {
        free(file.at);
        skip(); /* no libtiff */
    }
    assert_ok(status);
    const pid_t child = fork();
    if (child == 0) {
        if (!limit_growth((rlim_t)48 << 20))
            _exit(99);
        status = ddpm_picture_decode(&picture, file.at, file.size, 3, 0);
        const bool ours = status != DDPM_OK && strstr(ddpm_error_message(), "no memory for ");
        _exit(ours ? 98 : (int)status);
    }
    int ended = 0;
    assert_int_equal(waitpid(child, &ended, 0), child);
    free(file.at);
    assert_true(WIFEXITED(ended));
    if (WEXITSTATUS(ended) == DDPM_OK)
        skip(); /* qemu-user ignores limits of memory */
    assert_int_equal(WEXITSTATUS(ended), DDPM_ERROR_MEMORY);
}

/* Opening it would wait for a writer; the test's time limit would end it. */
static void a_fifo_is_refused_at_once(void **state)
{
    (void)state;
    char *folder = make_folder(), *path = text("%s/%s", folder, "a.png");
    struct ddpm_picture picture = {0};
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(60);
    assert_error(ddpm_picture_load(&picture, path, 3, 0), DDPM_ERROR_IO, "not a file");
    alarm(0);
    ddpm_picture_free(&picture);
    remove_folder(folder);
    free(path);
}

static void put_chunk(struct bytes *file, const char *kind, const void *data, size_t size)
{
    const uLong sum = crc32(crc32(0, NULL, 0), (const Bytef *)kind, 4);
    put_number(file, (uint32_t)size, 4, true);
    put(file, kind, 4);
    put(file, data, size);
    put_number(file, (uint32_t)crc32(sum, data, (uInt)size), 4, true);
}

/* The height of a picture of 8x4 whose texts first say `before` times that it is upright, and then
 * that it lies on its side. */
static int height_after_texts(const char *path, int before)
{
    static const char keyword[] = "XML:com.adobe.xmp";
    struct bytes file = {0};
    struct ddpm_picture picture = {0};
    void *png = NULL;
    size_t size = 0;
    assert_ok(ddpm_file_read_whole(&png, &size, path, 1 << 20));
    put(&file, png, 33); /* signature and header */
    for (int i = 0; i <= before; ++i) {
        char chunk[128];
        memcpy(chunk, keyword, sizeof keyword);
        const int bytes = snprintf(chunk + sizeof keyword, sizeof chunk - sizeof keyword,
                                   "tiff:Orientation=\"%d\"", i < before ? 1 : 6);
        put_chunk(&file, "tEXt", chunk, sizeof keyword + (size_t)bytes);
    }
    put(&file, (const uint8_t *)png + 33, size - 33);
    assert_ok(ddpm_picture_decode(&picture, file.at, file.size, 3, 0));
    const int height = picture.height;
    ddpm_picture_free(&picture);
    free(file.at);
    free(png);
    return height;
}

static void only_the_first_texts_are_read(void **state)
{
    (void)state;
    char *folder = make_folder(), *path = text("%s/%s", folder, "a.png");
    write_picture(folder, "a.png", 1, 4, 8);
    assert_int_equal(height_after_texts(path, 0), 8);
    assert_int_equal(height_after_texts(path, 3), 8);
    assert_int_equal(height_after_texts(path, 100), 4);
    remove_folder(folder);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_memory_is_not_the_fault_of_a_png),
        cmocka_unit_test(no_memory_is_not_the_fault_of_a_tiff),
        cmocka_unit_test(a_fifo_is_refused_at_once),
        cmocka_unit_test(only_the_first_texts_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
