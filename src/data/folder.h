/* The pictures under a folder: files with a picture's ending (data/endings.h), in upper or lower
 * case, in the folder and its subfolders. One log message counts the files with other endings.
 * Names that start with a dot are skipped, and so are folders that ddpm wrote (own_output.h), with
 * one log message. Symbolic links are followed; a folder that is reached twice is visited once.
 * Files are sorted by their relative paths, bytewise, so the order is the same on every machine. */
#ifndef DDPM_DATA_FOLDER_H
#define DDPM_DATA_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "data/endings.h"

struct ddpm_folder_file {
    char *name; /* path relative to the folder, '/' between its parts */
    int64_t bytes;
};

struct ddpm_folder {
    char *path;
    struct ddpm_folder_file *files; /* [count], sorted by name */
    size_t count;
    size_t unreadable;    /* unreadable folders and broken links, each logged as a warning */
    uint64_t fingerprint; /* FNV-1a over every name, its terminating 0 and its size as 8 bytes
                             little-endian */
    struct ddpm_endings ignored; /* files that are not pictures */
};

/* Scan a folder; finding no picture is not an error. DDPM_ERROR_IO if `path` itself cannot be read.
 * On failure *folder is zeroed; otherwise free it with ddpm_folder_free(). */
ddpm_status ddpm_folder_scan(struct ddpm_folder *folder, const char *path);
void ddpm_folder_free(struct ddpm_folder *folder);

/* Path of file `index`; free it with free(). */
ddpm_status ddpm_folder_file_path(const struct ddpm_folder *folder, size_t index, char **out);

#endif
