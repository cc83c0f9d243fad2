/* What a file is. */
#include "file_kind.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/picture.h"

static enum ddpm_file_kind kind_of(const unsigned char *head, size_t bytes)
{
    static const struct {
        const char *magic;
        size_t bytes;
        enum ddpm_file_kind kind;
    } kinds[] = {{"\x93NUMPY", 6, DDPM_FILE_ARRAY},
                 {"PK\3\4", 4, DDPM_FILE_ZIP},
                 {"step,loss", 9, DDPM_FILE_LOG}};
    const bool has_length = head[7] == 0; /* .safetensors: the high byte of its header's length */
    if (bytes > 8 && head[8] == '{' && has_length)
        return DDPM_FILE_WEIGHTS;
    if (head[strspn((const char *)head, " \t\r\n")] == '{')
        return DDPM_FILE_JSON;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (bytes >= kinds[i].bytes && memcmp(head, kinds[i].magic, kinds[i].bytes) == 0)
            return kinds[i].kind;
    if (bytes > 8 && head[8] == '{') /* with a damaged length */
        return DDPM_FILE_WEIGHTS;
    return ddpm_picture_format(head, bytes) ? DDPM_FILE_PICTURE : DDPM_FILE_UNKNOWN;
}

enum ddpm_file_kind ddpm_file_kind(const char *path)
{
    unsigned char head[DDPM_PICTURE_MAGIC_BYTES + 1] = {0};
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return DDPM_FILE_SPECIAL;
    FILE *file = fopen(path, "rb");
    if (!file)
        return DDPM_FILE_UNREADABLE;
    const size_t got = fread(head, 1, sizeof head - 1, file);
    (void)fclose(file);
    return got ? kind_of(head, got) : DDPM_FILE_EMPTY;
}

const char *ddpm_file_kind_text(enum ddpm_file_kind kind)
{
    static const char *const texts[] = {
        [DDPM_FILE_UNREADABLE] = "a file that cannot be read",
        [DDPM_FILE_SPECIAL] = "a device or pipe",
        [DDPM_FILE_EMPTY] = "an empty file",
        [DDPM_FILE_WEIGHTS] = "a bare weights file",
        [DDPM_FILE_ARRAY] = "an array (.npy)",
        [DDPM_FILE_ZIP] = "a zip archive (.npz or .pth)",
        [DDPM_FILE_JSON] = "a configuration or other JSON",
        [DDPM_FILE_LOG] = "a log of ddpm train",
        [DDPM_FILE_PICTURE] = "a picture",
        [DDPM_FILE_UNKNOWN] = "an unknown kind of file",
    };
    return texts[kind];
}
