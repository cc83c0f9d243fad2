/* What ddpm info says of pictures. */
#ifndef DDPM_PROGRAM_INFO_PICTURES_H
#define DDPM_PROGRAM_INFO_PICTURES_H

#include "core/error.h"

/* Format and size of a picture file, and the texts of a PNG. Any error of reading it. */
ddpm_status ddpm_info_picture(const char *path);

/* How many pictures a folder has, and formats and sizes of some of them. DDPM_ERROR_FORMAT when it
 * has none. */
ddpm_status ddpm_info_picture_folder(const char *path);

#endif
