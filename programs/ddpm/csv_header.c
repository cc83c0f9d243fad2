/* Checks on log.csv and validation.csv before a resumed run cuts off their last rows. */
#include "csv_header.h"

#include <stdlib.h>
#include <string.h>

enum { ROW_BYTES = 1024 };

static const char byte_order_mark[] = "\xEF\xBB\xBF";

bool ddpm_csv_is_header(const char *row, const char *header)
{
    const size_t bytes = strlen(header) - 1, mark = sizeof byte_order_mark - 1;
    if (strncmp(row, byte_order_mark, mark) == 0)
        row += mark;
    return strncmp(row, header, bytes) == 0 &&
           (strcmp(row + bytes, "\n") == 0 || strcmp(row + bytes, "\r\n") == 0);
}

static void drop_line_end(char *row)
{
    size_t length = strlen(row);
    while (length > 0 && (row[length - 1] == '\n' || row[length - 1] == '\r'))
        row[--length] = 0;
}

/* Names the first column that differs. */
static ddpm_status refuse_header(const char *path, char *row, const char *header)
{
    size_t same = 0;
    drop_line_end(row);
    while (row[same] && row[same] == header[same])
        ++same;
    while (same > 0 && header[same - 1] != ',')
        --same;
    const int column = (int)strcspn(header + same, ",\n");
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: the first line has \"%.60s\" where \"%.*s\" should be; move the file "
                      "away, and the run begins a new one",
                      path, row + same, column, header + same);
}

static ddpm_status check_row(const char *path, char *row, int64_t step)
{
    char *rest;
    const long long number = strtoll(row, &rest, 10);
    if (rest > row && *rest == ',' && number > step)
        return DDPM_OK;
    drop_line_end(row);
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got the row \"%.60s\", want numbers with commas between them; move the "
                      "file away, and the run begins a new one",
                      path, row);
}

ddpm_status ddpm_csv_check_cut(FILE *file, const char *path, const char *header, int64_t step,
                               long end)
{
    char row[ROW_BYTES];
    if (fseek(file, end, SEEK_SET) != 0)
        return ddpm_raise_errno("%s: cannot be read", path);
    if (!fgets(row, sizeof row, file))
        return DDPM_OK;
    if (end > 0)
        return strchr(row, '\n') ? check_row(path, row, step) : DDPM_OK;
    return strncmp(header, row, strlen(row)) == 0 ? DDPM_OK : refuse_header(path, row, header);
}
