/* The progress line: redrawn in place on a terminal, printed now and then elsewhere. All of it goes
 * to stderr, and remarks of the library do not cut it up. */
#ifndef DDPM_PROGRAM_PROGRESS_H
#define DDPM_PROGRAM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Rates are measured from the moment of ddpm_progress_start(), without the pauses. */
struct ddpm_progress {
    int64_t first, total; /* steps done before the start, and when all is done */
    double start, printed;
    double paused;           /* seconds that do not count for rates */
    double smoothed, weight; /* EMA of the loss and the sum of its weights */
    bool any;                /* something was printed */
};

void ddpm_progress_start(struct ddpm_progress *progress, int64_t first, int64_t total);

/* The training line after step `step` with `pictures` per step: step, loss, smoothed loss (EMA
 * 0.99, bias corrected), img/s, elapsed, time left. Printed when due, and at the last step. */
void ddpm_progress_train(struct ddpm_progress *progress, int64_t step, double loss,
                         int64_t pictures);

/* A bar with `what` before it. */
void ddpm_progress_bar(struct ddpm_progress *progress, const char *what, int64_t done);

/* Seconds that are left after `done` steps. */
double ddpm_progress_left(const struct ddpm_progress *progress, int64_t done);

/* One line of text on stderr, above the progress line. From any thread. */
void ddpm_progress_remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Leave the progress line as it is and begin a new one, before other output. */
void ddpm_progress_clear(void);

#endif
