/* The first line of log.csv and validation.csv. */
#ifndef DDPM_PROGRAM_CSV_HEADER_H
#define DDPM_PROGRAM_CSV_HEADER_H

#include <stdbool.h>
#include <stdio.h>

#include "core/error.h"

/* Is `row` this header? Both end with a newline; spreadsheets put a CR before it. */
bool ddpm_csv_is_header(const char *row, const char *header);

/* The file has no such header, and the run is about to begin it again. DDPM_ERROR_FORMAT if that
 * would delete anything but a header that was cut off. */
ddpm_status ddpm_csv_check_replaceable(FILE *file, const char *path, const char *header);

#endif
