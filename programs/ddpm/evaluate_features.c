/* Option --features. */
#include "evaluate_features.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "evaluation/features.h"
#include "evaluation/set.h"
#include "formats/file.h"

static bool is_weights_file(const char *path)
{
    static const char *const endings[] = {".safetensors", ".pth", ".pt"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; ++i)
        if (ddpm_ends_with(path, endings[i]))
            return true;
    return false;
}

/* --features takes NAME, a FILE of the network's weights, or `GENERATED.npy,REAL.npy`. */
ddpm_status ddpm_evaluate_features_read(struct ddpm_evaluate_features *features,
                                        const struct ddpm_arguments *arguments)
{
    const char *text = ddpm_arguments_get(arguments, "features");
    const char *comma = text ? strchr(text, ',') : NULL;
    *features = (struct ddpm_evaluate_features){.name = ddpm_features_at(0).name};
    if (!text)
        return DDPM_OK;
    if (comma) {
        features->name = NULL;
        DDPM_TRY(ddpm_format(&features->generated_file, "%.*s", (int)(comma - text), text));
        return ddpm_copy_string(&features->real_file, comma + 1);
    }
    for (size_t i = 0; i < ddpm_features_count(); ++i) {
        const struct ddpm_features_info info = ddpm_features_at(i);
        if (info.wants_network && is_weights_file(text))
            features->network_file = text;
        if (features->network_file || (!info.wants_network && strcmp(info.name, text) == 0)) {
            features->name = info.name;
            return DDPM_OK;
        }
    }
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option --features: got \"%.200s\", want builtin, a file of Inception's "
                      "weights (.safetensors, .pth, .pt) or GENERATED.npy,REAL.npy",
                      text);
}

ddpm_status ddpm_evaluate_features_open(struct ddpm_evaluate_features *features, bool wanted)
{
    if (!features->network_file)
        return DDPM_OK;
    if (!wanted)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --features: got the network %s, but features for both sets; "
                          "want pictures",
                          features->network_file);
    return ddpm_feature_network_open(features->network_file, &features->network);
}

/* Features per picture; 0 if there are none. */
static int64_t width_of_set(const struct ddpm_picture_set *set)
{
    return set->statistics.width > 0 ? set->statistics.width : set->rows > 0 ? set->width : 0;
}

ddpm_status ddpm_evaluate_features_check(const struct ddpm_evaluate_features *features,
                                         const struct ddpm_side *real,
                                         const struct ddpm_side *generated, int64_t drawn)
{
    const int64_t want = width_of_set(real->set);
    int64_t rows = drawn, width = features->name ? ddpm_features_find(features->name)->width : want;
    if (features->generated_file)
        DDPM_TRY(ddpm_side_look_at_features(features->generated_file, &rows, &width));
    if (generated->most > 0 && rows > generated->most)
        rows = generated->most; /* ddpm_side_give_features() uses the first ones */
    if (drawn > 0 && rows != drawn)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got features of %" PRId64 " pictures, want those of the %" PRId64
                          " to draw",
                          features->generated_file, rows, drawn);
    if ((generated->kind == DDPM_SIDE_PICTURES || generated->kind == DDPM_SIDE_MODEL) && want > 0 &&
        width != want)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "got features of width %" PRId64
                          " for the generated pictures and %" PRId64
                          " for the real ones, want the same",
                          width, want);
    return DDPM_OK;
}

void ddpm_evaluate_features_close(struct ddpm_evaluate_features *features)
{
    ddpm_feature_network_close(&features->network);
    free(features->generated_file);
    free(features->real_file);
}
