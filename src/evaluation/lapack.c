/* Eigenvalues from LAPACK's C interface. */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>

#include "evaluation/matrix.h"

/* LAPACK_COL_MAJOR from lapacke.h. In these libraries lapack_int is 32 bits, like int. */
enum { COLUMN_MAJOR = 102 };
typedef int dsyevd_function(int layout, char job, char triangle, int n, double *a, int lda,
                            double *w);

static const char *const libraries[] = {"liblapacke.so.3", "libopenblas.so.0"};
static pthread_once_t looked = PTHREAD_ONCE_INIT;
static dsyevd_function *dsyevd;

static void look(void)
{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries && !dsyevd; ++i) {
        void *library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL); /* never closed */
        *(void **)&dsyevd = library ? dlsym(library, "LAPACKE_dsyevd") : NULL;
    }
}

bool ddpm_lapack_found(void)
{
    pthread_once(&looked, look);
    return dsyevd != NULL;
}

ddpm_status ddpm_eigenvalues(double *matrix, int64_t width, bool vectors, double *values)
{
    if (!ddpm_lapack_found())
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "eigenvalues need LAPACK: install liblapacke");
    if (width > INT_MAX)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "got a matrix with %lld rows, want fewer",
                          (long long)width);
    /* LAPACK's columns are our rows; for a symmetric matrix that makes no difference. */
    const int n = (int)width;
    const int code = dsyevd(COLUMN_MAJOR, vectors ? 'V' : 'N', 'U', n, matrix, n, values);
    if (code == 0)
        return DDPM_OK;
    return code <= -1010 /* LAPACK_WORK_MEMORY_ERROR */
               ? ddpm_raise_memory((size_t)width * (size_t)width * sizeof(double), "eigenvalues")
               : ddpm_raise(DDPM_ERROR_NOT_FINITE,
                            "cannot compute the eigenvalues of a covariance (LAPACK's dsyevd "
                            "returned %d)",
                            code);
}
