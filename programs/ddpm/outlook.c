/* How long a run will still take. */
#include "outlook.h"

double ddpm_grid_in_steps(int64_t evaluations, int64_t pictures, int64_t pictures_per_step)
{
    return (double)evaluations * (double)pictures / (double)pictures_per_step / 3;
}

void ddpm_share_add(struct ddpm_share *share, double seconds)
{
    ++share->count;
    share->seconds += seconds;
}

static double mean(const struct ddpm_share *share, double fallback)
{
    return share->count > 0 ? share->seconds / (double)share->count : fallback;
}

/* How many more times something happens that is due every `every` steps and at the end. */
static int64_t times_left(int64_t every, int64_t step, int64_t steps)
{
    if (every <= 0 || step < 1)
        return 1;
    return steps / every - (step - 1) / every + (steps % every != 0);
}

double ddpm_outlook_left(const struct ddpm_outlook *outlook, int64_t step, double each)
{
    const int64_t patches = step < outlook->patch_steps ? outlook->patch_steps - step : 0;
    double left = each * (double)patches;
    if (step <= outlook->patch_steps && outlook->patch_steps > 0)
        each /= outlook->patch_cost; /* that of a step on whole pictures */
    left += each * (double)(outlook->steps - step - patches);
    left += mean(&outlook->checkpoints, 0) *
            (double)times_left(outlook->save_every, step, outlook->steps);
    if (outlook->sample_every > 0 && outlook->grid_in_steps > 0)
        left += mean(&outlook->grids, outlook->grid_in_steps * each) *
                (double)times_left(outlook->sample_every, step, outlook->steps);
    if (outlook->validate_every > 0)
        left += mean(&outlook->validations, outlook->validation_in_steps * each) *
                (double)times_left(outlook->validate_every, step, outlook->steps);
    return left;
}
