/* Joining other processes, and who prints for all. */
#include "processes.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "core/memory.h"
#include "core/processors.h"
#include "kernels/backend.h"
#include "progress.h"
#include "ranks/launcher.h"

/* Limits: how long leaving the others may take; how long after they have lost each other, for the
 * rank that has reported it and for the others (join.c lets them wait 30 seconds for the first); by
 * how much clocks may differ. */
enum { PARTING_SECONDS = 60, SPOKEN_SECONDS = 10, LOST_SECONDS = 40, CLOCK_SECONDS = 60 };

static unsigned seconds_to_end(const struct ddpm_ranks *ranks)
{
    if (!ddpm_ranks_lost(ranks))
        return PARTING_SECONDS;
    return ddpm_ranks_speaks(ranks) ? SPOKEN_SECONDS : LOST_SECONDS;
}

static struct {
    struct ddpm_ranks *ranks;
    bool silent;            /* not joined, and another process says why */
    atomic_bool told_apart; /* remarks may come from any thread */
} processes;

/* The options that matter here. Any other errors in the command line are found and reported
 * later. */
static void read_options(const struct ddpm_arguments *arguments, struct ddpm_run_config *out)
{
    struct ddpm_config *config;
    const char *file = ddpm_arguments_get(arguments, "config");
    if (ddpm_config_create(&config) != DDPM_OK)
        return;
    if (file)
        (void)ddpm_config_read(config, file);
    (void)ddpm_arguments_apply(arguments, NULL, config);
    *out = config->run;
    ddpm_config_destroy(&config);
}

/* Ranks that may run on the same processors share them. */
static void divide_processors(void)
{
    const int sharing = ddpm_ranks_sharing(processes.ranks);
    const int each = ddpm_processor_count() / sharing;
    if (sharing > 1)
        ddpm_limit_processors(each > 1 ? each : 1);
}

ddpm_status ddpm_processes_begin(struct ddpm_arguments *arguments, ddpm_status parsed)
{
    struct ddpm_run_config run = {.ranks = DDPM_RANKS_AUTO, .rank_timeout = 60};
    char text[2048];
    snprintf(text, sizeof text, "%s", ddpm_error_message());
    if (parsed == DDPM_OK)
        read_options(arguments, &run);
    if (strncmp(run.device, "cuda:", 5) == 0)
        ddpm_ranks_take_device((int)strtol(run.device + 5, NULL, 10));
    ddpm_status status =
        ddpm_ranks_join((enum ddpm_ranks_choice)run.ranks, run.rank_timeout, &processes.ranks);
    processes.silent = status != DDPM_OK && !ddpm_launcher_is_first_here();
    if (parsed != DDPM_OK) /* that comes first */
        status = ddpm_raise(parsed, "%s", text);
    if (!processes.ranks)
        return status;
    divide_processors();
    ddpm_device_take_turn(ddpm_ranks_place(processes.ranks));
    DDPM_TRY(ddpm_ranks_agree(processes.ranks, status, NULL));
    return ddpm_ranks_broadcast(processes.ranks, 0, arguments->seed, sizeof arguments->seed);
}

static volatile sig_atomic_t end_code;

static void end_alone(int number)
{
    (void)number;
    _exit((int)end_code);
}

/* Everything is written and printed, but if the launcher or a machine is out of reach, MPI may wait
 * for it forever. */
void ddpm_processes_end(int exit_code)
{
    if (!processes.ranks)
        return;
    end_code = exit_code;
    signal(SIGALRM, end_alone);
    signal(SIGTERM, end_alone);
    signal(SIGINT, end_alone);
    alarm(seconds_to_end(processes.ranks));
    ddpm_ranks_close(&processes.ranks, exit_code);
}

struct ddpm_ranks *ddpm_processes_ranks(void)
{
    return processes.ranks;
}

int64_t ddpm_processes_count(void)
{
    return ddpm_ranks_count(processes.ranks);
}

bool ddpm_processes_lead(void)
{
    return ddpm_ranks_index(processes.ranks) == 0;
}

bool ddpm_processes_speak(void)
{
    return processes.ranks ? ddpm_ranks_speaks(processes.ranks) : !processes.silent;
}

/* Seconds since 1970. */
static double calendar_time(void)
{
    struct timespec moment;
    timespec_get(&moment, TIME_UTC);
    return (double)moment.tv_sec + 1e-9 * (double)moment.tv_nsec;
}

static void warn_of_clock(int rank, double ahead)
{
    char text[DDPM_TEXT_BYTES];
    ddpm_progress_warn("warning: the clock of rank %d (%s) is %s %s that of rank 0 (%s)", rank,
                       ddpm_ranks_host(processes.ranks, rank), ddpm_time_text(text, fabs(ahead)),
                       ahead < 0 ? "behind" : "ahead of", ddpm_ranks_host(processes.ranks, 0));
}

ddpm_status ddpm_processes_check_clocks(void)
{
    double *all;
    const int count = ddpm_ranks_count(processes.ranks);
    if (!processes.ranks)
        return DDPM_OK;
    ddpm_status status = ddpm_new_array((void **)&all, (size_t)count, sizeof *all, "clocks");
    DDPM_TRY(ddpm_ranks_agree(processes.ranks, status, NULL));
    all[ddpm_ranks_index(processes.ranks)] = calendar_time();
    status = ddpm_ranks_gather(processes.ranks, all, sizeof *all);
    for (int rank = 1; rank < count && status == DDPM_OK && ddpm_processes_lead(); ++rank)
        if (fabs(all[rank] - all[0]) > CLOCK_SECONDS) {
            warn_of_clock(rank, all[rank] - all[0]);
            break;
        }
    free(all);
    return status;
}

void ddpm_processes_tell_apart(void)
{
    atomic_store(&processes.told_apart, true);
}

void ddpm_processes_remark(ddpm_log_level level, const char *text)
{
    const char *least = getenv("DDPM_LOG");
    if (level == DDPM_LOG_DEBUG && !ddpm_progress_is_verbose() &&
        (!least || strcmp(least, "debug") != 0))
        return;
    if (level != DDPM_LOG_WARNING && ddpm_processes_lead())
        ddpm_progress_remark("%s", text);
    else if (ddpm_processes_lead())
        ddpm_progress_warn("warning: %s", text);
    else if (level == DDPM_LOG_WARNING && atomic_load(&processes.told_apart))
        ddpm_progress_warn("rank %d: warning: %s", ddpm_ranks_index(processes.ranks), text);
}

const char *ddpm_processes_text(char *text, size_t bytes)
{
    if (!processes.ranks) {
        snprintf(text, bytes, "1 rank");
        return text;
    }
    const int hosts = ddpm_ranks_hosts(processes.ranks);
    snprintf(text, bytes, "%d on %d machine%s, %s", ddpm_ranks_count(processes.ranks), hosts,
             hosts == 1 ? "" : "s", ddpm_ranks_transport(processes.ranks));
    return text;
}
