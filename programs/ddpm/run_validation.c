/* The validation loss of a run. */
#include "run_validation.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/validation.h"
#include "csv_header.h"
#include "formats/file.h"
#include "program.h"
#include "progress.h"
#include "training/patches.h"

enum { ROW_BYTES = 1024 };

/* Shares of the run's time: the target when the number of steps is chosen here, and the limit
 * including the measurement after the last step. */
static const double aimed_share = 0.015, most_share = 0.02;

/* A run with fewer checkpoints than this isn't measured at checkpoints, but at most
 * MOST_MEASUREMENTS times. */
enum { FEWEST_SAVES = 5, MOST_MEASUREMENTS = 20 };

static int64_t choose_every(const struct ddpm_training_config *training, double cost)
{
    const double least = ceil(cost / aimed_share);
    const int64_t unit = training->save_every;
    if (least > (double)training->steps)
        return training->steps;
    if (unit == 0 || unit > training->steps / FEWEST_SAVES)
        return (int64_t)fmax(least, ceil((double)training->steps / MOST_MEASUREMENTS));
    return (int64_t)ceil(least / (double)unit) * unit;
}

/* Measurements in the whole run, without the one after the last step. */
static double measurements(const struct ddpm_run_validation *validation)
{
    return (double)((validation->steps - 1) / validation->every);
}

static double share(const struct ddpm_run_validation *validation)
{
    return (measurements(validation) + validation->at_end) * validation->plan.cost_in_steps /
           (double)validation->steps;
}

ddpm_status ddpm_run_validation_plan(struct ddpm_run_validation *validation,
                                     const struct ddpm_trainer *trainer, struct ddpm_config *config)
{
    struct ddpm_training_config *training = &config->training;
    *validation = (struct ddpm_run_validation){.steps = training->steps,
                                               .patience = training->patience,
                                               .curves.patches = ddpm_patch_steps(training)};
    DDPM_TRY(ddpm_trainer_validation_plan(trainer, &validation->plan));
    if (validation->plan.pictures == 0)
        return DDPM_OK;
    validation->at_end = true;
    validation->every = training->validate_every;
    if (validation->every > 0)
        return DDPM_OK;
    validation->every = choose_every(training, validation->plan.cost_in_steps);
    validation->at_end = share(validation) <= most_share;
    if (validation->every < training->steps)
        training->validate_every = validation->every;
    return DDPM_OK;
}

bool ddpm_run_validation_due(const struct ddpm_run_validation *validation, int64_t step)
{
    if (validation->plan.pictures == 0 || step < 1)
        return false;
    return step == validation->steps ? validation->at_end : step % validation->every == 0;
}

void ddpm_run_validation_describe(const struct ddpm_run_validation *validation, int64_t pictures)
{
    const struct ddpm_validation_plan *plan = &validation->plan;
    char aside[DDPM_TEXT_BYTES], left[DDPM_TEXT_BYTES], every[DDPM_TEXT_BYTES];
    if (plan->pictures == 0 && pictures < DDPM_VALIDATION_AUTO_LEAST)
        ddpm_progress_remark(
            "held out  none (fewer than %d pictures), so there will be no checkpoints/best; see "
            "--validation",
            DDPM_VALIDATION_AUTO_LEAST);
    if (plan->pictures == 0)
        return;
    const double percent = 100 * share(validation);
    ddpm_progress_remark("held out  %s pictures, %s for training",
                         ddpm_count_text(aside, plan->set_aside),
                         ddpm_count_text(left, plan->trained_on));
    if (measurements(validation) == 0 && !validation->at_end)
        ddpm_progress_remark("          the run is too short to measure their loss in 2 %% of its "
                             "time; --validate-every N measures it anyway");
    else
        ddpm_progress_remark("          the loss is measured every %s steps, on %" PRId64
                             " held-out and %" PRId64 " training pictures: about %.*f %% of the "
                             "time",
                             ddpm_count_text(every, validation->every), plan->pictures,
                             plan->pictures, percent < 10 ? 2 : 0, percent);
}

static void write_header(char *out, size_t bytes)
{
    static const char *const sides[] = {"validation", "training"};
    size_t used = (size_t)snprintf(out, bytes, "step,validation_loss,training_ema_loss");
    for (int side = 0; side < 2; ++side)
        for (int band = 1; band <= DDPM_VALIDATION_BANDS; ++band)
            used += (size_t)snprintf(out + used, bytes - used, ",%s_band_%d", sides[side], band);
    snprintf(out + used, bytes - used, "\n");
}

/* The first numbers of a complete row. */
static bool read_row(const char *row, struct ddpm_measurement *out)
{
    char *rest;
    out->step = strtoll(row, &rest, 10);
    if (rest == row || *rest != ',' || !strchr(row, '\n'))
        return false;
    out->validation = strtod(rest + 1, &rest);
    if (*rest != ',')
        return false;
    out->training = strtod(rest + 1, &rest);
    return *rest == ',';
}

ddpm_status ddpm_run_validation_read(FILE *file, int64_t step, struct ddpm_curves *curves,
                                     long *end)
{
    char row[ROW_BYTES], header[ROW_BYTES];
    struct ddpm_measurement measurement;
    *end = 0;
    write_header(header, sizeof header);
    rewind(file);
    while (fgets(row, sizeof row, file)) {
        if (*end == 0 && !ddpm_csv_is_header(row, header))
            break;
        if (*end > 0) {
            if (!read_row(row, &measurement) || measurement.step > step)
                break;
            ddpm_curves_add(curves, &measurement);
        }
        *end = ftell(file);
    }
    return ferror(file) ? ddpm_raise_errno("validation.csv cannot be read") : DDPM_OK;
}

static ddpm_status flush(struct ddpm_run_validation *validation)
{
    return fflush(validation->file) == 0
               ? DDPM_OK
               : ddpm_raise_errno("%s: cannot be written", validation->path);
}

static ddpm_status cut(struct ddpm_run_validation *validation, int64_t step)
{
    char header[ROW_BYTES];
    long end;
    DDPM_TRY(ddpm_run_validation_read(validation->file, step, &validation->curves, &end));
    write_header(header, sizeof header);
    if (step > 0)
        DDPM_TRY(ddpm_csv_check_cut(validation->file, validation->path, header, step, end));
    if (fflush(validation->file) != 0 || ftruncate(fileno(validation->file), end) != 0 ||
        fseek(validation->file, end, SEEK_SET) != 0)
        return ddpm_raise_errno("%s: cannot truncate to the rows up to step %" PRId64,
                                validation->path, step);
    if (end == 0 && fputs(header, validation->file) < 0)
        return ddpm_raise_errno("%s: cannot be written", validation->path);
    return flush(validation);
}

ddpm_status ddpm_run_validation_begin(struct ddpm_run_validation *validation, const char *run,
                                      int64_t step)
{
    DDPM_TRY(ddpm_path_join(&validation->path, run, "validation.csv"));
    if (validation->plan.pictures == 0)
        return ddpm_directory_remove(validation->path); /* from a run that starts over */
    const int descriptor = open(validation->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    validation->file = descriptor < 0 ? NULL : fdopen(descriptor, "r+");
    if (!validation->file) {
        const ddpm_status status = ddpm_raise_errno("%s: cannot be opened", validation->path);
        if (descriptor >= 0)
            close(descriptor);
        return status;
    }
    return cut(validation, step);
}

static ddpm_status append(struct ddpm_run_validation *validation,
                          const struct ddpm_validation_result *result)
{
    const double *const sides[] = {result->bands, result->training_bands};
    bool good = fprintf(validation->file, "%" PRId64 ",%.17g,%.17g", result->step, result->loss,
                        result->training_loss) > 0;
    for (int side = 0; side < 2; ++side)
        for (int band = 0; band < DDPM_VALIDATION_BANDS; ++band)
            good = good && fprintf(validation->file, ",%.17g", sides[side][band]) > 0;
    if (!good || fputs("\n", validation->file) < 0)
        return ddpm_raise_errno("%s: cannot be written", validation->path);
    return flush(validation);
}

/* Printed once, when the curves diverge. */
static void say_parted(const struct ddpm_run_validation *validation)
{
    const struct ddpm_measurement *best = &validation->curves.best,
                                  *last = &validation->curves.last;
    ddpm_progress_warn(
        "the curves have diverged since step %" PRId64 ": from there to step %" PRId64
        " the validation loss rose from %.5g to %.5g, while that on training pictures fell from "
        "%.5g to %.5g",
        best->step, last->step, best->validation, last->validation, best->training, last->training);
    ddpm_progress_warn("the model is overfitting; use checkpoints/best, of step %" PRId64,
                       best->step);
}

ddpm_status ddpm_run_validation_measure(struct ddpm_run_validation *validation,
                                        struct ddpm_trainer *trainer,
                                        struct ddpm_validation_result *result)
{
    struct ddpm_curves *curves = &validation->curves;
    const int64_t parted = curves->parted;
    DDPM_TRY(ddpm_trainer_validate(trainer, result));
    validation->is_best = ddpm_curves_add(
        curves, &(struct ddpm_measurement){result->step, result->loss, result->training_loss});
    DDPM_TRY(append(validation, result));
    ddpm_progress_remark("step %" PRId64 ": validation loss %.5g, on training pictures %.5g%s",
                         result->step, result->loss, result->training_loss,
                         validation->is_best ? ", the best so far" : "");
    if (curves->parted && !parted)
        say_parted(validation);
    return DDPM_OK;
}

bool ddpm_run_validation_is_over(const struct ddpm_run_validation *validation)
{
    return validation->plan.pictures > 0 && validation->patience > 0 &&
           validation->curves.since >= validation->patience;
}

void ddpm_run_validation_say_over(const struct ddpm_run_validation *validation)
{
    const struct ddpm_curves *curves = &validation->curves;
    ddpm_progress_remark("stopped by --patience: %" PRId64
                         " measurements without a better validation loss than %.5g at step %" PRId64
                         "; use checkpoints/best",
                         curves->since, curves->best.validation, curves->best.step);
}

void ddpm_run_validation_close(struct ddpm_run_validation *validation)
{
    if (validation->file)
        (void)fclose(validation->file);
    free(validation->path);
    *validation = (struct ddpm_run_validation){0};
}
