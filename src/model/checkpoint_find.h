/* Which checkpoint a path means. */
#ifndef DDPM_MODEL_CHECKPOINT_FIND_H
#define DDPM_MODEL_CHECKPOINT_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* The tensor files that every checkpoint has; one more if there is a second EMA. */
#define DDPM_CHECKPOINT_FILE_COUNT 3
#define DDPM_CHECKPOINT_MOST_FILES 4
extern const char *const ddpm_checkpoint_files[DDPM_CHECKPOINT_MOST_FILES];

/* Prefix of folders that are being written. If a process is killed while it swaps two checkpoints
 * of the same step, the only complete one may be left under such a name. */
#define DDPM_CHECKPOINT_TEMPORARY ".tmp-"

/* The absolute path of the checkpoint folder that `path` means:
 *
 * - For a run (a folder with `checkpoints` in it): the one that the link `checkpoints/latest`
 * points to, complete or not. If there is no such link, or its target is missing, the newest
 * complete one; if `latest` is a text file, the one named in it is tried first. Incomplete ones are
 * skipped with a warning.
 * - For a text file `latest` or `best`: the checkpoint that it names.
 * - For any other folder: that folder, whatever it holds.
 *
 * DDPM_ERROR_IO if there is none. */
ddpm_status ddpm_checkpoint_find(const char *path, char *folder, size_t bytes);

/* The checkpoint's name that `checkpoints`/`pointer` (a link, or a text file instead) holds,
 * whether that exists or not; "" if there is no such pointer. */
#define DDPM_CHECKPOINT_NAME_BYTES 64
void ddpm_checkpoint_pointed(const char *checkpoints, const char *pointer,
                             char name[DDPM_CHECKPOINT_NAME_BYTES]);

/* Is this the folder of a run, with a folder of checkpoints in it? */
bool ddpm_checkpoint_is_run(const char *path);

/* Does the run have anything named like a checkpoint, complete or not? */
ddpm_status ddpm_checkpoint_any(const char *run, bool *any);

/* Is this left over from a killed run: a folder with a temporary name, or a half-written `latest`
 * or `best`? */
bool ddpm_checkpoint_is_leftover(const char *name);

/* The step of a name "step-NNNNNN", or -1 for any other name. */
int64_t ddpm_checkpoint_number(const char *name);

#endif
