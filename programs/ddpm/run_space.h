/* Is there room on the disk for a run's checkpoints? */
#ifndef DDPM_PROGRAM_RUN_SPACE_H
#define DDPM_PROGRAM_RUN_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include <ddpm/network.h>

#include "config/config.h"
#include "core/error.h"

/* About how many bytes a checkpoint takes: the file headers are not counted. */
uint64_t ddpm_run_space_of_checkpoint(const struct ddpm_network *network,
                                      const struct ddpm_config *config);

/* Before the first step, with `steps` of the run left: DDPM_ERROR_IO if not even one checkpoint of
 * `bytes` fits into `path`, which need not exist yet; a warning if not all that the run keeps do.
 * `validates`: it keeps the best one too. */
ddpm_status ddpm_run_space_check(const char *path, uint64_t bytes,
                                 const struct ddpm_training_config *training, int64_t steps,
                                 bool validates);

/* After a failure: a hint if there is no room for another checkpoint. */
void ddpm_run_space_hint(const char *path, uint64_t bytes);

#endif
