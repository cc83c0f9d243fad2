/* Sinusoidal embedding of the timestep (Vaswani et al. 2017, in the form of Ho et al. 2020). */
#include <math.h>

#include "kernels/ref/ref.h"

/* y[b] = [sin(t_b·f_i), cos(t_b·f_i)], f_i = exp(-i·ln θ/(F/2-1)), i < F/2.
 * in: t int32 or floating [B,1,1,1]; out: y [B,1,1,F], F even and at least 4 */
ddpm_status ddpm_ref_timestep_embedding(const struct ddpm_call *call)
{
    const struct ddpm_tensor *t = &call->in[0], *y = &call->out[0];
    const int64_t half = y->c / 2;
    for (int64_t n = 0; n < y->n; ++n) {
        for (int64_t i = 0; i < half; ++i) {
            double frequency = exp(-(double)i * log(call->attributes.theta) / (double)(half - 1));
            double angle = ref_get(t, n, 0) * frequency;
            ref_set(y, n, i, sin(angle));
            ref_set(y, n, half + i, cos(angle));
        }
    }
    return DDPM_OK;
}
