/* Means and covariances in the format of pytorch-fid's files. */
#include <math.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "evaluation/set.h"
#include "formats/npz.h"

static ddpm_status write_statistics(const struct ddpm_statistics *statistics, const char *path)
{
    const int64_t width = statistics->width;
    const struct ddpm_npz_array arrays[] = {
        {.name = "mu", .rank = 1, .shape = {width}, .values = statistics->mean},
        {.name = "sigma", .rank = 2, .shape = {width, width}, .values = statistics->covariance},
    };
    return ddpm_npz_write(path, arrays, 2);
}

ddpm_status ddpm_picture_set_write_statistics(const struct ddpm_picture_set *set, const char *path)
{
    DDPM_REQUIRE(set);
    DDPM_REQUIRE(path);
    struct ddpm_statistics statistics = {0};
    const struct ddpm_rows rows = {set->features, set->rows, set->width};
    if (set->statistics.width > 0)
        return write_statistics(&set->statistics, path);
    if (set->rows < 2)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got features of %lld pictures, want at least 2 for a covariance",
                          (long long)set->rows);
    ddpm_status status = ddpm_statistics_allocate(&statistics, set->width);
    if (status == DDPM_OK)
        status =
            ddpm_covariance(&rows, set->options.threads, statistics.mean, statistics.covariance);
    if (status == DDPM_OK)
        status = write_statistics(&statistics, path);
    ddpm_statistics_free(&statistics);
    return status;
}

static ddpm_status check_arrays(const struct ddpm_npz_array *mean,
                                const struct ddpm_npz_array *covariance, const char *path)
{
    const int64_t width = mean->shape[0];
    if (mean->rank != 1 || width < 1 || covariance->rank != 2 || covariance->shape[0] != width ||
        covariance->shape[1] != width)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got mu of rank %d and sigma of rank %d, want mu [D] and sigma [D,D]",
                          path, mean->rank, covariance->rank);
    for (int64_t i = 0; i < width * (width + 1); ++i) {
        const double value = i < width ? mean->values[i] : covariance->values[i - width];
        if (!isfinite(value))
            return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got %g in %s, want finite numbers", path,
                              value, i < width ? "mu" : "sigma");
    }
    return DDPM_OK;
}

ddpm_status ddpm_picture_set_read_statistics(const char *path, struct ddpm_picture_set **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(path);
    const struct ddpm_picture_set_options options = {.size = sizeof options};
    struct ddpm_npz_array arrays[] = {{.name = "mu"}, {.name = "sigma"}};
    DDPM_TRY(ddpm_npz_read(path, arrays, 2));
    ddpm_status status = check_arrays(&arrays[0], &arrays[1], path);
    if (status == DDPM_OK)
        status = ddpm_picture_set_create(&options, out);
    if (status != DDPM_OK) {
        free(arrays[0].values);
        free(arrays[1].values);
        return status;
    }
    (*out)->statistics = (struct ddpm_statistics){
        .width = arrays[0].shape[0],
        .mean = arrays[0].values,
        .covariance = arrays[1].values,
    };
    return DDPM_OK;
}
