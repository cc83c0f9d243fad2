/* Closed, broken and full standard streams. */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/escape.h"
#include "program.h"
#include "progress.h"

/* Open it in the wrong mode, so that reading or writing fails as on a closed one: if stdout is
 * closed, the user must learn that the output went nowhere. */
static bool take(int descriptor)
{
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF)
        return true;
    int got = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (got < 0)
        got = open("/", O_RDONLY); /* if there is no /dev */
    return got == descriptor;
}

bool ddpm_prepare_streams(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return take(STDIN_FILENO) && take(STDOUT_FILENO) && take(STDERR_FILENO);
}

void ddpm_print_text(const char *before, const char *text, const char *after)
{
    char piece[DDPM_ESCAPE_BYTES];
    fputs(before, stdout);
    while (ddpm_escape_one(piece, &text) > 0)
        fputs(piece, stdout);
    fputs(after, stdout);
}

void ddpm_print_note(const char *before, const char *key, const char *text)
{
    ddpm_print_text(before, key, ": ");
    while (*text) {
        char piece[DDPM_ESCAPE_BYTES];
        if (*text == '\n' && text[1])
            fputs("\n    ", stdout);
        if (*text == '\n')
            ++text;
        else if (ddpm_escape_one(piece, &text) > 0)
            fputs(piece, stdout);
    }
    fputs("\n", stdout);
}

static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

ddpm_status ddpm_print_json(const json_t *object)
{
    char *text;
    DDPM_TRY(ddpm_json_format(&text, object, DDPM_JSON_INSERTION_ORDER));
    fputs(text, stdout);
    free(text);
    return DDPM_OK;
}

int ddpm_finish_output(int code, bool product)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != DDPM_EXIT_DONE)
        return code;
    if (reader_is_gone())
        return product ? 128 + SIGPIPE : code;
    ddpm_progress_warn("%sstandard output could not be written", product ? "ddpm: " : "warning: ");
    return product ? DDPM_EXIT_FAILED : code;
}
