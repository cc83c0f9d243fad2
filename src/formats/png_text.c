/* Reading the texts of PNG files through libpng. */
#include "formats/png_write.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "core/memory.h"
#include "formats/file.h"

#define SIGNATURE_BYTES 8
#define CHUNK_OVERHEAD 12 /* length, type, CRC */

/* A compressed text must not grow to gigabytes. */
#define MAX_CHUNKS 1000
#define MAX_CHUNK_BYTES ((png_alloc_size_t)8 << 20)

/* State for libpng's callbacks. */
struct reader {
    struct ddpm_mapping mapping;
    size_t at;
    const char *path;
};

static void on_error(png_structp png, png_const_charp words)
{
    const struct reader *reader = png_get_error_ptr(png);
    ddpm_raise(DDPM_ERROR_FORMAT, "%s: not a complete PNG file: %s", reader->path, words);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp words)
{
    (void)png;
    (void)words;
}

static void on_read(png_structp png, png_bytep out, size_t bytes)
{
    struct reader *reader = png_get_io_ptr(png);
    if (bytes > reader->mapping.bytes - reader->at)
        png_error(png, "truncated");
    memcpy(out, reader->mapping.data + reader->at, bytes);
    reader->at += bytes;
}

/* libpng allocates the size that a chunk states before it reads the bytes, so check the stated
 * length first. */
static ddpm_status check_lengths(const struct reader *reader)
{
    const uint8_t *data = reader->mapping.data;
    size_t rest = reader->mapping.bytes;
    if (rest < SIGNATURE_BYTES || png_sig_cmp(data, 0, SIGNATURE_BYTES) != 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: not a PNG file", reader->path);
    data += SIGNATURE_BYTES;
    rest -= SIGNATURE_BYTES;
    while (rest >= CHUNK_OVERHEAD) {
        size_t length = png_get_uint_32(data);
        bool last = memcmp(data + 4, "IEND", 4) == 0;
        if (length > rest - CHUNK_OVERHEAD)
            break;
        if (last)
            return DDPM_OK;
        data += CHUNK_OVERHEAD + length;
        rest -= CHUNK_OVERHEAD + length;
    }
    return ddpm_raise(DDPM_ERROR_FORMAT, "%s: not a complete PNG file: truncated", reader->path);
}

/* Read to the end: texts may follow the picture. */
static ddpm_status read_all(png_structp png, png_infop info, png_infop end, struct reader *reader)
{
    if (setjmp(png_jmpbuf(png)))
        return DDPM_ERROR_FORMAT;
    png_set_read_fn(png, reader, on_read);
    png_set_chunk_cache_max(png, MAX_CHUNKS);
    png_set_chunk_malloc_max(png, MAX_CHUNK_BYTES);
    png_read_info(png, info);
    int passes = png_set_interlace_handling(png);
    png_uint_32 height = png_get_image_height(png, info);
    for (int pass = 0; pass < passes; ++pass)
        for (png_uint_32 y = 0; y < height; ++y)
            png_read_row(png, NULL, NULL);
    png_read_end(png, end);
    return DDPM_OK;
}

/* Latin-1 to UTF-8: every byte from 128 up becomes two. */
static ddpm_status from_latin1(char **out, const char *text)
{
    char *at;
    DDPM_TRY(ddpm_new_array((void **)out, 2 * strlen(text) + 1, 1, "a picture's text"));
    at = *out;
    for (const uint8_t *byte = (const uint8_t *)text; *byte; ++byte) {
        if (*byte < 128) {
            *at++ = (char)*byte;
            continue;
        }
        *at++ = (char)(0xC0 | *byte >> 6);
        *at++ = (char)(0x80 | (*byte & 0x3F));
    }
    return DDPM_OK;
}

static ddpm_status collect(struct ddpm_png_text **out, size_t *capacity, size_t *count,
                           png_const_structp png, png_infop info)
{
    png_textp texts = NULL;
    int found = png_get_text(png, info, &texts, NULL);
    for (int i = 0; i < found; ++i) {
        const char *value = texts[i].text ? texts[i].text : "";
        char *key_copy, *value_copy = NULL;
        DDPM_TRY(ddpm_grow_array((void **)out, capacity, *count + 1, sizeof **out, "texts"));
        DDPM_TRY(from_latin1(&key_copy, texts[i].key));
        ddpm_status status = texts[i].compression > PNG_TEXT_COMPRESSION_zTXt
                                 ? ddpm_copy_string(&value_copy, value)
                                 : from_latin1(&value_copy, value);
        if (status != DDPM_OK) {
            free(key_copy);
            return status;
        }
        (*out)[(*count)++] = (struct ddpm_png_text){key_copy, value_copy};
    }
    return DDPM_OK;
}

ddpm_status ddpm_png_read_text(struct ddpm_png_text **out, size_t *count, const char *path)
{
    struct reader reader = {.path = path};
    png_infop info = NULL, end = NULL;
    size_t capacity = 0;
    ddpm_status status;
    *out = NULL;
    *count = 0;
    DDPM_TRY(ddpm_mapping_open(&reader.mapping, path));
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
    if (png) {
        info = png_create_info_struct(png);
        end = png_create_info_struct(png);
    }
    if (!info || !end) {
        status = ddpm_raise_memory(sizeof reader, "a PNG reader");
        goto done;
    }
    DDPM_TRY_GOTO(done, check_lengths(&reader));
    DDPM_TRY_GOTO(done, read_all(png, info, end, &reader));
    DDPM_TRY_GOTO(done, collect(out, &capacity, count, png, info));
    DDPM_TRY_GOTO(done, collect(out, &capacity, count, png, end));
done:
    png_destroy_read_struct(&png, &info, &end);
    ddpm_mapping_close(&reader.mapping);
    if (status != DDPM_OK) {
        ddpm_png_text_free(*out, *count);
        *out = NULL;
        *count = 0;
    }
    return status;
}

void ddpm_png_text_free(struct ddpm_png_text *texts, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        free((void *)(uintptr_t)texts[i].key);
        free((void *)(uintptr_t)texts[i].value);
    }
    free(texts);
}
