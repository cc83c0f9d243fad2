/* Option --features: where the features come from that are compared. */
#ifndef DDPM_PROGRAM_EVALUATE_FEATURES_H
#define DDPM_PROGRAM_EVALUATE_FEATURES_H

#include "evaluate_side.h"

struct ddpm_evaluate_features {
    const char *name;                 /* to compute from pictures; NULL: none */
    const char *network_file;         /* with the weights for that; NULL: none */
    char *generated_file, *real_file; /* of given features; NULL: none */
    struct ddpm_feature_network *network;
};

/* Read the option; close it with ddpm_evaluate_features_close(), even after a failure. */
ddpm_status ddpm_evaluate_features_read(struct ddpm_evaluate_features *features,
                                        const struct ddpm_arguments *arguments);

/* Open the network, if there is one. DDPM_ERROR_ARGUMENT if there are no pictures to run it on. */
ddpm_status ddpm_evaluate_features_open(struct ddpm_evaluate_features *features, bool wanted);

/* Once the real pictures are read, check that the generated ones will have features of the same
 * width. `drawn` pictures are still to be drawn, which takes long; 0: none. */
ddpm_status ddpm_evaluate_features_check(const struct ddpm_evaluate_features *features,
                                         const struct ddpm_side *real,
                                         const struct ddpm_side *generated, int64_t drawn);

void ddpm_evaluate_features_close(struct ddpm_evaluate_features *features);

#endif
