/* The progress line. */
#include "progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

#define SMOOTHING 0.99
#define TERMINAL_SECONDS 0.1
#define PLAIN_SECONDS 10.0
enum { LINE_BYTES = 256, BAR_WIDTH = 30 };

/* What stands on the terminal's last line now. */
static struct {
    pthread_mutex_t mutex;
    char line[LINE_BYTES];
} shown = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static bool on_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

static void show(const char *line)
{
    pthread_mutex_lock(&shown.mutex);
    if (on_terminal()) {
        snprintf(shown.line, sizeof shown.line, "%s", line);
        fprintf(stderr, "\r%s\033[K", shown.line);
    } else {
        fprintf(stderr, "%s\n", line);
    }
    fflush(stderr);
    pthread_mutex_unlock(&shown.mutex);
}

void ddpm_progress_clear(void)
{
    pthread_mutex_lock(&shown.mutex);
    if (shown.line[0])
        fprintf(stderr, "\n");
    shown.line[0] = 0;
    pthread_mutex_unlock(&shown.mutex);
}

void ddpm_progress_remark(const char *format, ...)
{
    va_list arguments;
    pthread_mutex_lock(&shown.mutex);
    if (shown.line[0])
        fprintf(stderr, "\r\033[K");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n%s", shown.line);
    fflush(stderr);
    pthread_mutex_unlock(&shown.mutex);
}

void ddpm_progress_start(struct ddpm_progress *progress, int64_t first, int64_t total)
{
    *progress = (struct ddpm_progress){.first = first, .total = total, .start = ddpm_clock()};
}

static double working_seconds(const struct ddpm_progress *progress)
{
    double seconds = ddpm_clock() - progress->start - progress->paused;
    return seconds > 1e-9 ? seconds : 1e-9;
}

double ddpm_progress_left(const struct ddpm_progress *progress, int64_t done)
{
    int64_t here = done - progress->first;
    return here > 0 ? working_seconds(progress) / (double)here * (double)(progress->total - done)
                    : 0;
}

/* Is it time for another line? */
static bool due(struct ddpm_progress *progress, int64_t done)
{
    double now = ddpm_clock(), pause = on_terminal() ? TERMINAL_SECONDS : PLAIN_SECONDS;
    if (progress->any && now - progress->printed < pause && done != progress->total)
        return false;
    progress->any = true;
    progress->printed = now;
    return true;
}

void ddpm_progress_train(struct ddpm_progress *progress, int64_t step, double loss,
                         int64_t pictures)
{
    progress->smoothed = SMOOTHING * progress->smoothed + (1 - SMOOTHING) * loss;
    progress->weight = SMOOTHING * progress->weight + (1 - SMOOTHING);
    if (!due(progress, step))
        return;
    char line[LINE_BYTES], elapsed_text[DDPM_TEXT_BYTES], left_text[DDPM_TEXT_BYTES];
    snprintf(line, sizeof line, "step %lld/%lld  loss %.4f  smoothed %.4f  %.1f img/s  %s  left %s",
             (long long)step, (long long)progress->total, loss,
             progress->smoothed / progress->weight,
             (double)((step - progress->first) * pictures) / working_seconds(progress),
             ddpm_time_text(elapsed_text, ddpm_clock() - progress->start),
             ddpm_time_text(left_text, ddpm_progress_left(progress, step)));
    show(line);
}

void ddpm_progress_bar(struct ddpm_progress *progress, const char *what, int64_t done)
{
    if (!due(progress, done))
        return;
    char line[LINE_BYTES], bar[BAR_WIDTH + 1], left[DDPM_TEXT_BYTES];
    int64_t filled = progress->total > 0 ? done * BAR_WIDTH / progress->total : BAR_WIDTH;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(filled > BAR_WIDTH ? BAR_WIDTH : filled));
    bar[BAR_WIDTH] = 0;
    snprintf(line, sizeof line, "%s [%s] %lld/%lld  left %s", what, bar, (long long)done,
             (long long)progress->total, ddpm_time_text(left, ddpm_progress_left(progress, done)));
    show(line);
}
