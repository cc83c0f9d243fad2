/* The result of a comparison: for people, as JSON, and as a sheet of the nearest pairs. */
#ifndef DDPM_PROGRAM_EVALUATE_REPORT_H
#define DDPM_PROGRAM_EVALUATE_REPORT_H

#include "evaluate_side.h"

struct ddpm_evaluate_report {
    struct ddpm_side *generated, *real, *held_out; /* the last may have no pictures */
    const char *features;                          /* "builtin", or "given" */
    const struct ddpm_evaluation *found;
};

/* Warn about anything that makes a number less meaningful than it looks. */
void ddpm_evaluate_warn(const struct ddpm_evaluate_report *report);

/* Print a table, then a verdict on copies. */
ddpm_status ddpm_evaluate_print(const struct ddpm_evaluate_report *report);

/* The same numbers as one JSON object on stdout. */
ddpm_status ddpm_evaluate_print_json(const struct ddpm_evaluate_report *report);

/* Write a PNG of the nearest pairs by small copies, the generated picture on the left.
 * DDPM_ERROR_ARGUMENT if no pictures were compared. */
ddpm_status ddpm_evaluate_write_sheet(const struct ddpm_evaluate_report *report, const char *path);

/* Can the files of --sheet and --save-statistics be written? Asked before hours of drawing;
 * DDPM_ERROR_IO if not. */
ddpm_status ddpm_evaluate_check_files(const struct ddpm_arguments *arguments);

#endif
