/* What the validation curves show: the best step so far, and whether the model has begun to
 * overfit. Depends only on the measurements and their order. */
#ifndef DDPM_PROGRAM_CURVES_H
#define DDPM_PROGRAM_CURVES_H

#include <stdbool.h>
#include <stdint.h>

/* One measurement: the loss on held-out pictures and on training pictures. */
struct ddpm_measurement {
    int64_t step;
    double validation, training;
};

/* Zero-initialise it before the first measurement, except for `patches`. */
struct ddpm_curves {
    int64_t patches; /* first steps of the run, on patches: a measurement there can be the best, but
                        does not count for `since` or `parted` */
    int64_t count;
    struct ddpm_measurement best, last;
    struct ddpm_measurement reference; /* the best on whole pictures */
    int64_t since;                     /* measurements after the reference */
    int64_t parted; /* the step from which the curves diverge; 0: they have not */
};

/* Add a measurement. True if its validation loss is the lowest so far. */
bool ddpm_curves_add(struct ddpm_curves *curves, const struct ddpm_measurement *measurement);

/* The curves can only diverge after this many measurements without a new best. */
enum { DDPM_CURVES_PART_AFTER = 5 };

#endif
