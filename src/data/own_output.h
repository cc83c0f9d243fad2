/* Folders that ddpm itself wrote. They are not training pictures, even inside the training
 * folder. */
#ifndef DDPM_DATA_OWN_OUTPUT_H
#define DDPM_DATA_OWN_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* Is the folder `path`, which holds `names` (sorted), a run of ddpm train, or a folder that holds
 * only pictures drawn by it, by ddpm sample or for a trajectory? False for a folder that cannot be
 * read. */
bool ddpm_is_own_output(const char *path, char *const *names, size_t count);

/* The same for a folder that has not been listed yet. If ddpm wrote it, its grid.png is not one of
 * the pictures. Fails with any error of listing it. */
ddpm_status ddpm_folder_is_own_output(const char *path, bool *own);

#endif
