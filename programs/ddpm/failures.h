/* Failures of work that several threads share. The message of a failure stays on the thread it
 * happened on, so it is copied there. */
#ifndef DDPM_PROGRAM_FAILURES_H
#define DDPM_PROGRAM_FAILURES_H

#include <stdint.h>

#include "core/error.h"

/* How one piece of work went. */
struct ddpm_failure {
    ddpm_status status;
    char *message; /* NULL: none, or no memory for it */
};

/* On the thread that did it. */
void ddpm_failure_note(struct ddpm_failure *failure, ddpm_status status);

/* The first failure of the list, raised on this thread. Clears the list. */
ddpm_status ddpm_failures_collect(struct ddpm_failure *list, int64_t count);

#endif
