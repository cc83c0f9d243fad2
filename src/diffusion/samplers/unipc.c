/* UniPC (Zhao et al. 2023): predicts x̂_0, B(h) = e^-h - 1 ("bh2"), and corrects after every step
 * but the last, which costs no evaluation.
 *
 * m_0 is x̂_0 at the level a step leaves, m_1 and m_2 are those before it, m_t is the one at the
 * level it reaches; h = λ' - λ, r_j = (λ_j - λ_0)/h, and r = 1 for m_t.
 *
 *     predicted = σ'/σ·x - α'·B·(m_0 + Σ_{j=1..p-1} ρ_j·(m_j - m_0)/r_j)
 *     corrected = the same with different ρ and one more term, ρ_t·(m_t - m_0)
 *
 * x is the same in both, so corrected - predicted is a sum of m's alone. One turn runs the network
 * on the predicted x, corrects by its output, and takes the next step: no x is ever kept. */
#include <math.h>

#include "diffusion/samplers/samplers.h"

enum { MOST = DDPM_SAMPLER_SLOTS };

/* One of the two sums of a step, without σ'/σ·x. */
struct weights {
    double kept[MOST], reached; /* of m_0, m_1, m_2; of m_t */
};

/* Solve a·x = b; b becomes x. The rows are powers 0, 1, … of distinct numbers, so no pivot is 0. */
static void solve(int n, double a[MOST][MOST], double *b)
{
    for (int k = 0; k < n; ++k)
        for (int i = k + 1; i < n; ++i) {
            const double factor = a[i][k] / a[k][k];
            for (int j = k; j < n; ++j)
                a[i][j] -= factor * a[k][j];
            b[i] -= factor * b[k];
        }
    for (int i = n - 1; i >= 0; --i) {
        for (int j = i + 1; j < n; ++j)
            b[i] -= a[i][j] * b[j];
        b[i] /= a[i][i];
    }
}

/* φ_1(z) = (e^z - 1)/z, φ_{k+1}(z) = (φ_k(z) - 1/k!)/z: by its series where that would cancel. */
static double phi(int k, double z)
{
    double factorial = 1; /* of k - 1 */
    for (int i = 2; i < k; ++i)
        factorial *= i;
    if (fabs(z) >= 1)
        return k == 1 ? expm1(z) / z : (phi(k - 1, z) - 1 / factorial) / z;
    double term = 1 / (factorial * k), sum = 0;
    for (int i = 1; i <= 20; ++i) {
        sum += term;
        term *= z / (k + i);
    }
    return sum;
}

/* The ρ of n terms: Σ_j r_j^(k-1)·ρ_j = k!·φ_{k+1}(-h)/φ_1(-h) for k = 1 … n. A single ρ is 1/2 for
 * any h, as in the authors' code, without losing order. */
static void find_rho(int n, const double *r, double h, double *rho)
{
    double matrix[MOST][MOST], factorial = 1;
    if (n == 1) {
        rho[0] = 0.5;
        return;
    }
    for (int k = 1; k <= n; ++k) {
        for (int j = 0; j < n; ++j)
            matrix[k - 1][j] = pow(r[j], k - 1);
        factorial *= k;
        rho[k - 1] = factorial * phi(k + 1, -h) / phi(1, -h);
    }
    solve(n, matrix, rho);
}

/* One sum of the step from `from` to from[1] of order p, with or without m_t. */
static struct weights weigh(const struct ddpm_level *from, int p, bool reached)
{
    const struct ddpm_level *to = from + 1;
    const double h = ddpm_step_length(from, to), scale = -to->alpha * expm1(-h);
    struct weights sum = {.kept = {scale}};
    double r[MOST], rho[MOST];
    if (isinf(h)) /* to the clean picture, or from alpha = 0 */
        return sum;
    for (int j = 1; j < p; ++j)
        r[j - 1] = -ddpm_step_length(from - j, from) / h;
    r[p - 1] = 1;
    const int terms = reached ? p : p - 1;
    if (terms == 0)
        return sum;
    find_rho(terms, r, h, rho);
    for (int j = 1; j < p; ++j) {
        sum.kept[j] = scale * rho[j - 1] / r[j - 1];
        sum.kept[0] -= sum.kept[j];
    }
    sum.reached = reached ? scale * rho[p - 1] : 0;
    sum.kept[0] -= sum.reached;
    return sum;
}

/* The order of step i: the number of levels before it, without one whose alpha is 0. Near the clean
 * picture each of the last steps is one order lower than the step before, so that the last is first
 * order. */
static int order_of(const struct ddpm_sampler_request *request, int most, size_t i)
{
    const size_t steps = ddpm_request_steps(request);
    const size_t behind = request->levels[0].alpha > 0 ? i : i ? i - 1 : 0;
    size_t order = (size_t)most;
    if (order > behind + 1)
        order = behind + 1;
    if (request->levels[steps].sigma == 0 && order > steps - i)
        order = steps - i;
    return (int)order;
}

ddpm_status ddpm_fill_unipc(const struct ddpm_sampler_request *request, struct ddpm_turns *turns)
{
    const int most = request->order ? request->order : 2;
    struct weights correction = {0}; /* corrected - predicted of the previous step */
    for (size_t i = 0; i < ddpm_request_steps(request); ++i) {
        const struct ddpm_level *from = &request->levels[i];
        const int order = order_of(request, most, i);
        const struct weights next = weigh(from, order, false);
        struct ddpm_turn *turn;
        DDPM_TRY(ddpm_turns_add(turns, i, from, &turn));
        turn->x = from[1].sigma / from->sigma;
        turn->x0 = turn->x * correction.reached + next.kept[0];
        for (int j = 0; j < most && (size_t)j < i; ++j) {
            /* m_j of the previous step is m_{j+1} of this one. */
            int slot = (int)((i - 1 - (size_t)j) % (size_t)most);
            double own = j + 1 < most ? next.kept[j + 1] : 0;
            turn->kept[slot] = turn->x * correction.kept[j] + own;
        }
        turn->keep_x0 = (int)(i % (size_t)most);
        correction = weigh(from, order, true);
        for (int j = 0; j < MOST; ++j)
            correction.kept[j] -= next.kept[j];
    }
    return DDPM_OK;
}
