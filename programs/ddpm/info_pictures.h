/* What ddpm info prints about pictures. */
#ifndef DDPM_PROGRAM_INFO_PICTURES_H
#define DDPM_PROGRAM_INFO_PICTURES_H

#include "core/error.h"

/* Format and size of a picture file, and the texts in a PNG. Returns any error of reading it. */
ddpm_status ddpm_info_picture(const char *path);

/* How many pictures a folder has, with formats and sizes of a sample of them. DDPM_ERROR_FORMAT
 * if it has none. */
ddpm_status ddpm_info_picture_folder(const char *path);

#endif
