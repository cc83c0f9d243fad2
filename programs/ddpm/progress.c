/* The progress line. */
#include "progress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/escape.h"
#include "program.h"

#define SMOOTHING 0.99
#define TERMINAL_SECONDS 0.1
#define PLAIN_SECONDS 10.0
#define VERBOSE_SECONDS 1.0
/* How many steps it takes before the rate predicts the remaining time: the first one is slower. */
enum { WARM_UP_STEPS = 5 };
enum { LINE_BYTES = 256, PIECE_BYTES = 64, BAR_WIDTH = 30, LEAST_BAR = 5, REMARK_BYTES = 4096 };
enum { USUAL_COLUMNS = 80, LEAST_COLUMNS = 20 };

/* What the terminal's last line shows now. */
static struct {
    pthread_mutex_t mutex;
    char line[LINE_BYTES];
} shown = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static enum ddpm_talk talk;

void ddpm_progress_talk(enum ddpm_talk wanted)
{
    talk = wanted;
}

bool ddpm_progress_is_verbose(void)
{
    return talk == DDPM_TALK_VERBOSE;
}

bool ddpm_progress_on_terminal(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && !(kind && strcmp(kind, "dumb") == 0);
}

/* How many characters fit on a line. Asked every time, because windows are resized. A character
 * in the terminal's last column may already wrap. */
static size_t line_width(void)
{
    struct winsize size = {0};
    if (!ddpm_progress_on_terminal())
        return LINE_BYTES - 1;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        size.ws_col = USUAL_COLUMNS;
    const size_t columns = size.ws_col < LEAST_COLUMNS ? LEAST_COLUMNS : size.ws_col;
    return columns < LINE_BYTES ? columns - 1 : LINE_BYTES - 1;
}

static void show(const char *line)
{
    pthread_mutex_lock(&shown.mutex);
    if (ddpm_progress_on_terminal()) {
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

static void say(const char *format, va_list arguments)
{
    char text[REMARK_BYTES], line[REMARK_BYTES];
    vsnprintf(text, sizeof text, format, arguments);
    ddpm_escape(line, sizeof line, text);
    const int width = (int)line_width();
    pthread_mutex_lock(&shown.mutex);
    fprintf(stderr, "%s%s\n%.*s", shown.line[0] ? "\r\033[K" : "", line, width, shown.line);
    fflush(stderr);
    pthread_mutex_unlock(&shown.mutex);
}

void ddpm_progress_remark(const char *format, ...)
{
    va_list arguments;
    if (talk == DDPM_TALK_QUIET)
        return;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void ddpm_progress_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void ddpm_progress_start(struct ddpm_progress *progress, int64_t first, int64_t total)
{
    const double now = ddpm_now();
    *progress = (struct ddpm_progress){.first = first, .total = total, .start = now, .begun = now};
}

void ddpm_progress_change(struct ddpm_progress *progress, int64_t done)
{
    progress->first = done;
    progress->begun = ddpm_now();
    progress->paused = 0;
}

static double working_seconds(const struct ddpm_progress *progress)
{
    double seconds = ddpm_now() - progress->begun - progress->paused;
    return seconds > 1e-9 ? seconds : 1e-9;
}

/* Seconds per step, without the first step once there is another; 0 before any. */
static double step_seconds(struct ddpm_progress *progress, int64_t done)
{
    const int64_t here = done - progress->first;
    const double seconds = working_seconds(progress);
    if (here == 1)
        progress->first_seconds = seconds;
    if (here <= 1)
        return here == 1 ? seconds : 0;
    const double others = seconds - progress->first_seconds;
    return (others > 1e-9 ? others : 1e-9) / (double)(here - 1);
}

bool ddpm_progress_rate(struct ddpm_progress *progress, int64_t done, double *seconds)
{
    *seconds = step_seconds(progress, done);
    return done - progress->first >= WARM_UP_STEPS || done >= progress->total;
}

static double bar_left(const struct ddpm_progress *progress, int64_t done)
{
    const int64_t here = done - progress->first;
    return here > 0 ? working_seconds(progress) / (double)here * (double)(progress->total - done)
                    : 0;
}

/* Is it time for another line? */
static bool due(struct ddpm_progress *progress, int64_t done)
{
    double now = ddpm_now();
    double pause = ddpm_progress_on_terminal() ? TERMINAL_SECONDS
                   : talk == DDPM_TALK_VERBOSE ? VERBOSE_SECONDS
                                               : PLAIN_SECONDS;
    if (talk == DDPM_TALK_QUIET)
        return false;
    if (progress->any && now - progress->printed < pause && done != progress->total)
        return false;
    progress->any = true;
    progress->printed = now;
    return true;
}

/* A part of the line. If the line is too long, parts of high rank go first. */
struct piece {
    int rank;
    char text[PIECE_BYTES];
};

/* Join the parts, dropping the least important until the rest fits. */
static void join(char line[LINE_BYTES], const struct piece *pieces, int count, size_t width)
{
    for (int most = count - 1; most >= 0; --most) {
        size_t used = 0;
        line[0] = 0;
        for (int i = 0; i < count; ++i)
            if (pieces[i].rank <= most && pieces[i].text[0] && used < LINE_BYTES)
                used += (size_t)snprintf(line + used, LINE_BYTES - used, "%s%s", used ? "  " : "",
                                         pieces[i].text);
        if (used <= width)
            return;
    }
    line[width] = 0;
}

/* "step 12/345", or shorter if that is too long. */
static void count_text(char out[PIECE_BYTES], const char *word, int64_t done, int64_t total,
                       size_t width)
{
    const int used =
        snprintf(out, PIECE_BYTES, "%s%lld/%lld", word, (long long)done, (long long)total);
    if (used > (int)width)
        snprintf(out, PIECE_BYTES, "%s%.1f %%", word,
                 100 * (double)done / (total > 0 ? (double)total : 1));
}

void ddpm_progress_train(struct ddpm_progress *progress, int64_t step, double loss,
                         int64_t pictures, double left)
{
    const double each = step_seconds(progress, step);
    progress->smoothed = SMOOTHING * progress->smoothed + (1 - SMOOTHING) * loss;
    progress->weight = SMOOTHING * progress->weight + (1 - SMOOTHING);
    if (!due(progress, step))
        return;
    enum { STEP, LOSS, SMOOTHED, RATE, ELAPSED, LEFT, PIECES };
    const size_t width = line_width();
    char line[LINE_BYTES], time[DDPM_TEXT_BYTES];
    struct piece pieces[PIECES] = {
        [STEP] = {.rank = 0}, [LEFT] = {.rank = 1},     [LOSS] = {.rank = 2},
        [RATE] = {.rank = 3}, [SMOOTHED] = {.rank = 4}, [ELAPSED] = {.rank = 5}};
    count_text(pieces[STEP].text, "step ", step, progress->total, width);
    snprintf(pieces[LOSS].text, PIECE_BYTES, "loss %.4f", loss);
    snprintf(pieces[SMOOTHED].text, PIECE_BYTES, "smoothed %.4f",
             progress->smoothed / progress->weight);
    snprintf(pieces[RATE].text, PIECE_BYTES, "%.1f img/s",
             (double)pictures / (each > 0 ? each : 1e-9));
    snprintf(pieces[ELAPSED].text, PIECE_BYTES, "%s",
             ddpm_time_text(time, ddpm_now() - progress->start));
    if (left >= 0)
        snprintf(pieces[LEFT].text, PIECE_BYTES, "left %s", ddpm_time_text(time, left));
    join(line, pieces, PIECES, width);
    show(line);
}

void ddpm_progress_bar(struct ddpm_progress *progress, const char *what, int64_t done)
{
    if (!due(progress, done))
        return;
    enum { BAR, COUNT, LEFT, PIECES };
    const size_t width = line_width();
    char line[LINE_BYTES], bar[BAR_WIDTH + 1], left[DDPM_TEXT_BYTES];
    struct piece pieces[PIECES] = {
        [COUNT] = {.rank = 0}, [LEFT] = {.rank = 1}, [BAR] = {.rank = 2}};
    count_text(pieces[COUNT].text, "", done, progress->total, width);
    snprintf(pieces[LEFT].text, PIECE_BYTES, "left %s",
             ddpm_time_text(left, bar_left(progress, done)));
    /* The bar fills the space that the numbers leave: "what [####]  12/34  left 00:56". */
    const size_t others = strlen(what) + strlen(pieces[COUNT].text) + strlen(pieces[LEFT].text) + 7;
    const int64_t room = (int64_t)width - (int64_t)others;
    const int64_t cells = room > BAR_WIDTH ? BAR_WIDTH : room < LEAST_BAR ? LEAST_BAR : room;
    const int64_t part = progress->total > 0 ? done * cells / progress->total : cells;
    memset(bar, '.', (size_t)cells);
    memset(bar, '#', (size_t)(part > cells ? cells : part));
    bar[cells] = 0;
    snprintf(pieces[BAR].text, PIECE_BYTES, "%s [%s]", what, bar);
    join(line, pieces, PIECES, width);
    show(line);
}
