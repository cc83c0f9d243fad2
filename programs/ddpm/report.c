/* Errors and remarks: what the program prints on stderr, and its exit codes. */
#include <stdarg.h>
#include <stdio.h>

#include <ddpm/log.h>

#include "core/escape.h"
#include "processes.h"
#include "program.h"
#include "progress.h"

static const struct {
    ddpm_status status;
    int exit_code;
    const char *hint; /* NULL: no hint */
} kinds[] = {
    {DDPM_ERROR_ARGUMENT, DDPM_EXIT_USAGE, NULL},
    {DDPM_ERROR_IO, DDPM_EXIT_FAILED, NULL},
    {DDPM_ERROR_FORMAT, DDPM_EXIT_FAILED, NULL},
    {DDPM_ERROR_MISMATCH, DDPM_EXIT_FAILED, NULL},
    {DDPM_ERROR_MEMORY, DDPM_EXIT_FAILED,
     "to need less memory, reduce the batch (with --accumulate when training), the picture size or "
     "--dim"},
    {DDPM_ERROR_NOT_FINITE, DDPM_EXIT_FAILED,
     "for stable training try a lower --lr, --warmup or --max-grad-norm 1; the checkpoints are "
     "intact"},
    {DDPM_ERROR_UNSUPPORTED, DDPM_EXIT_FAILED, NULL},
    {DDPM_ERROR_DEVICE, DDPM_EXIT_FAILED, "--device cpu works without the accelerator"},
};

static char own_hint[1024];

void ddpm_hint(const char *format, ...)
{
    char text[sizeof own_hint];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ddpm_escape(own_hint, sizeof own_hint, text);
}

static void print_hint(const char *verb, ddpm_status status, const char *hint)
{
    if (*own_hint)
        fprintf(stderr, "  hint: %s\n", own_hint);
    else if (hint)
        fprintf(stderr, "  hint: %s\n", hint);
    else if (status == DDPM_ERROR_ARGUMENT)
        fprintf(stderr, "  hint: see ddpm %s%s--help\n", verb ? verb : "", verb ? " " : "");
}

int ddpm_report(const char *verb, ddpm_status status)
{
    ddpm_progress_clear();
    if (status == DDPM_STOPPED && ddpm_caught_signal())
        return 128 + ddpm_caught_signal();
    const bool says = ddpm_processes_speak();
    if (says)
        fprintf(stderr, "ddpm%s%s: %s\n", verb ? " " : "", verb ? verb : "", ddpm_error_message());
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        if (kinds[i].status != status)
            continue;
        if (says)
            print_hint(verb, status, kinds[i].hint);
        return kinds[i].exit_code;
    }
    return DDPM_EXIT_FAILED;
}

static void print_remark(void *user, ddpm_log_level level, const char *text)
{
    (void)user;
    ddpm_processes_remark(level, text);
}

void ddpm_report_log(void)
{
    ddpm_set_log_callback(print_remark, NULL);
}
