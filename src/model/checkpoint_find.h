/* Which checkpoint a path means. */
#ifndef DDPM_MODEL_CHECKPOINT_FIND_H
#define DDPM_MODEL_CHECKPOINT_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* The files of tensors that every checkpoint has, and one more where a second EMA is kept. */
#define DDPM_CHECKPOINT_FILE_COUNT 3
#define DDPM_CHECKPOINT_MOST_FILES 4
extern const char *const ddpm_checkpoint_files[DDPM_CHECKPOINT_MOST_FILES];

/* Names of folders that are being written begin so. A process killed while two checkpoints of one
 * step changed places may leave the only whole one under such a name. */
#define DDPM_CHECKPOINT_TEMPORARY ".tmp-"

/* The folder, as an absolute path, of the checkpoint that `path` means:
 *
 * - of a run (a folder with `checkpoints` in it) the one that the link `checkpoints/latest` leads
 *   to, whole or not. Where there is no such link, or it leads nowhere, the newest whole one;
 *   a `latest` that is a text file with a checkpoint's name puts that one first. One that is not
 *   whole is passed over with a warning;
 * - of a text file `latest` or `best` the checkpoint that it names;
 * - of another folder that folder, whatever it holds.
 *
 * DDPM_ERROR_IO where there is none. */
ddpm_status ddpm_checkpoint_find(const char *path, char *folder, size_t bytes);

/* The name of the checkpoint that `checkpoints`/`pointer` (a link, or a text file in its place)
 * names, there or not; "" where there is no such thing. */
#define DDPM_CHECKPOINT_NAME_BYTES 64
void ddpm_checkpoint_pointed(const char *checkpoints, const char *pointer,
                             char name[DDPM_CHECKPOINT_NAME_BYTES]);

/* Does the run have anything that calls itself a checkpoint, whole or not? */
ddpm_status ddpm_checkpoint_any(const char *run, bool *any);

/* Is that what a killed run leaves among its checkpoints: a folder with a temporary name, or a
 * `latest` or `best` being written? */
bool ddpm_checkpoint_is_leftover(const char *name);

/* The number of a name "step-NNNNNN", or -1 for another name. */
int64_t ddpm_checkpoint_number(const char *name);

#endif
