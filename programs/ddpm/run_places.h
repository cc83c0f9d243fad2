/* Where a run was last started: ranks, machines and devices, for its config.json and ddpm info. */
#ifndef DDPM_PROGRAM_RUN_PLACES_H
#define DDPM_PROGRAM_RUN_PLACES_H

#include <jansson.h>

#include "core/error.h"

/* The places of all processes, each of which calls this with its device. The caller owns *out,
 * which is NULL unless this process leads. */
ddpm_status ddpm_run_places_find(const char *device, json_t **out);

/* Print on stderr which ranks are where, if there are several. */
void ddpm_run_places_say(const json_t *places);

/* Print to stdout what config.json at `path` says about the last start; nothing for an older
 * file. */
ddpm_status ddpm_run_places_print(const char *path);

#endif
