/* Inputs of a draw other than its seed: x at the first level, pictures to start from, masks. */
#include <math.h>
#include <string.h>

#include "core/arguments.h"
#include "model/sampler_state.h"
#include "tensor/layout.h"

/* Pictures or masks of a draw: one for each of its pictures, or one for all. */
struct given {
    const char *name; /* in ddpm_draw */
    const float *values;
    size_t count;
    int64_t each;          /* values of one */
    float lowest, highest; /* allowed values */
};

static struct given given_init(const struct ddpm_sampler *s, const struct ddpm_draw *draw)
{
    const int64_t each = (int64_t)ddpm_sampler_picture_bytes(s);
    return (struct given){"init", draw->init, draw->init_count, each, -INFINITY, INFINITY};
}

static struct given given_pictures(const struct ddpm_sampler *s, const struct ddpm_draw *draw)
{
    const int64_t each = (int64_t)ddpm_sampler_picture_bytes(s);
    return (struct given){"from", draw->from, draw->from_count, each, -INFINITY, INFINITY};
}

static struct given given_masks(const struct ddpm_sampler *s, const struct ddpm_draw *draw)
{
    const int64_t each = s->options.height * s->options.width;
    return (struct given){"mask", draw->mask, draw->mask_count, each, 0, 1};
}

static ddpm_status check_values(const struct given *given)
{
    for (size_t i = 0; i < given->count; ++i) {
        const float value = given->values[i];
        if (!isfinite(value))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "sampling: %s: got %g at position %zu, want finite numbers",
                              given->name, (double)value, i);
        if (value < given->lowest || value > given->highest)
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "sampling: %s: got %g at position %zu, want %g to %g", given->name,
                              (double)value, i, (double)given->lowest, (double)given->highest);
    }
    return DDPM_OK;
}

/* Check that they are given exactly if the sampler was planned for them: one for all, or one
 * each. */
static ddpm_status check(const struct given *given, bool planned, int64_t count)
{
    const int64_t all = count * given->each;
    if (planned && !given->values)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampling: %s: got NULL, but the sampler was planned with `%s`",
                          given->name, given->name);
    if (!planned && given->values)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampling: %s: the sampler was not planned with `%s`", given->name,
                          given->name);
    if (!planned)
        return DDPM_OK;
    if (given->count != (size_t)given->each && given->count != (size_t)all)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampling: %s: got %zu values, want %lld values for one picture, or "
                          "count times that, which is %lld",
                          given->name, given->count, (long long)given->each, (long long)all);
    return check_values(given);
}

ddpm_status ddpm_sampler_check_given(const struct ddpm_sampler *sampler,
                                     const struct ddpm_draw *draw)
{
    const bool pictures = sampler->options.from || sampler->options.invert;
    const struct given init = given_init(sampler, draw), from = given_pictures(sampler, draw),
                       mask = given_masks(sampler, draw);
    if (draw->init && pictures)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampling: got init and pictures to start from, want one of them");
    if (draw->init) {
        DDPM_TRY(
            ddpm_check_length("sampling: init", init.count, (double)(draw->count * init.each)));
        DDPM_TRY(check_values(&init));
    }
    DDPM_TRY(check(&from, pictures, draw->count));
    return check(&mask, sampler->options.mask != 0, draw->count);
}

/* The rest of the batch is 0. */
static ddpm_status write(struct ddpm_sampler *s, struct ddpm_value *value,
                         const struct given *given, int64_t offset, int64_t count)
{
    struct ddpm_tensor one = value->tensor;
    const bool for_all = given->count == (size_t)given->each;
    one.n = 1;
    memset(s->host_x, 0, ddpm_tensor_bytes(&value->tensor));
    for (int64_t b = 0; b < count; ++b)
        ddpm_nchw_to_nhwc(&one, given->values + (for_all ? 0 : (offset + b) * given->each),
                          s->host_x + b * given->each);
    return ddpm_graph_write(s->graph, value, s->host_x);
}

ddpm_status ddpm_sampler_write_given(struct ddpm_sampler *sampler, const struct ddpm_draw *draw,
                                     int64_t offset, int64_t count)
{
    const struct given init = given_init(sampler, draw), from = given_pictures(sampler, draw),
                       mask = given_masks(sampler, draw);
    if (draw->init)
        DDPM_TRY(write(sampler, sampler->x, &init, offset, count));
    if (sampler->picture && draw->from)
        DDPM_TRY(write(sampler, sampler->picture, &from, offset, count));
    return sampler->mask ? write(sampler, sampler->mask, &mask, offset, count) : DDPM_OK;
}
