/* The processes that a verb shares its work with (ranks/ranks.h), from the first look at the
 * command line to the exit: one of them speaks for all, and a failure of one is everyone's.
 *
 * A verb that is not shared, and a process that was started alone, leads and has NULL ranks. */
#ifndef DDPM_PROGRAM_PROCESSES_H
#define DDPM_PROGRAM_PROCESSES_H

#include "options.h"
#include "ranks/ranks.h"

/* Join the others as the options `ranks` and `rank-timeout` of the command line and of --config
 * say. `parsed`: how reading the command line went; the first failure of any rank is returned. A
 * seed that was drawn becomes the same for all. */
ddpm_status ddpm_processes_begin(struct ddpm_arguments *arguments, ddpm_status parsed);

/* Part from them. After a failure that tore them apart, this ends all and does not return. */
void ddpm_processes_end(int exit_code);

struct ddpm_ranks *ddpm_processes_ranks(void);

/* Does this process write files and say how the work goes? */
bool ddpm_processes_lead(void);

/* Is it this one's to say a failure? */
bool ddpm_processes_speak(void);

/* Warn, where this process leads, of the first machine whose clock differs by more than a minute:
 * nothing depends on it but what people read in logs and folders. All processes call it, right
 * after they have met. */
ddpm_status ddpm_processes_check_clocks(void);

/* A remark of the library: said by the one that leads. Warnings of the others are said once
 * `told_apart`, with their rank: until then all find the same. */
void ddpm_processes_tell_apart(void);
void ddpm_processes_remark(ddpm_log_level level, const char *text);

/* "2 on 1 machine, Open MPI v4.1.4"; alone "1 rank". */
const char *ddpm_processes_text(char *text, size_t bytes);

#endif
