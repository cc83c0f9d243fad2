/* The options in a configuration file, for ddpm info. */
#include "info_options.h"

#include <stdio.h>
#include <string.h>

#include <ddpm/config.h>

#include "progress.h"
#include "streams.h"

/* The options whose values `config` has, but not `usual`; NULL: all. */
static ddpm_status print_rows(const struct ddpm_config *config, const struct ddpm_config *usual)
{
    const char *group = "";
    for (size_t i = 0; i < ddpm_option_count(); ++i) {
        const struct ddpm_option_info info = ddpm_option_at(i);
        char name[64], value[2048], other[2048];
        DDPM_TRY(ddpm_config_get(config, info.name, value, sizeof value));
        if (usual)
            DDPM_TRY(ddpm_config_get(usual, info.name, other, sizeof other));
        if (usual && strcmp(value, other) == 0)
            continue;
        if (strcmp(group, info.group) != 0)
            printf("%s\n", info.group);
        group = info.group;
        snprintf(name, sizeof name, "  %-20s", info.name);
        ddpm_print_text(name, value, "\n");
    }
    return DDPM_OK;
}

ddpm_status ddpm_info_options(const char *path)
{
    struct ddpm_config *config;
    DDPM_TRY(ddpm_config_create(&config));
    ddpm_status status = ddpm_config_read(config, path);
    if (status == DDPM_OK)
        status = print_rows(config, NULL);
    ddpm_config_destroy(&config);
    return status;
}

ddpm_status ddpm_info_changed_options(const char *path)
{
    struct ddpm_config *config, *usual = NULL;
    if (ddpm_progress_is_verbose())
        return ddpm_info_options(path);
    DDPM_TRY(ddpm_config_create(&config));
    ddpm_status status = ddpm_config_create(&usual);
    if (status == DDPM_OK)
        status = ddpm_config_read(config, path);
    if (status == DDPM_OK)
        printf("options     those that differ from the defaults; --verbose lists all\n");
    if (status == DDPM_OK)
        status = print_rows(config, usual);
    ddpm_config_destroy(&usual);
    ddpm_config_destroy(&config);
    return status;
}
