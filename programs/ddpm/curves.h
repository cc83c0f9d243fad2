/* What the curves of validation say: which step is the best so far, and whether the run has begun
 * to learn its pictures by heart. A pure function of the measurements in their order. */
#ifndef DDPM_PROGRAM_CURVES_H
#define DDPM_PROGRAM_CURVES_H

#include <stdbool.h>
#include <stdint.h>

/* One measurement: the loss on pictures set aside, and on pictures trained on. */
struct ddpm_measurement {
    int64_t step;
    double validation, training;
};

/* Zero before the first. */
struct ddpm_curves {
    int64_t count;
    struct ddpm_measurement best, last;
    int64_t since;  /* measurements after the best */
    int64_t parted; /* the step from which on the curves part; 0: they have not */
};

/* Add one. True where the validation loss is lower than ever before. */
bool ddpm_curves_add(struct ddpm_curves *curves, const struct ddpm_measurement *measurement);

/* So many measurements without a new best, and the curves may part. */
enum { DDPM_CURVES_PART_AFTER = 5 };

#endif
