/* Drawing with a planned sampler: run the turns for every batch and return x. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "core/random.h"
#include "model/sampler_state.h"
#include "tensor/layout.h"

/* One call of ddpm_sampler_draw(). */
struct drawing {
    struct ddpm_sampler *sampler;
    struct ddpm_draw draw;
    uint8_t *bytes; /* the output is either bytes or values */
    float *values;
};

static int64_t values_per_picture(const struct ddpm_sampler *sampler)
{
    return (int64_t)ddpm_sampler_picture_bytes(sampler);
}

static ddpm_status write_counters(const struct drawing *drawing, int64_t offset, uint32_t number)
{
    struct ddpm_sampler *s = drawing->sampler;
    const uint64_t seed = drawing->draw.seed;
    for (int64_t b = 0; b < s->options.batch; ++b) {
        int32_t *counter = s->host_counters + 4 * b;
        counter[0] = (int32_t)(drawing->draw.first + offset + b);
        counter[1] = (int32_t)number;
        counter[2] = (int32_t)(uint32_t)seed;
        counter[3] = (int32_t)(uint32_t)(seed >> 32);
    }
    return ddpm_graph_write(s->graph, s->counters, s->host_counters);
}

static ddpm_status write_rows(struct ddpm_sampler *s, const struct ddpm_turn *turn)
{
    struct ddpm_objective_row of = {0};
    float row[DDPM_TURN_COLUMNS];
    if (turn->evaluate)
        ddpm_objective_fill(&s->network->config.diffusion, &turn->at, &of);
    row[DDPM_TURN_INPUT] = (float)of.c_in;
    row[DDPM_TURN_TIME] = (float)of.c_noise;
    row[DDPM_TURN_X0_X] = (float)of.x0_x;
    row[DDPM_TURN_X0_OUT] = (float)of.x0_out;
    row[DDPM_TURN_X0] = (float)turn->x0;
    row[DDPM_TURN_X] = (float)turn->x;
    row[DDPM_TURN_OUT] = (float)turn->out;
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        row[DDPM_TURN_KEPT + j] = (float)turn->kept[j];
    row[DDPM_TURN_NOISE] = (float)turn->noise;
    row[DDPM_TURN_START] = (float)s->turns.start;
    row[DDPM_TURN_ONE] = 1;
    row[DDPM_TURN_KNOWN] = (float)turn->known;
    row[DDPM_TURN_KNOWN_NOISE] = (float)turn->known_noise;
    row[DDPM_TURN_LOWEST] = (float)turn->variance.lowest;
    row[DDPM_TURN_HIGHEST] = (float)turn->variance.highest;
    for (int64_t b = 0; b < s->options.batch; ++b)
        memcpy(s->host_rows + b * DDPM_TURN_COLUMNS, row, sizeof row);
    return ddpm_graph_write(s->graph, s->rows, s->host_rows);
}

/* Start from noise: x at the first level. */
static ddpm_status start_from_noise(const struct drawing *drawing, int64_t offset)
{
    struct ddpm_sampler *s = drawing->sampler;
    DDPM_TRY(write_counters(drawing, offset, 0));
    DDPM_TRY(write_rows(s, &(struct ddpm_turn){0}));
    return ddpm_graph_run(s->graph, s->parts.start);
}

/* Start from a picture, with noise added to the first turn's level. */
static ddpm_status start_from_picture(const struct drawing *drawing, int64_t offset)
{
    struct ddpm_sampler *s = drawing->sampler;
    const struct ddpm_turn noising = {.known = s->turns.picture, .known_noise = s->turns.noise};
    DDPM_TRY(write_counters(drawing, offset, 0));
    DDPM_TRY(write_rows(s, &noising));
    return ddpm_graph_run(s->graph, s->parts.start_picture);
}

/* Start each picture from its noise plus what the fit makes of that noise. */
static ddpm_status start_fitted(const struct drawing *drawing, int64_t offset)
{
    struct ddpm_sampler *s = drawing->sampler;
    const int64_t each = values_per_picture(s);
    for (int64_t b = 0; b < s->options.batch; ++b) {
        ddpm_fill_normal(s->planar_x, each, drawing->draw.seed, DDPM_STREAM_SAMPLE_INIT, 0,
                         (uint32_t)(drawing->draw.first + offset + b));
        ddpm_start_picture(s->start, s->turns.noise / s->turns.picture, s->planar_x,
                           s->host_x + b * each);
    }
    DDPM_TRY(ddpm_graph_write(s->graph, s->picture, s->host_x));
    return start_from_picture(drawing, offset);
}

/* Set the first x and the draw's other inputs. */
static ddpm_status start(const struct drawing *drawing, int64_t offset, int64_t count)
{
    struct ddpm_sampler *s = drawing->sampler;
    DDPM_TRY(ddpm_sampler_write_given(s, &drawing->draw, offset, count));
    if (drawing->draw.init)
        return DDPM_OK;
    if (s->chain.start > 0)
        return start_fitted(drawing, offset);
    return s->turns.picture == 0 ? start_from_noise(drawing, offset)
                                 : start_from_picture(drawing, offset);
}

static ddpm_status read_planar(struct ddpm_sampler *s)
{
    DDPM_TRY(ddpm_graph_read(s->graph, s->x, s->host_x));
    ddpm_nhwc_to_nchw(&s->x->tensor, s->host_x, s->planar_x);
    return DDPM_OK;
}

/* Tell the callback that step `step`, which started at `time`, is done, after this many evaluations
 * for this batch. */
static ddpm_status report(const struct drawing *drawing, int64_t step, double time,
                          int64_t evaluations, int64_t offset, int64_t count)
{
    struct ddpm_sampler *s = drawing->sampler;
    const struct ddpm_draw *draw = &drawing->draw;
    const struct ddpm_tensor *x = &s->x->tensor;
    const int64_t batch = s->options.batch;
    const int64_t left = s->steps - 1 - step;
    if (!draw->callback)
        return DDPM_OK;
    struct ddpm_sample_progress progress = {
        .time = time,
        .timestep = left,
        .done = offset / batch * s->steps + step + 1,
        .total = (draw->count + batch - 1) / batch * s->steps,
        .evaluations = offset / batch * s->evaluations + evaluations,
        .evaluations_total = (draw->count + batch - 1) / batch * s->evaluations,
        .first = offset,
        .count = count,
        .channels = x->c,
        .height = x->h,
        .width = x->w,
    };
    if (draw->every > 0 && left % draw->every == 0) {
        DDPM_TRY(read_planar(s));
        progress.x = s->planar_x;
    }
    if (draw->callback(draw->user, &progress) != 0)
        return ddpm_raise(DDPM_STOPPED, "stopped by the caller with %lld steps left",
                          (long long)left);
    return DDPM_OK;
}

static ddpm_status hand_out(const struct drawing *drawing, int64_t offset, int64_t count)
{
    struct ddpm_sampler *s = drawing->sampler;
    const int64_t per_picture = values_per_picture(s);
    if (drawing->values) {
        DDPM_TRY(read_planar(s));
        memcpy(drawing->values + offset * per_picture, s->planar_x,
               (size_t)(count * per_picture) * sizeof(float));
        return DDPM_OK;
    }
    DDPM_TRY(ddpm_graph_read(s->graph, s->x, s->host_x));
    for (int64_t i = 0; i < count * per_picture; ++i) {
        if (!isfinite(s->host_x[i]))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                              "picture %lld: the chain diverged to a value that is not finite; "
                              "try clip on, or check the weights",
                              (long long)(drawing->draw.first + offset + i / per_picture));
        drawing->bytes[offset * per_picture + i] = ddpm_byte_of(s->host_x[i]);
    }
    return DDPM_OK;
}

static ddpm_status draw_batch(const struct drawing *drawing, int64_t offset)
{
    struct ddpm_sampler *s = drawing->sampler;
    const int64_t left = drawing->draw.count - offset;
    const int64_t count = left < s->options.batch ? left : s->options.batch;
    const struct ddpm_turns *turns = &s->turns;
    int64_t evaluations = 0, before = 0; /* before this step */
    double time = 0;
    DDPM_TRY(start(drawing, offset, count));
    for (size_t i = 0; i < turns->count; ++i) {
        const struct ddpm_turn *turn = &turns->items[i];
        if (evaluations == before)
            time = turn->at.time; /* a step may evaluate again at the level that it reaches */
        DDPM_TRY(write_counters(drawing, offset, ddpm_turns_left(turns, i)));
        DDPM_TRY(write_rows(s, turn));
        DDPM_TRY(ddpm_sampler_run_turn(s, turn));
        evaluations += turn->evaluate;
        if (i + 1 == turns->count || turns->items[i + 1].step != turn->step) {
            DDPM_TRY(report(drawing, (int64_t)turn->step, time, evaluations, offset, count));
            before = evaluations;
        }
    }
    return hand_out(drawing, offset, count);
}

static ddpm_status check_numbers(const struct ddpm_draw *draw)
{
    if (draw->count < 1 || draw->count > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampling: count: got %lld, want 1 to %d",
                          (long long)draw->count, INT32_MAX);
    if (draw->first < 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampling: first: got %lld, want 0 or more",
                          (long long)draw->first);
    if (draw->first > INT32_MAX - draw->count)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampling: first: got %lld, want at most %lld with a count of %lld",
                          (long long)draw->first, (long long)(INT32_MAX - draw->count),
                          (long long)draw->count);
    return DDPM_OK;
}

/* The caller can give or get x at the first level only if it is pure noise. */
static ddpm_status check_noise(const struct ddpm_sampler *s)
{
    if (s->chain.start > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampling: this sampler starts from a fitted distribution, which takes "
                          "no noise as init; want a sampler with start \"noise\"");
    return DDPM_OK;
}

static ddpm_status check_draw(const struct ddpm_sampler *s, const struct ddpm_draw *draw)
{
    if (draw->every < 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampling: every: got %lld steps, want 0 or more",
                          (long long)draw->every);
    DDPM_TRY(check_numbers(draw));
    if (draw->init)
        DDPM_TRY(check_noise(s));
    return ddpm_sampler_check_given(s, draw);
}

static ddpm_status draw_all(struct drawing *drawing, const struct ddpm_draw *given, size_t values)
{
    struct ddpm_sampler *s = drawing->sampler;
    struct ddpm_draw *draw = &drawing->draw;
    DDPM_TRY(ddpm_take_options(draw, sizeof *draw, sizeof(size_t), given, "ddpm_draw"));
    DDPM_TRY(check_draw(s, draw));
    DDPM_TRY(ddpm_check_length("sampling: pictures", values,
                               (double)draw->count * (double)values_per_picture(s)));
    for (int64_t offset = 0; offset < draw->count; offset += s->options.batch)
        DDPM_TRY(draw_batch(drawing, offset));
    return DDPM_OK;
}

ddpm_status ddpm_sampler_draw(struct ddpm_sampler *sampler, const struct ddpm_draw *draw,
                              uint8_t *pictures, size_t bytes)
{
    DDPM_REQUIRE(sampler);
    DDPM_REQUIRE(pictures);
    struct drawing drawing = {.sampler = sampler, .bytes = pictures};
    return draw_all(&drawing, draw, bytes);
}

ddpm_status ddpm_sampler_draw_array(struct ddpm_sampler *sampler, const struct ddpm_draw *draw,
                                    float *pictures, size_t values)
{
    DDPM_REQUIRE(sampler);
    DDPM_REQUIRE(pictures);
    struct drawing drawing = {.sampler = sampler, .values = pictures};
    return draw_all(&drawing, draw, values);
}

ddpm_status ddpm_sampler_start_noise(struct ddpm_sampler *sampler, uint64_t seed, int64_t first,
                                     int64_t count, float *x, size_t values)
{
    DDPM_REQUIRE(sampler);
    DDPM_REQUIRE(x);
    const int64_t batch = sampler->options.batch, each = values_per_picture(sampler);
    const struct drawing drawing = {
        .sampler = sampler, .draw = {.seed = seed, .first = first, .count = count}, .values = x};
    DDPM_TRY(check_noise(sampler));
    DDPM_TRY(check_numbers(&drawing.draw));
    DDPM_TRY(ddpm_check_length("sampling: x", values, (double)count * (double)each));
    for (int64_t offset = 0; offset < count; offset += batch) {
        DDPM_TRY(start_from_noise(&drawing, offset));
        DDPM_TRY(hand_out(&drawing, offset, count - offset < batch ? count - offset : batch));
    }
    return DDPM_OK;
}

ddpm_status ddpm_sample(struct ddpm_network *network, const struct ddpm_sample_options *given,
                        uint8_t *pictures, size_t bytes)
{
    struct ddpm_sample_options all;
    struct ddpm_sampler *sampler;
    DDPM_REQUIRE(pictures);
    DDPM_TRY(ddpm_take_options(&all, sizeof all, sizeof(size_t), given, "ddpm_sample_options"));
    const struct ddpm_draw draw = {
        .size = sizeof draw,
        .count = all.count,
        .first = all.first,
        .seed = all.seed,
        .every = all.every,
        .from = all.from,
        .from_count = all.from_count,
        .mask = all.mask,
        .mask_count = all.mask_count,
        .callback = all.callback,
        .user = all.user,
    };
    struct ddpm_sampler_options options = {
        .size = sizeof options,
        .sampler = all.sampler,
        .steps = all.steps,
        .spacing = all.spacing,
        .batch = all.batch,
        .pictures = all.count,
        .height = all.height,
        .width = all.width,
        .weights = all.weights,
        .clip = all.clip,
        .eta = all.eta,
        .order = all.order,
        .churn = all.churn,
        .churn_min = all.churn_min,
        .churn_max = all.churn_max,
        .churn_noise = all.churn_noise,
        .threshold = all.threshold,
        .from = all.from != NULL,
        .strength = all.strength,
        .mask = all.mask != NULL,
        .resample = all.resample,
        .jump = all.jump,
        .start = all.start,
    };
    DDPM_TRY(check_numbers(&draw));
    DDPM_TRY(ddpm_sampler_create(network, &options, &sampler));
    ddpm_status status = ddpm_sampler_draw(sampler, &draw, pictures, bytes);
    ddpm_sampler_destroy(&sampler);
    return status;
}
