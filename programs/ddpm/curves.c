/* What the validation curves show. */
#include "curves.h"

/* The gap between the curves must grow by at least this fraction of the best validation loss. */
static const double least_growth = 0.01;

/* No validation since the best one was as good, the loss on training pictures still fell, and the
 * gap between the two has grown noticeably. */
static bool have_parted(const struct ddpm_curves *curves)
{
    const struct ddpm_measurement *best = &curves->best, *last = &curves->last;
    const double growth = (last->validation - last->training) - (best->validation - best->training);
    return curves->since >= DDPM_CURVES_PART_AFTER && last->training < best->training &&
           growth > least_growth * best->validation;
}

bool ddpm_curves_add(struct ddpm_curves *curves, const struct ddpm_measurement *measurement)
{
    const bool better = curves->count++ == 0 || measurement->validation < curves->best.validation;
    curves->last = *measurement;
    ++curves->since;
    if (better) {
        curves->best = *measurement;
        curves->since = 0;
        curves->parted = 0;
    } else if (measurement->step <= curves->patches) {
        curves->since = 0;
    } else if (!curves->parted && have_parted(curves)) {
        curves->parted = curves->best.step;
    }
    return better;
}
