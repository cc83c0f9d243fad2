/* Signals that ask a run to stop. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "processes.h"
#include "program.h"
#include "progress.h"

/* A second signal within this time of the first is the same request: timeout(1) signals the
 * process and its group, and a closing terminal and its shell both send SIGHUP. */
#define AGAIN_MILLISECONDS 100

static const int stopping[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2};

static atomic_int caught;
static atomic_llong asked;    /* when SIGINT or SIGTERM first came, in ms; 0: not yet */
static atomic_llong doing;    /* 8·step + enum ddpm_doing, one word for the handler */
static bool terminal, silent; /* another process prints what happens */

/* Printed at once, around the number of the step. */
static const struct {
    const char *before, *after;
    bool has_step;
} plans[] = {
    [DDPM_DOING_WORK] = {"stopping", "", false},
    [DDPM_DOING_STEP] = {"finishing step ", ", then saving", true},
    [DDPM_DOING_SAMPLES] = {"skipping the samples of step ", ", then stopping", true},
    [DDPM_DOING_CHECKPOINT] = {"saving step ", ", then stopping", true},
};

/* Appends to a message; the handler must not use stdio. */
static char *add(char *end, const char *text)
{
    const size_t bytes = strlen(text);
    memcpy(end, text, bytes);
    return end + bytes;
}

static char *add_number(char *end, long long number)
{
    char digits[24], *first = digits + sizeof digits - 1;
    *first = 0;
    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return add(end, first);
}

static void say(int number)
{
    char text[160], *end = text;
    if (silent)
        return;
    const long long now = atomic_load(&doing);
    const size_t plan = (size_t)(now % 8);
    end = add(end, terminal ? "\r\033[K" : "");
    end = add(end, plans[plan].before);
    if (plans[plan].has_step)
        end = add_number(end, now / 8);
    end = add(end, plans[plan].after);
    end = add(end, number == SIGINT ? " (Ctrl-C again to quit now)\n" : "\n");
    /* Nobody may be reading, and a handler that waits could not be interrupted. */
    struct pollfd error = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&error, 1, 0) == 1 && (error.revents & POLLOUT)) {
        const ssize_t wrote = write(STDERR_FILENO, text, (size_t)(end - text));
        (void)wrote;
    }
}

static long long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000 + 1;
}

/* Is this a second SIGINT or SIGTERM, and not part of the first? Only these two come from
 * somebody who is waiting. SIGXCPU comes every second, and a scheduler sends SIGUSR1 and later
 * SIGTERM: none of that may cost the checkpoint. */
static bool is_impatient(int number, bool *first)
{
    if (number != SIGINT && number != SIGTERM)
        return false;
    long long before = 0;
    const long long now = milliseconds();
    *first = atomic_compare_exchange_strong(&asked, &before, now);
    return !*first && now - before >= AGAIN_MILLISECONDS;
}

static void catch_signal(int number)
{
    const int error = errno;
    int none = 0;
    bool asks_first = false;
    if (is_impatient(number, &asks_first))
        _exit(128 + number);
    if (atomic_compare_exchange_strong(&caught, &none, number) || asks_first)
        say(number);
    errno = error;
}

void ddpm_catch_signals(void)
{
    struct sigaction action = {.sa_handler = catch_signal, .sa_flags = SA_RESTART}, old;
    sigemptyset(&action.sa_mask);
    terminal = ddpm_progress_on_terminal();
    silent = !ddpm_processes_lead();
    for (size_t i = 0; i < sizeof stopping / sizeof *stopping; ++i)
        if (sigaction(stopping[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(stopping[i], &action, NULL); /* the others are ignored: nohup, & */
}

void ddpm_doing(enum ddpm_doing what, int64_t step)
{
    atomic_store(&doing, (long long)step * 8 + (long long)what);
}

int ddpm_caught_signal(void)
{
    return atomic_load(&caught);
}

void ddpm_take_signal(int number)
{
    int none = 0;
    atomic_compare_exchange_strong(&caught, &none, number);
}

ddpm_status ddpm_check_signal(void)
{
    const int number = ddpm_caught_signal();
    return number ? ddpm_raise(DDPM_STOPPED, "stopped by signal %d", number) : DDPM_OK;
}
