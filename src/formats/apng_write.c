/* Animated PNG files: chunks of our own, compressed by zlib.
 *
 * A chunk is length (u32, big-endian), type, content, CRC-32 of type and content. fcTL and fdAT
 * share one running sequence number. Rows are filtered by the same rule as in libpng: of PNG's five
 * filters, take the one whose bytes, read as signed, have the smallest sum of magnitudes. */
#include "formats/apng_write.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "core/memory.h"
#include "formats/file.h"
#include "formats/png_common.h"

#define CHUNK_BYTES ((size_t)1 << 15)
#define SEQUENCE_BYTES 4
#define FILTERS 5

struct ddpm_apng {
    struct ddpm_file *file;
    z_stream deflater;
    bool has_deflater;
    int height, width, channels, loops;
    uint32_t frames;
    uint32_t sequence;
    uint64_t control_place; /* of acTL */
    ddpm_status status;     /* the first failure, which sticks */
    uint8_t *zeros;         /* the row above the first */
    uint8_t *filtered;      /* FILTERS rows, each after its filter's number */
    uint8_t chunk[SEQUENCE_BYTES + CHUNK_BYTES];
};

static void put32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; ++i)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static ddpm_status write_chunk(struct ddpm_file *file, const char type[4], const uint8_t *content,
                               size_t bytes)
{
    uint8_t head[8], tail[4];
    put32(head, (uint32_t)bytes);
    memcpy(head + 4, type, 4);
    uLong crc = crc32(0, head + 4, 4);
    if (bytes)
        crc = crc32(crc, content, (uInt)bytes);
    put32(tail, (uint32_t)crc);
    DDPM_TRY(ddpm_file_write(file, head, sizeof head));
    DDPM_TRY(ddpm_file_write(file, content, bytes));
    return ddpm_file_write(file, tail, sizeof tail);
}

static ddpm_status write_text(struct ddpm_file *file, const struct ddpm_png_text *text)
{
    /* tEXt: key, 0, text. iTXt: key, 0, not compressed, method 0, no language, no translated key,
     * text. */
    bool plain = ddpm_png_text_is_plain(text->value);
    size_t key = strlen(text->key), value = strlen(text->value), between = plain ? 1 : 5;
    uint8_t *content;
    if (value > INT32_MAX - 256)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a PNG text of %zu bytes, want less than 2^31",
                          value);
    DDPM_TRY(ddpm_new_array((void **)&content, key + between + value, 1, "a picture's text"));
    memcpy(content, text->key, key);
    memcpy(content + key + between, text->value, value);
    ddpm_status status = write_chunk(file, plain ? "tEXt" : "iTXt", content, key + between + value);
    free(content);
    return status;
}

static ddpm_status write_start(struct ddpm_apng *apng, const struct ddpm_png_text *texts,
                               size_t text_count)
{
    uint8_t header[13] = {0}, control[8] = {0};
    put32(header, (uint32_t)apng->width);
    put32(header + 4, (uint32_t)apng->height);
    header[8] = 8;
    header[9] = (uint8_t)ddpm_png_color_type(apng->channels);
    put32(control + 4, (uint32_t)apng->loops);
    DDPM_TRY(ddpm_file_write(apng->file, "\x89PNG\r\n\x1a\n", 8));
    DDPM_TRY(write_chunk(apng->file, "IHDR", header, sizeof header));
    apng->control_place = ddpm_file_size(apng->file);
    DDPM_TRY(write_chunk(apng->file, "acTL", control, sizeof control));
    for (size_t i = 0; i < text_count; ++i)
        DDPM_TRY(write_text(apng->file, &texts[i]));
    return DDPM_OK;
}

ddpm_status ddpm_apng_create(struct ddpm_apng **out, const char *path, int height, int width,
                             int channels, int loops, const struct ddpm_png_text *texts,
                             size_t text_count)
{
    struct ddpm_apng *apng;
    ddpm_status status;
    *out = NULL;
    DDPM_TRY(ddpm_png_check(height, width, channels, texts, text_count));
    if (loops < 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d loops of an animation, want 0 or more",
                          loops);
    DDPM_TRY(DDPM_NEW(&apng, "an animation writer"));
    apng->height = height;
    apng->width = width;
    apng->channels = channels;
    apng->loops = loops;
    size_t row = (size_t)width * (size_t)channels;
    DDPM_TRY_GOTO(fail, ddpm_new_array((void **)&apng->zeros, row, 1, "a row"));
    DDPM_TRY_GOTO(fail, ddpm_new_array((void **)&apng->filtered, FILTERS, row + 1, "rows"));
    if (deflateInit(&apng->deflater, Z_DEFAULT_COMPRESSION) != Z_OK) {
        status = ddpm_raise_memory((size_t)1 << 18, "a compressor");
        goto fail;
    }
    apng->has_deflater = true;
    DDPM_TRY_GOTO(fail, ddpm_file_create(&apng->file, path));
    DDPM_TRY_GOTO(fail, write_start(apng, texts, text_count));
    *out = apng;
    return DDPM_OK;
fail:
    ddpm_apng_abandon(&apng);
    return status;
}

static int paeth(int left, int above, int corner)
{
    int by_left = abs(above - corner), by_above = abs(left - corner);
    int by_corner = abs(left + above - 2 * corner);
    if (by_left <= by_above && by_left <= by_corner)
        return left;
    return by_above <= by_corner ? above : corner;
}

/* Filter a row in all five ways and return the result that should compress best, with its filter's
 * number in front. */
static uint8_t *filter_row(struct ddpm_apng *apng, const uint8_t *row, const uint8_t *above)
{
    size_t bytes = (size_t)apng->width * (size_t)apng->channels;
    size_t step = (size_t)apng->channels;
    uint8_t *lines[FILTERS];
    uint64_t sums[FILTERS] = {0};
    for (int k = 0; k < FILTERS; ++k) {
        lines[k] = apng->filtered + (size_t)k * (bytes + 1);
        lines[k][0] = (uint8_t)k;
    }
    for (size_t i = 0; i < bytes; ++i) {
        int left = i >= step ? row[i - step] : 0;
        int corner = i >= step ? above[i - step] : 0;
        int up = above[i];
        const int guesses[FILTERS] = {0, left, up, (left + up) / 2, paeth(left, up, corner)};
        for (int k = 0; k < FILTERS; ++k) {
            uint8_t rest = (uint8_t)(row[i] - guesses[k]);
            lines[k][i + 1] = rest;
            sums[k] += rest < 128 ? rest : 256u - rest;
        }
    }
    int best = 0;
    for (int k = 1; k < FILTERS; ++k)
        if (sums[k] < sums[best])
            best = k;
    return lines[best];
}

/* Write the compressed bytes so far: as IDAT for the first frame, as fdAT with its number for the
 * others. */
static ddpm_status write_data(struct ddpm_apng *apng)
{
    size_t bytes = CHUNK_BYTES - apng->deflater.avail_out;
    const uint8_t *data = apng->chunk + SEQUENCE_BYTES;
    apng->deflater.next_out = apng->chunk + SEQUENCE_BYTES;
    apng->deflater.avail_out = (uInt)CHUNK_BYTES;
    if (bytes == 0)
        return DDPM_OK;
    if (apng->frames == 0)
        return write_chunk(apng->file, "IDAT", data, bytes);
    put32(apng->chunk, apng->sequence++);
    return write_chunk(apng->file, "fdAT", apng->chunk, SEQUENCE_BYTES + bytes);
}

static ddpm_status compress_row(struct ddpm_apng *apng, uint8_t *row, int flush)
{
    int result;
    apng->deflater.next_in = row;
    apng->deflater.avail_in = (uInt)apng->width * (uInt)apng->channels + 1;
    do {
        if (apng->deflater.avail_out == 0)
            DDPM_TRY(write_data(apng));
        result = deflate(&apng->deflater, flush);
        if (result == Z_STREAM_ERROR)
            return ddpm_raise(DDPM_ERROR_IO, "cannot compress an animation's frame");
    } while (apng->deflater.avail_out == 0 || (flush == Z_FINISH && result != Z_STREAM_END));
    return DDPM_OK;
}

static ddpm_status write_frame(struct ddpm_apng *apng, const uint8_t *pixels, int delay)
{
    uint8_t control[26] = {0};
    put32(control, apng->sequence++);
    put32(control + 4, (uint32_t)apng->width);
    put32(control + 8, (uint32_t)apng->height);
    control[20] = (uint8_t)(delay >> 8);
    control[21] = (uint8_t)delay;
    control[22] = 1000 >> 8; /* the delay is in milliseconds */
    control[23] = 1000 & 255;
    DDPM_TRY(write_chunk(apng->file, "fcTL", control, sizeof control));

    size_t bytes = (size_t)apng->width * (size_t)apng->channels;
    const uint8_t *above = apng->zeros;
    deflateReset(&apng->deflater);
    apng->deflater.next_out = apng->chunk + SEQUENCE_BYTES;
    apng->deflater.avail_out = (uInt)CHUNK_BYTES;
    for (int y = 0; y < apng->height; ++y) {
        const uint8_t *row = pixels + (size_t)y * bytes;
        DDPM_TRY(compress_row(apng, filter_row(apng, row, above),
                              y == apng->height - 1 ? Z_FINISH : Z_NO_FLUSH));
        above = row;
    }
    DDPM_TRY(write_data(apng));
    ++apng->frames;
    return DDPM_OK;
}

ddpm_status ddpm_apng_append(struct ddpm_apng *apng, const uint8_t *pixels, int delay)
{
    if (apng->status != DDPM_OK)
        return ddpm_raise(apng->status, "an earlier frame of the animation failed");
    if (delay < 0 || delay > 65535)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a delay of %d ms, want 0 to 65535", delay);
    return apng->status = write_frame(apng, pixels, delay);
}

/* Write IEND, and the number of frames to acTL. */
static ddpm_status write_end(struct ddpm_apng *apng)
{
    uint8_t control[16] = {0};
    if (apng->status != DDPM_OK)
        return ddpm_raise(apng->status, "an earlier frame of the animation failed");
    if (apng->frames == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got an animation of 0 frames, want at least 1");
    DDPM_TRY(write_chunk(apng->file, "IEND", control, 0));
    memcpy(control, "acTL", 4);
    put32(control + 4, apng->frames);
    put32(control + 8, (uint32_t)apng->loops);
    put32(control + 12, (uint32_t)crc32(0, control, 12));
    return ddpm_file_patch(apng->file, apng->control_place + 4, control, sizeof control);
}

ddpm_status ddpm_apng_finish(struct ddpm_apng **pointer)
{
    struct ddpm_apng *apng = *pointer;
    *pointer = NULL;
    ddpm_status status = write_end(apng);
    if (status == DDPM_OK)
        status = ddpm_file_commit(&apng->file);
    ddpm_apng_abandon(&apng);
    return status;
}

void ddpm_apng_abandon(struct ddpm_apng **pointer)
{
    struct ddpm_apng *apng = *pointer;
    *pointer = NULL;
    if (!apng)
        return;
    ddpm_file_abandon(&apng->file);
    if (apng->has_deflater)
        deflateEnd(&apng->deflater);
    free(apng->zeros);
    free(apng->filtered);
    free(apng);
}
