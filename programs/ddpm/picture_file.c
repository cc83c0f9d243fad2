/* One picture file: decoded, rotated, resized and cropped. */
#include "picture_file.h"

#include "data/noticed.h"
#include "data/resize.h"
#include "progress.h"

static ddpm_status fit(const struct ddpm_picture *picture, int height, int width, uint8_t *out)
{
    struct ddpm_resizer resizer = {0};
    struct ddpm_placement placement;
    DDPM_TRY(ddpm_placement_choose(&placement, picture->height, picture->width, height, width,
                                   DDPM_CROP_CENTRE, NULL));
    ddpm_status status =
        ddpm_resize_crop(&resizer, picture->pixels, picture->height, picture->width,
                         picture->channels, &placement, height, width, out);
    ddpm_resizer_free(&resizer);
    return status;
}

/* So few of the 16 bits are used that the picture is nearly black or a single grey. */
static void warn_about_bits(const struct ddpm_picture *picture, const char *path)
{
    struct ddpm_noticed noticed = {0};
    char text[DDPM_NOTICED_BYTES];
    bool severe;
    ddpm_notice(&noticed, &picture->stored, picture->pixels,
                (int64_t)picture->height * picture->width, picture->channels);
    (void)ddpm_noticed_bits(text, &noticed, &severe);
    if (noticed.wide > 0 && severe)
        ddpm_progress_warn("warning: %s: %s", path, text);
}

ddpm_status ddpm_picture_file_read(struct ddpm_picture_file *file, int channels, int height,
                                   int width, bool exact, uint8_t *out)
{
    struct ddpm_picture picture = {0};
    ddpm_status status = ddpm_picture_load(&picture, file->path, channels, 0);
    file->height = picture.height;
    file->width = picture.width;
    if (status == DDPM_OK && exact && (picture.height != height || picture.width != width))
        status = ddpm_raise(
            DDPM_ERROR_MISMATCH,
            "%s: got %dx%d pixels (height x width), want %dx%d, the size of the drawn pictures, as "
            "there is a mask",
            file->path, picture.height, picture.width, height, width);
    if (status == DDPM_OK && picture.remark)
        ddpm_progress_warn("warning: %s: %s", file->path, picture.remark);
    if (status == DDPM_OK)
        warn_about_bits(&picture, file->path);
    if (status == DDPM_OK)
        status = fit(&picture, height, width, out);
    ddpm_picture_free(&picture);
    return status;
}
