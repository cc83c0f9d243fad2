/* What log.csv says, for ddpm info. */
#include "info_log.h"

#include <stdio.h>

#include "program.h"
#include "run_log.h"

enum { LOG_ROWS = 100, ROW_BYTES = 512 };

ddpm_status ddpm_info_log(const char *path)
{
    FILE *file = fopen(path, "r");
    char row[ROW_BYTES];
    double losses[LOG_ROWS] = {0}, seconds = 0, loss = 0, sum = 0;
    long long step = 0, rows = 0;
    if (!file)
        return ddpm_raise_errno("%s: cannot be read", path);
    while (fgets(row, sizeof row, file)) {
        if (sscanf(row, "%lld,%lf", &step, &loss) == 2) {
            losses[rows++ % LOG_ROWS] = loss;
            seconds = ddpm_run_log_seconds(row);
        }
    }
    (void)fclose(file);
    if (rows == 0)
        return DDPM_OK;
    const int kept = rows < LOG_ROWS ? (int)rows : LOG_ROWS;
    for (int i = 0; i < kept; ++i)
        sum += losses[i];
    char time[DDPM_TEXT_BYTES];
    printf("log         %lld steps in %s; last loss %.5g, mean of the last %d %.5g\n", step,
           ddpm_time_text(time, seconds), loss, kept, sum / kept);
    return DDPM_OK;
}

ddpm_status ddpm_info_log_file(const char *path)
{
    printf("log of ddpm train\n");
    return ddpm_info_log(path);
}
