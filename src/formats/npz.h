/* NumPy's .npz files: zip files of .npy members, here fp64 arrays. Reads stored or deflated members
 * (numpy.savez, numpy.savez_compressed) and writes stored ones, through libzip. In a build without
 * it every call fails with DDPM_ERROR_UNSUPPORTED. */
#ifndef DDPM_FORMATS_NPZ_H
#define DDPM_FORMATS_NPZ_H

#include "core/error.h"
#include "formats/npy.h"

struct ddpm_npz_array {
    const char *name; /* "mu", for the member mu.npy */
    int rank;
    int64_t shape[DDPM_NPY_MAX_RANK];
    double *values;
};

/* Limits for a file and for a member, in bytes. */
#define DDPM_NPZ_LIMIT ((size_t)2 << 30)

/* Write the arrays, atomically. Equal arguments give equal bytes. */
ddpm_status ddpm_npz_write(const char *path, const struct ddpm_npz_array *arrays, size_t count);

/* Read the arrays with these names, <f8 or <f4; other arrays in the file are ignored. Free their
 * values with free(); they are NULL on failure. DDPM_ERROR_FORMAT for a file that is not an .npz
 * file or lacks one of them. */
ddpm_status ddpm_npz_read(const char *path, struct ddpm_npz_array *arrays, size_t count);

/* The same from memory; `label` is the prefix of error texts. */
ddpm_status ddpm_npz_parse(const void *bytes, size_t size, const char *label,
                           struct ddpm_npz_array *arrays, size_t count);

#endif
