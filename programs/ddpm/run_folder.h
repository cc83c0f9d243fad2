/* A run's folder before its first step: whose it is, whether checkpoints can be kept in it, what a
 * killed process has left there. */
#ifndef DDPM_PROGRAM_RUN_FOLDER_H
#define DDPM_PROGRAM_RUN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include <ddpm/config.h>
#include <jansson.h>

#include "core/error.h"

/* May a new run begin in `path`? In a folder that is not there or empty, and, with *again, in that
 * of a run that was killed before its first checkpoint. DDPM_ERROR_IO for any other. */
ddpm_status ddpm_run_folder_check_new(const char *path, bool *again);

/* The checkpoint to go on from; the text of the failure says what to do where there is none. */
ddpm_status ddpm_run_folder_checkpoint(const char *path, char *folder, size_t bytes);

/* Never rewind a run: fewer steps than are done may just as well have meant "this many more".
 * DDPM_ERROR_ARGUMENT. */
ddpm_status ddpm_run_folder_check_steps(const char *path, int64_t steps, int64_t done);

/* The same of what `latest` names, before the run is locked, since a lock leaves its trace on the
 * folder. What this does not find, the check after the lock does. */
ddpm_status ddpm_run_folder_check_latest(const char *path, int64_t steps);

/* Make the path of pictures in `option`, data or validation, absolute, so that the run can go on
 * from any working directory. `run` is the run that goes on, or NULL: its configuration may be of a
 * version that kept relative paths. DDPM_ERROR_IO when there is nothing at such a path. */
ddpm_status ddpm_run_folder_settle_path(struct ddpm_config *config, const char *option,
                                        const char *run);

/* Make the folder and those in it. */
ddpm_status ddpm_run_folder_create(const char *path);

/* RUN/config.json: the options in force, the version, the fingerprint of the pictures, and where
 * the run is started (run_places.h). */
ddpm_status ddpm_run_folder_write_config(const char *path, const struct ddpm_config *config,
                                         json_t *places, uint64_t fingerprint);

/* Remove what killed processes left in a locked run that resumes from `checkpoint` ("": from
 * none): half-written files; with `samples` the pictures of a run that starts over. */
void ddpm_run_folder_clean(const char *path, const char *checkpoint, bool samples);

/* Do once, before the first step, what saving checkpoint `step` will do. What the file system does
 * not have and can be done without is logged; anything else is the failure. */
ddpm_status ddpm_run_folder_probe(const char *path, int64_t step);

#endif
