/* NumPy's .npz files: zip files of .npy members, of fp64 arrays here. They are read stored or
 * deflated (numpy.savez, numpy.savez_compressed) and written stored, by libzip. A build without it
 * refuses them: DDPM_ERROR_UNSUPPORTED. */
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

/* Largest file, and largest member, in bytes. */
#define DDPM_NPZ_LIMIT ((size_t)2 << 30)

/* Write these arrays, atomically. Equal arguments give equal bytes. */
ddpm_status ddpm_npz_write(const char *path, const struct ddpm_npz_array *arrays, size_t count);

/* Read the arrays of these names, <f8 or <f4; others in the file are passed over. Their values are
 * to be freed with free(), and NULL on failure. DDPM_ERROR_FORMAT for a file that is no .npz, or
 * lacks one of them. */
ddpm_status ddpm_npz_read(const char *path, struct ddpm_npz_array *arrays, size_t count);

/* The same from memory; `label` stands before error texts. */
ddpm_status ddpm_npz_parse(const void *bytes, size_t size, const char *label,
                           struct ddpm_npz_array *arrays, size_t count);

#endif
