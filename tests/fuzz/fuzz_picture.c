/* Fuzz target: a picture file in memory, to RGB and to grey; every pixel that it claims to have is
 * read. FORMAT is the format to try. */
#include <stdlib.h>
#include <string.h>

#include "data/picture.h"

/* Small, so that the fuzzer spends its time in the decoders and not on filling memory, and so that
 * the bound of data/picture.h is below the fuzzer's own limit. */
enum { PIXEL_LIMIT = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *format = ddpm_picture_format(data, size);
    if (!format || strcmp(format, FORMAT) != 0)
        return 0;
    struct ddpm_picture picture = {0};
    for (int channels = 1; channels <= 3; channels += 2) {
        if (ddpm_picture_decode(&picture, data, size, channels, PIXEL_LIMIT) != DDPM_OK)
            continue;
        if (picture.channels != channels || picture.height < 1 || picture.width < 1)
            abort();
        size_t bytes = (size_t)picture.height * (size_t)picture.width * (size_t)channels;
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < bytes; ++i)
            sum = (uint8_t)(sum + picture.pixels[i]);
    }
    ddpm_picture_free(&picture);
    return 0;
}
