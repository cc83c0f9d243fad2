/* What the validation of a run shows. */
#include "info_validation.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/config_json.h"
#include "formats/file.h"
#include "run_validation.h"
#include "training/patches.h"

/* How many steps of the run with this validation.csv train on patches; 0 if that is unknown. */
static int64_t patch_steps_of(const char *path)
{
    char file[PATH_MAX];
    struct ddpm_config *config;
    int64_t steps = 0;
    const size_t folder = strlen(path) - strlen("validation.csv");
    if (snprintf(file, sizeof file, "%.*sconfig.json", (int)folder, path) >= (int)sizeof file ||
        ddpm_config_create(&config) != DDPM_OK)
        return 0;
    if (ddpm_path_exists(file) && ddpm_config_read(config, file) == DDPM_OK) {
        ddpm_patches_settle(config);
        steps = ddpm_patch_steps(&config->training);
    }
    ddpm_config_destroy(&config);
    return steps;
}

ddpm_status ddpm_info_validation(const char *path)
{
    struct ddpm_curves curves = {.patches = patch_steps_of(path)};
    FILE *file = fopen(path, "r");
    long end;
    if (!file)
        return ddpm_raise_errno("%s: cannot be read", path);
    ddpm_status status = ddpm_run_validation_read(file, INT64_MAX, &curves, &end);
    (void)fclose(file);
    if (status != DDPM_OK || curves.count == 0)
        return status;
    printf("validation  best loss %.5g at step %" PRId64 ", last %.5g at step %" PRId64,
           curves.best.validation, curves.best.step, curves.last.validation, curves.last.step);
    if (curves.parted)
        printf("; the curves have diverged since step %" PRId64, curves.parted);
    printf("\n");
    return DDPM_OK;
}
