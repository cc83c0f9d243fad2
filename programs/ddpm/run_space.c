/* Room on the disk for checkpoints. A run may take days, and nothing of it is left if the disk
 * turns out to be too small at its first checkpoint. */
#include "run_space.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "formats/file.h"
#include "model/model.h"
#include "program.h"
#include "progress.h"
#include "training/checkpoint.h"

uint64_t ddpm_run_space_of_checkpoint(const struct ddpm_network *network,
                                      const struct ddpm_config *config)
{
    return (uint64_t)ddpm_state_slabs(&config->training) *
           (uint64_t)ddpm_weight_set_bytes(&network->weights);
}

/* Bytes that this user may still write at `path`, or at the nearest folder above it that exists;
 * UINT64_MAX if the file system does not say. */
static uint64_t free_at(const char *path)
{
    struct statvfs about;
    char place[PATH_MAX];
    if (snprintf(place, sizeof place, "%s", path) >= (int)sizeof place)
        return UINT64_MAX;
    while (statvfs(place, &about) != 0) {
        char *slash = strrchr(place, '/');
        if (errno != ENOENT || strcmp(place, ".") == 0 || strcmp(place, "/") == 0)
            return UINT64_MAX;
        if (slash)
            slash[slash == place] = 0;
        else
            snprintf(place, sizeof place, ".");
    }
    return about.f_blocks ? (uint64_t)about.f_bavail * (uint64_t)about.f_frsize : UINT64_MAX;
}

/* How many checkpoints of the next `steps` are on the disk at once: an old one is removed once the
 * new one is complete. With validation the best one stays too. */
static uint64_t most_at_once(const struct ddpm_training_config *training, int64_t steps,
                             bool validates)
{
    const int64_t most = training->keep + 1 + validates;
    const int64_t every = training->save_every > 0 ? training->save_every : steps;
    const int64_t all = steps / every + (steps % every != 0) + validates;
    return (uint64_t)(training->keep > 0 && all > most ? most : all);
}

ddpm_status ddpm_run_space_check(const char *path, uint64_t bytes,
                                 const struct ddpm_training_config *training, int64_t steps,
                                 bool validates)
{
    char each[DDPM_TEXT_BYTES], room[DDPM_TEXT_BYTES];
    const uint64_t available = free_at(path);
    if (steps < 1 || available == UINT64_MAX)
        return DDPM_OK;
    ddpm_bytes_text(each, (double)bytes);
    ddpm_bytes_text(room, (double)available);
    if (available < bytes)
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s: no room for a checkpoint, which takes %s: %s are free on the disk",
                          path, each, room);
    const uint64_t count = most_at_once(training, steps, validates);
    if (available / bytes < count)
        ddpm_progress_warn("warning: %s: the run keeps up to %" PRIu64
                           " checkpoints of %s, but %s are free on the disk; --keep N keeps fewer",
                           path, count, each, room);
    return DDPM_OK;
}

void ddpm_run_space_hint(const char *path, uint64_t bytes)
{
    char each[DDPM_TEXT_BYTES], room[DDPM_TEXT_BYTES], latest[PATH_MAX];
    const uint64_t available = free_at(path);
    if (available >= bytes)
        return;
    ddpm_bytes_text(each, (double)bytes);
    ddpm_bytes_text(room, (double)available);
    if (snprintf(latest, sizeof latest, "%s/checkpoints/latest", path) < (int)sizeof latest &&
        ddpm_path_exists(latest))
        ddpm_hint("a checkpoint takes %s, %s are free; make room, then ddpm train --resume %s",
                  each, room, path);
    else
        ddpm_hint("a checkpoint takes %s, %s are free; make room, then start again", each, room);
}
