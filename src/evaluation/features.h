/* The table of features: the numbers a picture is turned into before sets are compared. */
#ifndef DDPM_EVALUATION_FEATURES_H
#define DDPM_EVALUATION_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct ddpm_feature_network;

/* One row of the table (features.c). */
struct ddpm_features_kind {
    const char *name, *help;
    int64_t width;
    bool wants_network; /* if not, `network` is NULL below */
    /* Bytes of working memory for one picture of this size. */
    size_t (*room)(const struct ddpm_feature_network *network, int height, int width, int channels);
    /* Compute the features of a picture uint8 [height, width, channels], channels 1, 3 or 4. They
     * depend only on the network and the picture. */
    ddpm_status (*compute)(const struct ddpm_feature_network *network, const uint8_t *pixels,
                           int height, int width, int channels, void *room, float *out);
};

extern const struct ddpm_features_kind ddpm_features_builtin, ddpm_features_inception;

/* The row with this name, or NULL. */
const struct ddpm_features_kind *ddpm_features_find(const char *name);

#endif
