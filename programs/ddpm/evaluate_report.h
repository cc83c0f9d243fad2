/* What a comparison has found, for people, as JSON, and as a sheet of the nearest pairs. */
#ifndef DDPM_PROGRAM_EVALUATE_REPORT_H
#define DDPM_PROGRAM_EVALUATE_REPORT_H

#include "evaluate_side.h"

struct ddpm_evaluate_report {
    struct ddpm_side *generated, *real, *held_out; /* the last may be without pictures */
    const char *features;                          /* "builtin", or "given" */
    const struct ddpm_evaluation *found;
};

/* Say what makes a number worth less than it looks. */
void ddpm_evaluate_warn(const struct ddpm_evaluate_report *report);

/* Print a table, then in words whether there are copies. */
ddpm_status ddpm_evaluate_print(const struct ddpm_evaluate_report *report);

/* The same numbers as one JSON object on stdout. */
ddpm_status ddpm_evaluate_print_json(const struct ddpm_evaluate_report *report);

/* Write a PNG of the pairs whose small copies are nearest, the generated picture on the left.
 * DDPM_ERROR_ARGUMENT when no pictures were compared. */
ddpm_status ddpm_evaluate_write_sheet(const struct ddpm_evaluate_report *report, const char *path);

#endif
