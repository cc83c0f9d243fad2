/* Rounds of drawing. */
#include "shared_drawing.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "processes.h"

int64_t ddpm_shared_chunk(int64_t chunk, int64_t count)
{
    const int64_t each = (count + ddpm_processes_count() - 1) / ddpm_processes_count();
    return chunk < each ? chunk : each;
}

ddpm_status ddpm_shared_settle_chunk(int64_t *chunk)
{
    int64_t *all;
    if (!ddpm_processes_ranks())
        return DDPM_OK;
    ddpm_status status =
        ddpm_new_array((void **)&all, (size_t)ddpm_processes_count(), sizeof *all, "chunks");
    DDPM_TRY(ddpm_ranks_agree(ddpm_processes_ranks(), status, NULL));
    all[ddpm_ranks_index(ddpm_processes_ranks())] = *chunk;
    status = ddpm_ranks_gather(ddpm_processes_ranks(), all, sizeof *all);
    for (int rank = 0; rank < ddpm_processes_count() && status == DDPM_OK; ++rank)
        *chunk = all[rank] < *chunk ? all[rank] : *chunk;
    free(all);
    return status;
}

uint64_t ddpm_shared_bytes(int64_t chunk, uint64_t bytes)
{
    return ddpm_processes_ranks() ? (uint64_t)(ddpm_processes_count() * chunk) * bytes : 0;
}

/* Bytes of a picture as sent from one process to another. */
static size_t picture_bytes(const struct ddpm_sample_output *output)
{
    return ddpm_sample_output_values(output) * (output->array ? sizeof(float) : 1);
}

static char *drawn(const struct ddpm_sample_output *output)
{
    return output->array ? (char *)output->values : (char *)output->pictures;
}

ddpm_status ddpm_shared_begin(struct ddpm_shared_drawing *shared,
                              const struct ddpm_sample_output *output)
{
    if (!ddpm_processes_ranks())
        return DDPM_OK;
    return ddpm_new_array((void **)&shared->chunks,
                          (size_t)(ddpm_processes_count() * output->chunk), picture_bytes(output),
                          "pictures of all processes");
}

void ddpm_shared_turn(const struct ddpm_sample_output *output, int rank, int64_t *offset,
                      int64_t *count)
{
    *offset = output->done + rank * output->chunk;
    const int64_t left = output->count - *offset;
    *count = left < 0 ? 0 : left < output->chunk ? left : output->chunk;
}

/* Add the chunks of a round, whose turns are counted from its start. */
static ddpm_status add_all(const struct ddpm_shared_drawing *shared,
                           struct ddpm_sample_output *output)
{
    const struct ddpm_sample_output begun = *output;
    const size_t bytes = (size_t)output->chunk * picture_bytes(output);
    for (int rank = 0; rank < ddpm_processes_count(); ++rank) {
        int64_t offset, count;
        ddpm_shared_turn(&begun, rank, &offset, &count);
        memcpy(drawn(output), shared->chunks + (size_t)rank * bytes, bytes);
        if (count > 0 && ddpm_processes_lead())
            DDPM_TRY(ddpm_sample_output_add(output, count));
        else
            output->done += count;
    }
    return DDPM_OK;
}

ddpm_status ddpm_shared_agree(ddpm_status status)
{
    int signal = ddpm_caught_signal();
    status = ddpm_ranks_agree(ddpm_processes_ranks(), status, &signal);
    if (signal)
        ddpm_take_signal(signal);
    return status;
}

ddpm_status ddpm_shared_add(struct ddpm_shared_drawing *shared, struct ddpm_sample_output *output,
                            ddpm_status status)
{
    struct ddpm_ranks *ranks = ddpm_processes_ranks();
    int64_t offset, count;
    ddpm_shared_turn(output, ddpm_ranks_index(ranks), &offset, &count);
    if (!ranks)
        return status == DDPM_OK ? ddpm_sample_output_add(output, count) : status;
    DDPM_TRY(ddpm_shared_agree(status));
    const size_t bytes = (size_t)output->chunk * picture_bytes(output);
    memcpy(shared->chunks + (size_t)ddpm_ranks_index(ranks) * bytes, drawn(output), bytes);
    DDPM_TRY(ddpm_ranks_gather(ranks, shared->chunks, bytes));
    return ddpm_shared_agree(add_all(shared, output));
}

void ddpm_shared_clear(struct ddpm_shared_drawing *shared)
{
    free(shared->chunks);
    *shared = (struct ddpm_shared_drawing){0};
}
