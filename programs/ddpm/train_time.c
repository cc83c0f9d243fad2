/* How many steps fit into a given time. The learning rate may decay over the run, so the number
 * of steps must be known before the first one: time a few steps, then start over. */
#include "train_time.h"

#include <inttypes.h>
#include <string.h>

#include "config/recipes.h"
#include "core/clock.h"
#include "core/text.h"
#include "processes.h"
#include "program.h"
#include "training/patches.h"
#include "training/ranks.h"

enum {
    SKIPPED = 2, /* the first steps are slower */
    TIMED = 5,   /* at least this many steps are timed */
    LEAST_STEPS = 10
};

static ddpm_status refuse(const char *text)
{
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option --time: got \"%s\", want a time such as 90s, 10m, 2h or 1h30m", text);
}

ddpm_status ddpm_time_read(const char *text, double *seconds)
{
    static const struct {
        char letter;
        double seconds;
    } units[] = {{'h', 3600}, {'m', 60}, {'s', 1}};
    const char *at = text;
    size_t unit = 0;
    *seconds = 0;
    while (*at) {
        char *end;
        const double value = ddpm_parse_double(at, &end);
        /* no sign, no exponent, no "inf" */
        if (end == at || end != at + strspn(at, "0123456789.") || value > 1e9)
            return refuse(text);
        while (unit < sizeof units / sizeof *units && units[unit].letter != *end)
            ++unit;
        if (unit == sizeof units / sizeof *units)
            return refuse(text);
        *seconds += value * units[unit++].seconds;
        at = end + 1;
    }
    return *seconds > 0 ? DDPM_OK : refuse(text);
}

ddpm_status ddpm_train_time_check(const struct ddpm_arguments *arguments,
                                  struct ddpm_train_run *run)
{
    const char *text = ddpm_arguments_get(arguments, "time");
    run->seconds = 0;
    if (!text)
        return DDPM_OK;
    if (run->resume)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --time: is for new runs; --steps N changes the steps of a "
                          "resumed run");
    if (ddpm_arguments_has_setting(arguments, "steps"))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "options --time and --steps: want one of them");
    return ddpm_time_read(text, &run->seconds);
}

ddpm_status ddpm_train_time_measure(struct ddpm_train_run *run, double *each)
{
    const int kinds = run->outlook.patch_steps > 0 ? 2 : 1; /* of steps, timed one after another */
    const double share = 0.02 * run->seconds;
    const double enough = (share < 3 ? 3 : share > 60 ? 60 : share) / kinds;
    double begin = ddpm_now();
    bool more = true;
    for (int step = 1; more; ++step) {
        struct ddpm_step_result result;
        DDPM_TRY(ddpm_trainer_step(run->trainer, &result));
        const double now = ddpm_now();
        if (step == SKIPPED)
            begin = now;
        *each = (now - begin) / (step > SKIPPED ? step - SKIPPED : 1);
        more = step < SKIPPED + TIMED || now - begin < enough;
        DDPM_TRY(ddpm_ranks_broadcast(ddpm_processes_ranks(), 0, &more, sizeof more));
    }
    return DDPM_OK;
}

/* The largest number of steps that fits into `seconds`, with its grids and validation. How long a
 * checkpoint takes is not known yet. */
static int64_t steps_within(const struct ddpm_train_run *run, double seconds)
{
    const double each = run->timed;
    struct ddpm_training_config training = run->config->training;
    struct ddpm_outlook outlook = run->outlook;
    const double least = outlook.patch_cost > 1 ? each / outlook.patch_cost : each;
    int64_t fits = 0, beyond = (int64_t)(seconds / least) + 2;
    while (beyond - fits > 1) {
        outlook.steps = training.steps = fits + (beyond - fits) / 2;
        outlook.patch_steps = ddpm_patch_steps(&training);
        if (each + ddpm_outlook_left(&outlook, 1, each) <= seconds)
            fits = outlook.steps;
        else
            beyond = outlook.steps;
    }
    return fits;
}

static void say_choice(const struct ddpm_train_run *run)
{
    const int64_t patches = run->outlook.patch_steps;
    const double whole = run->timed / run->outlook.patch_cost;
    char count[DDPM_TEXT_BYTES], time[DDPM_TEXT_BYTES];
    if (patches > 0)
        ddpm_progress_remark("time      %s steps of %.3g s on patches and",
                             ddpm_count_text(count, patches), run->timed);
    ddpm_progress_remark(
        "%s%s steps of %.3g s%s fit into %s", patches > 0 ? "          " : "time      ",
        ddpm_count_text(count, run->steps - patches), whole,
        patches > 0 ? " on whole pictures" : "", ddpm_time_text(time, run->seconds));
    ddpm_progress_remark(
        "          their number is now fixed: on a busier machine they take longer");
}

ddpm_status ddpm_train_time_choose(struct ddpm_train_run *run)
{
    const bool validates = strcmp(run->config->data.validation, "off") != 0;
    const double spent = ddpm_now() - run->started;
    const double left = (run->seconds - spent) * (validates ? 0.98 : 1);
    int64_t steps = steps_within(run, left > 0 ? left : 0);
    DDPM_TRY(ddpm_ranks_broadcast(ddpm_processes_ranks(), 0, &steps, sizeof steps));
    if (steps < LEAST_STEPS)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "option --time: a step takes %.*f s, and %.1f s passed before the first, so "
            "%" PRId64 " fit; want time for %d at least",
            run->timed < 1 ? 2 : 1, run->timed, spent, steps, LEAST_STEPS);
    run->steps = run->outlook.steps = run->config->training.steps = steps;
    run->outlook.patch_steps = ddpm_patch_steps(&run->config->training);
    ddpm_recipe_shorten_warmup(&run->config->training);
    if (ddpm_processes_lead())
        say_choice(run);
    return ddpm_config_check(run->config);
}
