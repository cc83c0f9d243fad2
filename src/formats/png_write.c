/* Writing PNG files through libpng. */
#include "formats/png_write.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "core/memory.h"
#include "formats/file.h"
#include "formats/png_common.h"

static ddpm_status check_key(const char *key)
{
    size_t length = strlen(key);
    bool good = length >= 1 && length <= 79 && key[0] != ' ' && key[length - 1] != ' ';
    for (size_t i = 0; i < length; ++i)
        good = good && key[i] >= ' ' && key[i] <= '~' && (key[i] != ' ' || key[i + 1] != ' ');
    if (good)
        return DDPM_OK;
    return ddpm_raise(
        DDPM_ERROR_ARGUMENT,
        "got \"%s\" as the key of a PNG text, want 1 to 79 printable ASCII characters", key);
}

ddpm_status ddpm_png_check(int height, int width, int channels, const struct ddpm_png_text *texts,
                           size_t text_count)
{
    if (height < 1 || width < 1 || height > DDPM_PNG_LARGEST_SIDE || width > DDPM_PNG_LARGEST_SIDE)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a picture of %d x %d, want sides of 1 to %d",
                          height, width, DDPM_PNG_LARGEST_SIDE);
    if (channels < 1 || channels > DDPM_PNG_MOST_CHANNELS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got a picture of %d channels, want 1 to %d for a PNG", channels,
                          DDPM_PNG_MOST_CHANNELS);
    for (size_t i = 0; i < text_count; ++i)
        DDPM_TRY(check_key(texts[i].key));
    return DDPM_OK;
}

int ddpm_png_color_type(int channels)
{
    static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    return types[channels - 1];
}

bool ddpm_png_text_is_plain(const char *text)
{
    for (; *text; ++text)
        if ((*text < ' ' && *text != '\n') || *text > '~')
            return false;
    return true;
}

/* State for libpng's callbacks. */
struct writer {
    struct ddpm_file *file;
    ddpm_status status;
};

static void on_error(png_structp png, png_const_charp words)
{
    struct writer *writer = png_get_error_ptr(png);
    if (writer->status == DDPM_OK)
        writer->status = ddpm_raise(DDPM_ERROR_IO, "cannot write a PNG: %s", words);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp words)
{
    (void)png;
    (void)words;
}

static void on_write(png_structp png, png_bytep data, size_t bytes)
{
    struct writer *writer = png_get_io_ptr(png);
    writer->status = ddpm_file_write(writer->file, data, bytes);
    if (writer->status != DDPM_OK)
        png_error(png, "write failed");
}

static void on_flush(png_structp png)
{
    (void)png;
}

static ddpm_status fill_texts(png_text **out, const struct ddpm_png_text *texts, size_t count)
{
    DDPM_TRY(ddpm_new_array((void **)out, count, sizeof **out, "a picture's texts"));
    for (size_t i = 0; i < count; ++i) {
        bool plain = ddpm_png_text_is_plain(texts[i].value);
        (*out)[i].compression = plain ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        (*out)[i].key = (char *)(uintptr_t)texts[i].key;
        (*out)[i].text = (char *)(uintptr_t)texts[i].value;
    }
    return DDPM_OK;
}

struct picture {
    const uint8_t *pixels;
    int height, width, channels;
    png_text *texts;
    int text_count;
};

static ddpm_status write_picture(png_structp png, png_infop info, struct writer *writer,
                                 const struct picture *picture)
{
    if (setjmp(png_jmpbuf(png)))
        return writer->status;
    png_set_write_fn(png, writer, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8,
                 ddpm_png_color_type(picture->channels), PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (picture->text_count)
        png_set_text(png, info, picture->texts, picture->text_count);
    png_write_info(png, info);
    size_t row = (size_t)picture->width * (size_t)picture->channels;
    for (int y = 0; y < picture->height; ++y)
        png_write_row(png, picture->pixels + (size_t)y * row);
    png_write_end(png, info);
    return DDPM_OK;
}

ddpm_status ddpm_png_write(const char *path, const uint8_t *pixels, int height, int width,
                           int channels, const struct ddpm_png_text *texts, size_t text_count)
{
    struct writer writer = {0};
    struct picture picture = {pixels, height, width, channels, NULL, (int)text_count};
    png_structp png = NULL;
    png_infop info = NULL;
    ddpm_status status;
    DDPM_TRY(ddpm_png_check(height, width, channels, texts, text_count));
    DDPM_TRY(fill_texts(&picture.texts, texts, text_count));
    DDPM_TRY_GOTO(done, ddpm_file_create(&writer.file, path));
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, on_error, on_warning);
    info = png ? png_create_info_struct(png) : NULL;
    status = info ? write_picture(png, info, &writer, &picture)
                  : ddpm_raise_memory(sizeof writer, "a PNG writer");
    if (status == DDPM_OK)
        status = ddpm_file_commit(&writer.file);
done:
    png_destroy_write_struct(&png, &info);
    ddpm_file_abandon(&writer.file);
    free(picture.texts);
    return status;
}
