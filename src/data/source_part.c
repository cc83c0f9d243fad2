/* A part of a source. */
#include <stdlib.h>

#include "core/memory.h"
#include "data/source_kinds.h"

ddpm_status ddpm_source_part_open(struct ddpm_source **out, struct ddpm_source *whole,
                                  int64_t *part, int64_t count)
{
    ddpm_status status = DDPM_NEW(out, "a part of the pictures");
    if (status != DDPM_OK) {
        free(part);
        return status;
    }
    (*out)->options = whole->options;
    (*out)->count = count;
    (*out)->whole = whole;
    (*out)->part = part;
    return DDPM_OK;
}

void ddpm_source_part_close(struct ddpm_source **part)
{
    if (!*part)
        return;
    free((*part)->part);
    free(*part);
    *part = NULL;
}
