/* What a file is, judged by its first bytes. */
#ifndef DDPM_PROGRAM_FILE_KIND_H
#define DDPM_PROGRAM_FILE_KIND_H

enum ddpm_file_kind {
    DDPM_FILE_UNREADABLE, /* errno says why */
    DDPM_FILE_SPECIAL,    /* a device or pipe, which is not read: that might never end */
    DDPM_FILE_EMPTY,
    DDPM_FILE_WEIGHTS, /* .safetensors */
    DDPM_FILE_ARRAY,   /* .npy */
    DDPM_FILE_ZIP,     /* .npz or .pth */
    DDPM_FILE_JSON,
    DDPM_FILE_LOG, /* log.csv */
    DDPM_FILE_PICTURE,
    DDPM_FILE_UNKNOWN,
};

enum ddpm_file_kind ddpm_file_kind(const char *path);

/* "a picture" */
const char *ddpm_file_kind_text(enum ddpm_file_kind kind);

#endif
