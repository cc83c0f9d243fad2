/* What the validation curves show. */
#include "curves.h"

/* The gap between the curves must grow by at least this fraction of the best validation loss. */
static const double least_growth = 0.01;

/* No validation since the reference was as good, the loss on training pictures still fell, and the
 * gap between the two has grown noticeably. */
static bool have_parted(const struct ddpm_curves *curves)
{
    const struct ddpm_measurement *reference = &curves->reference, *last = &curves->last;
    const double growth =
        (last->validation - last->training) - (reference->validation - reference->training);
    return curves->since >= DDPM_CURVES_PART_AFTER && last->training < reference->training &&
           growth > least_growth * reference->validation;
}

bool ddpm_curves_add(struct ddpm_curves *curves, const struct ddpm_measurement *measurement)
{
    const bool better = curves->count++ == 0 || measurement->validation < curves->best.validation;
    const bool first = curves->reference.step <= curves->patches; /* on whole pictures */
    curves->last = *measurement;
    ++curves->since;
    if (better)
        curves->best = *measurement;
    if (first || measurement->validation < curves->reference.validation) {
        curves->reference = *measurement;
        curves->since = 0;
        curves->parted = 0;
    } else if (!curves->parted && have_parted(curves)) {
        curves->parted = curves->reference.step;
    }
    return better;
}
