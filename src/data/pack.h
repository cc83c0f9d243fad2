/* Packing: the pictures of a folder, resized and cropped at the centre, as one .npy file of uint8
 * [N, height, width, channels] that NumPy opens and training reads. */
#ifndef DDPM_DATA_PACK_H
#define DDPM_DATA_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* Called from time to time on the calling thread, with the number of pictures done; return false to
 * stop. */
typedef bool ddpm_pack_progress(void *user, int64_t done, int64_t total);

struct ddpm_pack_options {
    int channels, height, width;  /* channels 1, 3 or 4 */
    int threads;                  /* at least 1 */
    int64_t pixel_limit;          /* 0 = DDPM_PICTURE_PIXEL_LIMIT */
    ddpm_pack_progress *progress; /* or NULL */
    void *user;
};

struct ddpm_pack_result {
    int64_t packed, bad, enlarged;
};

/* Pack `folder` into `file`, which appears only when complete and then replaces an older one.
 * Pictures are in the order of their names; bad ones are skipped and logged. Errors are those of
 * ddpm_source_open(), and DDPM_STOPPED if `progress` asks to stop. *result may be NULL. */
ddpm_status ddpm_pack_folder(const char *folder, const char *file,
                             const struct ddpm_pack_options *options,
                             struct ddpm_pack_result *result);

#endif
