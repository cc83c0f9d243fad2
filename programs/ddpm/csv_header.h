/* Checks on log.csv and validation.csv before a resumed run cuts off their last rows. */
#ifndef DDPM_PROGRAM_CSV_HEADER_H
#define DDPM_PROGRAM_CSV_HEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"

/* Is `row` this header? Both end with a newline. Spreadsheets put a CR before it, and a byte order
 * mark in front. */
bool ddpm_csv_is_header(const char *row, const char *header);

/* The run continues after `step`, and the file is about to be cut off at `end`, which is 0 if it
 * lacks the header. DDPM_ERROR_FORMAT if that would delete anything but rows of later steps and a
 * line that was never finished. */
ddpm_status ddpm_csv_check_cut(FILE *file, const char *path, const char *header, int64_t step,
                               long end);

#endif
