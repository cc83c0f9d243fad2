/* The probability flow, solved from pictures to noise. */
#include "diffusion/probability_flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

static const double ln_two_pi = 1.8378770664093454836;

/* A level in the variables of the equation: x = scale·z. */
struct place {
    struct ddpm_level level;
    double scale, rate;
};

static struct place place_at(const struct ddpm_path *path, double w)
{
    struct place place = {.scale = 1, .rate = 1};
    switch (path->kind) {
    case DDPM_PATH_FLOW:
        place.level = ddpm_path_level_of_sigma(path, w);
        place.rate = 1 / w;
        break;
    case DDPM_PATH_EDM:
        place.level = ddpm_path_level_of_sigma(path, exp(w));
        break;
    case DDPM_PATH_SCHEDULE:
        place.level = ddpm_path_level_at(path, exp(w));
        place.scale = place.level.alpha;
        break;
    }
    return place;
}

static double coordinate_of(const struct ddpm_path *path, double t)
{
    const struct ddpm_level level = ddpm_path_level(path, t);
    return path->kind == DDPM_PATH_FLOW ? level.sigma : -ddpm_level_lambda(&level);
}

/* The noisiest timestep that still contains some of the picture. */
static double last_time(const struct ddpm_path *path)
{
    const double end = ddpm_path_end(path);
    const bool nothing = path->kind == DDPM_PATH_SCHEDULE && path->alpha_bars[(int64_t)end] == 0;
    return nothing ? end - 1 : end;
}

/* Arrays [pictures][values], and of each picture. */
struct solving {
    const struct ddpm_flow *flow;
    int64_t count;                      /* of values in all pictures */
    double *z;                          /* at the start of the step */
    double *x, *x0, *slope, *sum;       /* of this stage; Σ weight·slope over the step */
    double *traces, *change, *integral; /* Σ of the divergence: this stage, this step, all */
};

/* Compute dz/dw at z + ahead·slope, and add it to the step's sum with that weight. */
static ddpm_status stage(struct solving *s, double w, double ahead, double weight)
{
    const struct ddpm_flow *flow = s->flow;
    const struct place place = place_at(flow->path, w);
    for (int64_t i = 0; i < s->count; ++i) {
        s->slope[i] = s->z[i] + ahead * s->slope[i];
        s->x[i] = place.scale * s->slope[i];
    }
    DDPM_TRY(flow->denoise(flow->user, &place.level, s->x, s->x0, s->traces));
    for (int64_t i = 0; i < s->count; ++i) {
        s->slope[i] = place.rate * (s->slope[i] - s->x0[i]);
        s->sum[i] += weight * s->slope[i];
    }
    for (int64_t k = 0; k < flow->pictures; ++k)
        s->change[k] += weight * place.rate * ((double)flow->values - place.scale * s->traces[k]);
    return DDPM_OK;
}

static ddpm_status step(struct solving *s, double w, double width)
{
    memset(s->sum, 0, (size_t)s->count * sizeof *s->sum);
    memset(s->slope, 0, (size_t)s->count * sizeof *s->slope);
    memset(s->change, 0, (size_t)s->flow->pictures * sizeof *s->change);
    DDPM_TRY(stage(s, w, 0, 1));
    DDPM_TRY(stage(s, w + width / 2, width / 2, 2));
    DDPM_TRY(stage(s, w + width / 2, width / 2, 2));
    DDPM_TRY(stage(s, w + width, width, 1));
    for (int64_t i = 0; i < s->count; ++i)
        s->z[i] += width / 6 * s->sum[i];
    for (int64_t k = 0; k < s->flow->pictures; ++k)
        s->integral[k] += width / 6 * s->change[k];
    return DDPM_OK;
}

static ddpm_status solve(struct solving *s, double *log_density)
{
    const struct ddpm_flow *flow = s->flow;
    const struct ddpm_path *path = flow->path;
    const double clear = ddpm_path_begin(path), noisy = last_time(path);
    const double begin = coordinate_of(path, clear), end = coordinate_of(path, noisy);
    const double width = (end - begin) / (double)flow->steps, values = (double)flow->values;
    /* at the clean end z is the picture; for flow z is alpha times it */
    const double first = path->kind == DDPM_PATH_FLOW ? ddpm_path_level(path, clear).alpha : 1;
    for (int64_t i = 0; i < s->count; ++i)
        s->z[i] *= first;
    for (int64_t i = 0; i < flow->steps; ++i)
        DDPM_TRY(step(s, begin + (double)i * width, width));
    const struct place last = place_at(path, end);
    const double deviation = path->kind == DDPM_PATH_SCHEDULE ? 1 : last.level.sigma;
    for (int64_t k = 0; k < flow->pictures; ++k) {
        double squares = 0;
        for (int64_t i = 0; i < flow->values; ++i) {
            const double unit = last.scale * s->z[k * flow->values + i] / deviation;
            squares += unit * unit;
        }
        log_density[k] = -squares / 2 - values * (ln_two_pi / 2 + log(deviation)) +
                         values * (log(last.scale) + log(first)) + s->integral[k];
    }
    return DDPM_OK;
}

ddpm_status ddpm_flow_likelihood(const struct ddpm_flow *flow, double *x, double *log_density)
{
    struct solving s = {.flow = flow, .count = flow->pictures * flow->values, .z = x};
    const size_t count = (size_t)s.count, pictures = (size_t)flow->pictures;
    double *room;
    DDPM_TRY(ddpm_new_array((void **)&room, 4 * count + 3 * pictures, sizeof *room,
                            "pictures on their way through noise"));
    s.x = room;
    s.x0 = s.x + count;
    s.slope = s.x0 + count;
    s.sum = s.slope + count;
    s.traces = s.sum + count;
    s.change = s.traces + pictures;
    s.integral = s.change + pictures;
    ddpm_status status = solve(&s, log_density);
    free(room);
    return status;
}
