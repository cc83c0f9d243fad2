/* The folder of a run before its first step: whose it is, whether it can hold checkpoints, and
 * what a killed process left in it. */
#ifndef DDPM_PROGRAM_RUN_FOLDER_H
#define DDPM_PROGRAM_RUN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include <ddpm/config.h>
#include <jansson.h>

#include "core/error.h"

/* Can a new run start in `path`? Yes if the folder is missing or empty or, setting *again, if it
 * is that of a run that was killed before its first checkpoint. Otherwise DDPM_ERROR_IO. */
ddpm_status ddpm_run_folder_check_new(const char *path, bool *again);

/* Find the checkpoint to resume from. If there is none, the error says what to do. */
ddpm_status ddpm_run_folder_checkpoint(const char *path, char *folder, size_t bytes);

/* Never rewind a run: fewer steps than it has done may have meant "this many more".
 * DDPM_ERROR_ARGUMENT. */
ddpm_status ddpm_run_folder_check_steps(const char *path, int64_t steps, int64_t done);

/* The same check for the checkpoint that `latest` names, made before locking the run, because the
 * lock leaves a trace in the folder. What it misses is caught by the check after the lock. */
ddpm_status ddpm_run_folder_check_latest(const char *path, int64_t steps);

/* Make the path in `option`, data or validation, absolute, so that the run can be resumed from
 * any working directory. `run` is the run to resume, or NULL; its configuration may come from a
 * version that kept relative paths. DDPM_ERROR_IO if nothing is at such a path. */
ddpm_status ddpm_run_folder_settle_path(struct ddpm_config *config, const char *option,
                                        const char *run);

/* Make the folder and its subfolders. */
ddpm_status ddpm_run_folder_create(const char *path);

/* RUN/config.json: all options and their values, the version, the fingerprint of the pictures, the
 * `model` that the run started from ("": none; NULL: as the file says already), and where the run
 * was started (run_places.h). */
ddpm_status ddpm_run_folder_write_config(const char *path, const struct ddpm_config *config,
                                         const char *model, json_t *places, uint64_t fingerprint);

/* Print to stdout which model the run of the config.json at `path` started from, if any. */
ddpm_status ddpm_run_folder_print_start(const char *path);

/* Clean up a locked run that resumes from `checkpoint` ("" if from none), of this step: remove the
 * half-written files of killed processes and the grids of later steps; with `samples` all grids, of
 * a run that starts over. */
void ddpm_run_folder_clean(const char *path, const char *checkpoint, int64_t step, bool samples);

/* Try once, before the first step, everything that saving checkpoint `step` will do. Logs what
 * the file system lacks if ddpm can work without it; anything else fails. */
ddpm_status ddpm_run_folder_probe(const char *path, int64_t step);

#endif
