/* The progress line: redrawn in place on a terminal, where it fits any width from 20 columns by
 * leaving parts out; printed now and then elsewhere. All of it goes to stderr, and remarks of the
 * library do not cut it up. */
#ifndef DDPM_PROGRAM_PROGRESS_H
#define DDPM_PROGRAM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Rates are measured from the moment of ddpm_progress_start(), without the pauses. */
struct ddpm_progress {
    int64_t first, total; /* steps done before the start, and when all is done */
    double start, printed;
    double paused;           /* seconds that do not count for rates */
    double first_seconds;    /* of the first step, which is slower than the others */
    double smoothed, weight; /* EMA of the loss and the sum of its weights */
    bool any;                /* something was printed */
};

void ddpm_progress_start(struct ddpm_progress *progress, int64_t first, int64_t total);

/* Does stderr show text in place? Not a file, a pipe or TERM=dumb. */
bool ddpm_progress_on_terminal(void);

/* The training line after step `step` with `pictures` per step: step, loss, smoothed loss (EMA
 * 0.99, bias corrected), img/s, elapsed, and `left` seconds that are left; negative: not known.
 * Printed when due, and at the last step. */
void ddpm_progress_train(struct ddpm_progress *progress, int64_t step, double loss,
                         int64_t pictures, double left);

/* A bar with `what` before it. */
void ddpm_progress_bar(struct ddpm_progress *progress, const char *what, int64_t done);

/* *seconds is what a step takes, pauses apart. False while that is too early to say. */
bool ddpm_progress_rate(struct ddpm_progress *progress, int64_t done, double *seconds);

/* One line of text on stderr, above the progress line, control characters written out
 * (core/escape.h). From any thread. */
void ddpm_progress_remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, even when only warnings are wanted. */
void ddpm_progress_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How much is said on stderr: quiet is warnings alone, without remarks and progress; verbose shows
 * progress every second where it is not redrawn. To be set before other threads are started. */
enum ddpm_talk { DDPM_TALK_USUAL, DDPM_TALK_QUIET, DDPM_TALK_VERBOSE };
void ddpm_progress_talk(enum ddpm_talk talk);
bool ddpm_progress_is_verbose(void);

/* Leave the progress line as it is and begin a new one, before other output. */
void ddpm_progress_clear(void);

#endif
