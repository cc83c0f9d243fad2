/* log.csv of a run. */
#include "run_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "csv_header.h"
#include "formats/file.h"

static const char *const headers[] = {
    "step,loss,lr,grad_norm,images_per_second,seconds\n",
    "step,loss,lr,grad_norm,images_per_second,seconds,validation_loss,training_ema_loss\n"};
enum { ROW_BYTES = 512, COLUMNS_BEFORE_SECONDS = 5 };

double ddpm_run_log_seconds(const char *row)
{
    for (int column = 0; row && column < COLUMNS_BEFORE_SECONDS; ++column) {
        row = strchr(row, ',');
        row = row ? row + 1 : NULL;
    }
    return row ? strtod(row, NULL) : 0;
}

/* Find the end of the rows up to `step`, and the seconds of the last of them. */
static void scan(struct ddpm_run_log *log, int64_t step, long *end)
{
    char row[ROW_BYTES];
    *end = 0;
    while (fgets(row, sizeof row, log->file)) {
        if (!strchr(row, '\n'))
            return;
        if (*end > 0) {
            char *rest;
            long long number = strtoll(row, &rest, 10);
            if (*rest != ',' || number > step)
                return;
            log->seconds = ddpm_run_log_seconds(row);
        } else if (!ddpm_csv_is_header(row, headers[log->validates])) {
            return;
        }
        *end = ftell(log->file);
    }
}

ddpm_status ddpm_run_log_begin(struct ddpm_run_log *log, int64_t step)
{
    long end;
    rewind(log->file);
    scan(log, step, &end);
    if (step > 0)
        DDPM_TRY(ddpm_csv_check_cut(log->file, log->path, headers[log->validates], step, end));
    if (fflush(log->file) != 0 || ftruncate(fileno(log->file), end) != 0 ||
        fseek(log->file, end, SEEK_SET) != 0)
        return ddpm_raise_errno("%s: cannot truncate to the rows up to step %" PRId64, log->path,
                                step);
    if (end == 0 && fputs(headers[log->validates], log->file) < 0)
        return ddpm_raise_errno("%s: cannot be written", log->path);
    return ddpm_run_log_flush(log);
}

ddpm_status ddpm_run_log_open(struct ddpm_run_log *log, const char *run)
{
    *log = (struct ddpm_run_log){0};
    DDPM_TRY(ddpm_path_join(&log->path, run, "log.csv"));
    int descriptor = open(log->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    log->file = descriptor < 0 ? NULL : fdopen(descriptor, "r+");
    ddpm_status status = log->file ? ddpm_run_lock_take(&log->lock, run, descriptor)
                                   : ddpm_raise_errno("%s: cannot be opened", log->path);
    if (!log->file && descriptor >= 0)
        close(descriptor);
    if (status != DDPM_OK)
        ddpm_run_log_close(log);
    return status;
}

ddpm_status ddpm_run_log_append(struct ddpm_run_log *log, const struct ddpm_step_result *result,
                                const struct ddpm_validation_result *measured, int64_t pictures,
                                double seconds)
{
    char validation[80] = "";
    log->seconds += seconds;
    if (log->validates)
        snprintf(validation, sizeof validation, ",,");
    if (log->validates && measured)
        snprintf(validation, sizeof validation, ",%.9g,%.9g", measured->loss,
                 measured->training_loss);
    if (fprintf(log->file, "%" PRId64 ",%.9g,%.9g,%.9g,%.2f,%.3f%s\n", result->step, result->loss,
                result->lr, result->grad_norm, (double)pictures / (seconds > 0 ? seconds : 1e-9),
                log->seconds, validation) < 0)
        return ddpm_raise_errno("%s: cannot be written", log->path);
    return DDPM_OK;
}

ddpm_status ddpm_run_log_flush(struct ddpm_run_log *log)
{
    if (fflush(log->file) != 0)
        return ddpm_raise_errno("%s: cannot be written", log->path);
    return DDPM_OK;
}

void ddpm_run_log_close(struct ddpm_run_log *log)
{
    ddpm_run_lock_release(&log->lock); /* while the lock still keeps others out */
    if (log->file)
        (void)fclose(log->file);
    free(log->path);
    *log = (struct ddpm_run_log){0};
}
