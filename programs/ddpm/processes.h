/* The processes that a verb shares its work with (ranks/ranks.h), from the first look at the
 * command line to the exit. One of them, the leader, speaks for all, and a failure of one is a
 * failure of all.
 *
 * A verb that is not shared, or a process that was started alone, leads and has NULL ranks. */
#ifndef DDPM_PROGRAM_PROCESSES_H
#define DDPM_PROGRAM_PROCESSES_H

#include "options.h"
#include "ranks/ranks.h"

/* Join the others according to the options `ranks` and `rank-timeout` of the command line and of
 * --config. `parsed`: how reading the command line went; the first failure of any rank is returned.
 * A seed drawn at random becomes the same for all. */
ddpm_status ddpm_processes_begin(struct ddpm_arguments *arguments, ddpm_status parsed);

/* Leave them. After a failure that has separated them, this ends all and does not return. */
void ddpm_processes_end(int exit_code);

struct ddpm_ranks *ddpm_processes_ranks(void);

/* How many they are; 1 alone. */
int64_t ddpm_processes_count(void);

/* Does this process write files and print progress? */
bool ddpm_processes_lead(void);

/* Should this process report a failure? */
bool ddpm_processes_speak(void);

/* If this process leads: warn of the first machine whose clock differs by more than a minute. It
 * only matters to people who read times in logs and folders. All processes call it, right after
 * joining. */
ddpm_status ddpm_processes_check_clocks(void);

/* Log a message of the library: only the leader prints it. Warnings of the others are printed with
 * their rank once `told_apart`; before that all have the same ones. */
void ddpm_processes_tell_apart(void);
void ddpm_processes_remark(ddpm_log_level level, const char *text);

/* "2 on 1 machine, Open MPI v4.1.4"; alone "1 rank". */
const char *ddpm_processes_text(char *text, size_t bytes);

#endif
