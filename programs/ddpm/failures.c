/* Failures of work that several threads share. */
#include "failures.h"

#include <stdlib.h>

#include "core/memory.h"

void ddpm_failure_note(struct ddpm_failure *failure, ddpm_status status)
{
    failure->status = status;
    if (status != DDPM_OK)
        (void)ddpm_copy_string(&failure->message, ddpm_error_message());
}

ddpm_status ddpm_failures_collect(struct ddpm_failure *list, int64_t count)
{
    ddpm_status status = DDPM_OK;
    for (int64_t i = 0; i < count; ++i) {
        if (list[i].status != DDPM_OK && status == DDPM_OK)
            status =
                ddpm_raise(list[i].status, "%s", list[i].message ? list[i].message : "no memory");
        free(list[i].message);
        list[i] = (struct ddpm_failure){0};
    }
    return status;
}
