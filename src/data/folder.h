/* The pictures under a folder: files whose name ends as a picture's (data/endings.h), in any case,
 * in the folder and all below it. Files with other endings are counted in one remark; names that
 * begin with a dot are left out, and so are folders that ddpm wrote (own_output.h), with one
 * remark. Symbolic links are followed; a folder that is reached twice is visited once. The order is
 * that of the bytes of the relative paths: the same on every machine. */
#ifndef DDPM_DATA_FOLDER_H
#define DDPM_DATA_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct ddpm_folder_file {
    char *name; /* path relative to the folder, '/' between its parts */
    int64_t bytes;
};

struct ddpm_folder {
    char *path;
    struct ddpm_folder_file *files; /* [count], sorted by name */
    size_t count;
    size_t
        unreadable; /* folders and links that could not be followed; each was logged as a warning */
    uint64_t fingerprint; /* FNV-1a over every name, its closing 0 and its size as 8 bytes
                             little-endian */
};

/* Scan a folder; finding no picture is no failure. DDPM_ERROR_IO when `path` itself cannot be read.
 * On failure *folder is zeroed; otherwise free it with ddpm_folder_free(). */
ddpm_status ddpm_folder_scan(struct ddpm_folder *folder, const char *path);
void ddpm_folder_free(struct ddpm_folder *folder);

/* Path of file `index`, fresh memory to be freed with free(). */
ddpm_status ddpm_folder_file_path(const struct ddpm_folder *folder, size_t index, char **out);

/* FNV-1a, 64 bits: continue `hash` with more bytes, starting from DDPM_FNV64_START. */
#define DDPM_FNV64_START UINT64_C(0xCBF29CE484222325)
uint64_t ddpm_fnv64(uint64_t hash, const void *bytes, size_t count);

#endif
