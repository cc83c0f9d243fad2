/* Metrics from the distances between features: the kernel distance (Bińkowski et al. 2018),
 * precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), and
 * the nearest pictures. */
#ifndef DDPM_EVALUATION_MANIFOLD_H
#define DDPM_EVALUATION_MANIFOLD_H

#include "evaluation/distances.h"

/* Indices of the five metrics in the results. */
enum ddpm_metric {
    DDPM_METRIC_KERNEL,
    DDPM_METRIC_PRECISION,
    DDPM_METRIC_RECALL,
    DDPM_METRIC_DENSITY,
    DDPM_METRIC_COVERAGE,
    DDPM_METRICS,
};

struct ddpm_manifold {
    struct ddpm_estimate metrics[DDPM_METRICS];
    struct ddpm_neighbour *real_real;      /* [real], the nearest other real one of each */
    struct ddpm_neighbour *generated_real; /* [generated], the nearest real one of each */
    struct ddpm_neighbour *generated_own;  /* [generated], the nearest other generated one */
    /* The nearest of as many others as the smaller set has (ddpm_follows()): distances only. */
    struct ddpm_neighbour *real_few, *generated_few;
};

ddpm_status ddpm_new_neighbours(struct ddpm_neighbour **out, int64_t count);

/* Rows of the same width, at least DDPM_EVALUATE_LEAST in each set. For the watch this is three
 * parts, one for each pass, with one unit per row. Free with ddpm_manifold_free(), after failures
 * too. */
ddpm_status ddpm_manifold_measure(const struct ddpm_rows *generated, const struct ddpm_rows *real,
                                  int threads, struct ddpm_watch *watch, struct ddpm_manifold *out);
/* For each of `rows`, the nearest of `columns`, by Euclidean distance. */
ddpm_status ddpm_feature_neighbours(const struct ddpm_rows *rows, const struct ddpm_rows *columns,
                                    int threads, const struct ddpm_watch *watch, const char *what,
                                    struct ddpm_neighbour *out);
void ddpm_manifold_free(struct ddpm_manifold *manifold);

#endif
