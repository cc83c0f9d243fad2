/* The table of features. To add a kind: a file, and a row here. */
#include "evaluation/features.h"

#include <string.h>

#include <ddpm/evaluate.h>

static const struct ddpm_features_kind *const kinds[] = {
    &ddpm_features_builtin,
    &ddpm_features_inception,
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const struct ddpm_features_kind *ddpm_features_find(const char *name)
{
    for (size_t i = 0; i < KINDS; ++i)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

size_t ddpm_features_count(void)
{
    return KINDS;
}

struct ddpm_features_info ddpm_features_at(size_t index)
{
    if (index >= KINDS)
        return (struct ddpm_features_info){0};
    return (struct ddpm_features_info){
        .name = kinds[index]->name,
        .help = kinds[index]->help,
        .width = kinds[index]->width,
        .wants_network = kinds[index]->wants_network,
    };
}
