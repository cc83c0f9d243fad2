/* Folders that ddpm itself has written: they are no training pictures, even inside the folder of
 * those. */
#ifndef DDPM_DATA_OWN_OUTPUT_H
#define DDPM_DATA_OWN_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* Is the folder `path`, which holds `names` (sorted), a run of ddpm train, or a folder with nothing
 * but pictures that it, ddpm sample or a trajectory drew? A folder that cannot be read is not. */
bool ddpm_is_own_output(const char *path, char *const *names, size_t count);

/* The same of a folder that has not been listed yet. Its grid.png, if it is one, is none of its
 * pictures. Any error of listing it. */
ddpm_status ddpm_folder_is_own_output(const char *path, bool *own);

#endif
