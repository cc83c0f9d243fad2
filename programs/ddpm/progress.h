/* The progress line. On a terminal it is redrawn in place, and parts are dropped to fit any width
 * from 20 columns; elsewhere it is printed now and then. Everything goes to stderr, and messages of
 * the library do not break the line. */
#ifndef DDPM_PROGRAM_PROGRESS_H
#define DDPM_PROGRAM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Rates count from ddpm_progress_start() or ddpm_progress_change(), without pauses. */
struct ddpm_progress {
    int64_t first, total; /* steps done before rates count, and at the end */
    double start, printed;
    double begun;            /* when rates began to count */
    double paused;           /* seconds since then that rates leave out */
    double first_seconds;    /* of the first step, which is slower than the others */
    double smoothed, weight; /* EMA of the loss and the sum of its weights */
    bool any;                /* something was printed */
};

void ddpm_progress_start(struct ddpm_progress *progress, int64_t first, int64_t total);

/* After `done` steps, whose cost differs from that of later ones: rates count from here. */
void ddpm_progress_change(struct ddpm_progress *progress, int64_t done);

/* Is stderr a terminal that can redraw a line? Not a file, a pipe or TERM=dumb. */
bool ddpm_progress_on_terminal(void);

/* The training line after step `step` with `pictures` per step: step, loss, smoothed loss (EMA
 * 0.99, bias corrected), img/s, elapsed, and `left` seconds left, unless negative (unknown).
 * Printed when due and at the last step. */
void ddpm_progress_train(struct ddpm_progress *progress, int64_t step, double loss,
                         int64_t pictures, double left);

/* A bar, labelled `what`. */
void ddpm_progress_bar(struct ddpm_progress *progress, const char *what, int64_t done);

/* *seconds per step, without pauses. False if it is too early to tell. */
bool ddpm_progress_rate(struct ddpm_progress *progress, int64_t done, double *seconds);

/* Print one line on stderr, above the progress line, with control characters escaped
 * (core/escape.h). Can be called from any thread. */
void ddpm_progress_remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, even if only warnings are wanted. */
void ddpm_progress_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How much goes to stderr. Quiet: warnings only. Verbose: also progress every second if it is not
 * redrawn. Set it before starting other threads. */
enum ddpm_talk { DDPM_TALK_USUAL, DDPM_TALK_QUIET, DDPM_TALK_VERBOSE };
void ddpm_progress_talk(enum ddpm_talk talk);
bool ddpm_progress_is_verbose(void);

/* Finish the progress line and start a new one, before other output. */
void ddpm_progress_clear(void);

#endif
