/* picture_dump OUT FILE…: decodes each file to grey, RGB and RGBA and writes OUT/<file's name>.npy,
 * uint8 [H, W, 8], the three side by side; or OUT/<name>.txt, one line with the reason. A remark
 * goes to <name>.remark. For make_odd_pictures.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/picture.h"
#include "formats/npy.h"

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file)
        exit(2);
    fprintf(file, "%s\n", text);
    fclose(file);
}

static ddpm_status dump(struct ddpm_picture *picture, const char *name, const char *out)
{
    static const int wanted[] = {1, 3, 4}, start[] = {0, 1, 4};
    uint8_t *all = NULL;
    ddpm_status status = DDPM_OK;
    for (int mode = 0; mode < 3 && status == DDPM_OK; ++mode) {
        status = ddpm_picture_load(picture, name, wanted[mode], 0);
        const size_t pixels = (size_t)picture->height * (size_t)picture->width;
        if (status == DDPM_OK && mode == 0)
            all = calloc(8, pixels);
        for (size_t i = 0; status == DDPM_OK && all && i < pixels; ++i)
            memcpy(all + 8 * i + start[mode], picture->pixels + i * (size_t)wanted[mode],
                   (size_t)wanted[mode]);
    }
    const int64_t shape[] = {picture->height, picture->width, 8};
    if (status == DDPM_OK)
        status = ddpm_npy_write(out, DDPM_NPY_U8, 3, shape, all);
    free(all);
    return status;
}

int main(int count, char **arguments)
{
    struct ddpm_picture picture = {0};
    for (int i = 2; i < count; ++i) {
        char out[4096], other[4104];
        const char *slash = strrchr(arguments[i], '/');
        snprintf(out, sizeof out, "%s/%s", arguments[1], slash ? slash + 1 : arguments[i]);
        snprintf(other, sizeof other, "%s.npy", out);
        ddpm_status status = dump(&picture, arguments[i], other);
        snprintf(other, sizeof other, "%s.%s", out, status == DDPM_OK ? "remark" : "txt");
        if (status != DDPM_OK || picture.remark)
            write_text(other, status == DDPM_OK ? picture.remark : ddpm_error_message());
    }
    ddpm_picture_free(&picture);
    return 0;
}
