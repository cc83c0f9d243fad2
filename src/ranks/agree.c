/* One failure for all ranks: its status, and the message of the first rank it hit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "ranks/state.h"

enum { TEXT_BYTES = 2048 };

ddpm_status ddpm_ranks_share_failure(struct ddpm_ranks *ranks, int failed, ddpm_status status)
{
    char text[TEXT_BYTES] = "", name[DDPM_HOST_BYTES + 24];
    snprintf(text, sizeof text, "%s", ddpm_error_message());
    DDPM_TRY(ddpm_ranks_broadcast(ranks, failed, text, sizeof text));
    if (failed == 0)
        return ddpm_raise(status, "%s", text);
    return ddpm_raise(status, "%s: %s", ddpm_rank_name(ranks, failed, name, sizeof name), text);
}

/* The first failure, or -1. Signals are not failures and come last. */
static int first_failure(const struct ddpm_rank_fare *all, int count)
{
    int stopped = -1;
    for (int rank = 0; rank < count; ++rank) {
        if (all[rank].status != DDPM_OK && all[rank].status != DDPM_STOPPED)
            return rank;
        if (all[rank].status == DDPM_STOPPED && stopped < 0)
            stopped = rank;
    }
    return stopped;
}

ddpm_status ddpm_ranks_agree(struct ddpm_ranks *ranks, ddpm_status status, int *signal)
{
    if (!ranks || ranks->lost)
        return status;
    struct ddpm_rank_fare *all = ranks->fares;
    all[ranks->index] = (struct ddpm_rank_fare){(int32_t)status, signal ? *signal : 0};
    const ddpm_status met = ddpm_ranks_gather(ranks, all, sizeof *all);
    const int failed = met == DDPM_OK ? first_failure(all, ranks->count) : -1;
    ddpm_status result = met;
    for (int rank = 0; rank < ranks->count && met == DDPM_OK && signal; ++rank)
        *signal = all[rank].signal > *signal ? all[rank].signal : *signal;
    if (failed >= 0)
        result = ddpm_ranks_share_failure(ranks, failed, (ddpm_status)all[failed].status);
    return result;
}

static size_t line_length(const char *lines)
{
    return strcspn(lines, "\n");
}

/* The first line that differs, or NULL. */
static const char *difference(const char *lines, const char **others)
{
    while (*lines || **others) {
        const size_t own = line_length(lines), other = line_length(*others);
        if (own != other || memcmp(lines, *others, own) != 0)
            return lines;
        lines += own + (lines[own] == '\n');
        *others += other + ((*others)[other] == '\n');
    }
    return NULL;
}

static ddpm_status compare(struct ddpm_ranks *ranks, const char *lines, char *theirs, size_t bytes)
{
    if (ranks->index == 0)
        memcpy(theirs, lines, bytes);
    DDPM_TRY(ddpm_ranks_broadcast(ranks, 0, theirs, bytes));
    const char *other = theirs, *own = difference(lines, &other);
    if (!own)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_MISMATCH,
                      "the ranks do not agree: got \"%.*s\", rank 0 has \"%.*s\"",
                      (int)line_length(own), own, (int)line_length(other), other);
}

ddpm_status ddpm_ranks_compare(struct ddpm_ranks *ranks, const char *lines)
{
    char *theirs = NULL;
    if (!ranks)
        return DDPM_OK;
    uint64_t bytes = strlen(lines) + 1;
    DDPM_TRY(ddpm_ranks_broadcast(ranks, 0, &bytes, sizeof bytes));
    ddpm_status status = ddpm_new_array((void **)&theirs, (size_t)bytes, 1, "options of rank 0");
    DDPM_TRY(ddpm_ranks_agree(ranks, status, NULL));
    status = compare(ranks, lines, theirs, (size_t)bytes);
    free(theirs);
    return ddpm_ranks_agree(ranks, status, NULL);
}
