/* The first line of log.csv and validation.csv. */
#include "csv_header.h"

#include <string.h>

bool ddpm_csv_is_header(const char *row, const char *header)
{
    const size_t bytes = strlen(header) - 1;
    return strncmp(row, header, bytes) == 0 &&
           (strcmp(row + bytes, "\n") == 0 || strcmp(row + bytes, "\r\n") == 0);
}

ddpm_status ddpm_csv_check_replaceable(FILE *file, const char *path, const char *header)
{
    char row[1024] = "";
    rewind(file);
    if (!fgets(row, sizeof row, file) || strncmp(header, row, strlen(row)) == 0)
        return DDPM_OK;
    row[strcspn(row, "\r\n")] = 0;
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got the first line \"%.40s\", want \"%.40s…\"; move the file away, and "
                      "the run begins a new one",
                      path, row, header);
}
