/* The pictures of a run. */
#include "run_pictures.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "formats/file.h"
#include "progress.h"
#include "run_folder.h"

ddpm_status ddpm_run_pictures_settle(const struct ddpm_arguments *arguments,
                                     struct ddpm_config *config, const char *run)
{
    static const char *const options[] = {"data", "validation"};
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) {
        const bool given = ddpm_arguments_has_setting(arguments, options[i]);
        DDPM_TRY(ddpm_run_folder_settle_path(config, options[i], given ? NULL : run));
    }
    return DDPM_OK;
}

static ddpm_status hashes_path(char path[PATH_MAX], const char *run)
{
    return ddpm_path_format(path, PATH_MAX, "%s/hashes.npy", run);
}

ddpm_status ddpm_run_pictures_open(const char *run, struct ddpm_config *config,
                                   struct ddpm_data **out)
{
    char hashes[PATH_MAX];
    DDPM_TRY(hashes_path(hashes, run));
    DDPM_TRY(ddpm_data_open(config, out));
    DDPM_TRY(ddpm_data_split(*out, config, hashes));
    return ddpm_data_measure(*out, config);
}

ddpm_status ddpm_run_pictures_keep(const char *run, const struct ddpm_data *data)
{
    char hashes[PATH_MAX];
    DDPM_TRY(hashes_path(hashes, run));
    return ddpm_data_keep_hashes(data, hashes);
}

void ddpm_run_pictures_describe(const struct ddpm_data *data, const struct ddpm_config *config,
                                int64_t per_step)
{
    char used[DDPM_TEXT_BYTES], size[64] = "", skipped[80] = "";
    const int64_t all = ddpm_data_count(data), bad = ddpm_data_skipped(data);
    (void)ddpm_config_get(config, "image-size", size, sizeof size);
    if (bad > 0)
        snprintf(skipped, sizeof skipped, "; %" PRId64 " of %" PRId64 " are skipped", bad, all);
    ddpm_progress_remark("pictures  %s of size %s, %" PRId64 " per step%s",
                         ddpm_count_text(used, all - bad), size, per_step, skipped);
    if (all - bad < DDPM_FEW_PICTURES)
        ddpm_progress_remark("          " DDPM_FEW_PICTURES_TEXT);
}
