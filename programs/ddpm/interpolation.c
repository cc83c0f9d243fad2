/* Interpolation between two noises. */
#include "interpolation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "drawing.h"
#include "formats/file.h"
#include "picture_file.h"
#include "slerp.h"

enum { USUAL_FRAMES = 16, MOST_FRAMES = 100000 };

ddpm_status ddpm_interpolation_read_options(struct ddpm_interpolation *interpolation,
                                            const struct ddpm_arguments *arguments)
{
    static const char *const others[] = {"init", "from", "count"};
    const char *text = ddpm_arguments_get(arguments, "interpolate");
    const char *comma = text ? strchr(text, ',') : NULL;
    interpolation->text = text;
    if (!text && ddpm_arguments_get(arguments, "frames"))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --frames: got it without --interpolate");
    if (!text)
        return DDPM_OK;
    if (!comma || comma == text || !comma[1] || strchr(comma + 1, ','))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --interpolate: got \"%.80s\", want A,B: two seeds, .npy files or "
                          "pictures with a comma between them",
                          text);
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        if (ddpm_arguments_get(arguments, others[i]))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "option --interpolate: got it with --%s, want one of them",
                              others[i]);
    DDPM_TRY(ddpm_arguments_integer(arguments, "frames", 2, MOST_FRAMES, USUAL_FRAMES,
                                    &interpolation->frames));
    DDPM_TRY(ddpm_format(&interpolation->ends[0], "%.*s", (int)(comma - text), text));
    return ddpm_format(&interpolation->ends[1], "%s", comma + 1);
}

void ddpm_interpolation_clear(struct ddpm_interpolation *interpolation)
{
    free(interpolation->ends[0]);
    free(interpolation->ends[1]);
    *interpolation = (struct ddpm_interpolation){0};
}

ddpm_status ddpm_interpolation_check(const struct ddpm_interpolation *interpolation,
                                     const struct ddpm_config *config)
{
    const struct ddpm_chain chain = ddpm_drawing_chain(config);
    if (!interpolation->text || !ddpm_chain_draws_noise(&chain))
        return DDPM_OK;
    if (config->diffusion.drawing_steps > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --interpolate: got a distilled model, which adds new noise in "
                          "every frame; want one that ddpm train made");
    return ddpm_raise(
        DDPM_ERROR_ARGUMENT,
        "option --interpolate: got sampler %s, which adds new noise in every frame; want "
        "--sampler ddim, heun, dpmpp or unipc, with eta and churn 0",
        chain.kind->name);
}

/* The x of one end, from a sampler created just for it. */
struct end {
    const char *text;
    struct ddpm_network *network;
    const struct ddpm_config *config;
    struct ddpm_sampler_options options;
    int64_t first;
    size_t values; /* of x */
};

static ddpm_status noise_of_seed(const struct end *end, uint64_t seed, float *x)
{
    struct ddpm_sampler *sampler;
    DDPM_TRY(ddpm_sampler_create(end->network, &end->options, &sampler));
    ddpm_status status = ddpm_sampler_start_noise(sampler, seed, end->first, 1, x, end->values);
    ddpm_sampler_destroy(&sampler);
    return status;
}

static ddpm_status read_end(const struct end *end, float *x)
{
    float *given;
    int64_t count;
    DDPM_TRY(ddpm_drawing_read_init(end->text, end->config, 0, &given, &count));
    memcpy(x, given, end->values * sizeof *x);
    free(given);
    if (count != 1)
        return ddpm_raise(DDPM_ERROR_MISMATCH, "%s: got %lld pictures, want one for each end",
                          end->text, (long long)count);
    return DDPM_OK;
}

static ddpm_status invert(const struct end *end, const uint8_t *picture, float *x)
{
    const size_t channels = (size_t)end->config->network.channels;
    struct ddpm_sampler *sampler;
    struct ddpm_sampler_options options = end->options;
    float *values;
    options.invert = 1;
    DDPM_TRY(ddpm_new_array((void **)&values, end->values, sizeof *values, "a picture"));
    for (size_t i = 0; i < end->values; ++i)
        values[i % channels * (end->values / channels) + i / channels] =
            2 * (float)picture[i] / 255 - 1;
    const struct ddpm_draw draw = {
        .size = sizeof draw, .count = 1, .from = values, .from_count = end->values};
    ddpm_status status = ddpm_sampler_create(end->network, &options, &sampler);
    if (status == DDPM_OK)
        status = ddpm_sampler_draw_array(sampler, &draw, x, end->values);
    ddpm_sampler_destroy(&sampler);
    free(values);
    return status;
}

static ddpm_status invert_file(const struct end *end, float *x)
{
    const struct ddpm_diffusion_config *diffusion = &end->config->diffusion;
    const int channels = (int)end->config->network.channels;
    struct ddpm_picture_file file = {.path = end->text};
    uint8_t *picture;
    if (channels != 1 && channels != 3 && channels != 4)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s: got a model of %d channels, want 1, 3 or 4, as picture files have",
                          end->text, channels);
    DDPM_TRY(ddpm_new_array((void **)&picture, end->values, 1, "a picture"));
    ddpm_status status = ddpm_picture_file_read(&file, channels, (int)diffusion->image_height,
                                                (int)diffusion->image_width, false, picture);
    if (status == DDPM_OK)
        status = invert(end, picture, x);
    free(picture);
    return status;
}

static ddpm_status make_end(const struct end *end, float *x)
{
    if (end->text[strspn(end->text, "0123456789")])
        return ddpm_ends_with(end->text, ".npy") ? read_end(end, x) : invert_file(end, x);
    errno = 0;
    const uint64_t seed = strtoull(end->text, NULL, 10);
    if (errno)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --interpolate: got seed %.80s, want less than 2^64", end->text);
    return noise_of_seed(end, seed, x);
}

ddpm_status ddpm_interpolation_make(const struct ddpm_interpolation *interpolation,
                                    struct ddpm_network *network, const struct ddpm_config *config,
                                    const struct ddpm_sampler_options *options, int64_t first,
                                    float **out)
{
    struct end end = {.network = network, .config = config, .options = *options, .first = first};
    const int64_t frames = interpolation->frames;
    float *ends;
    end.options.batch = end.options.pictures = 1;
    end.values = (size_t)(config->network.channels * config->diffusion.image_height *
                          config->diffusion.image_width);
    *out = NULL;
    DDPM_TRY(ddpm_new_array((void **)&ends, 2 * end.values, sizeof *ends, "two ends"));
    ddpm_status status = DDPM_OK;
    for (size_t i = 0; i < 2 && status == DDPM_OK; ++i) {
        end.text = interpolation->ends[i];
        status = make_end(&end, ends + i * end.values);
    }
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)out, (size_t)frames * end.values, sizeof **out,
                                "the first x of all frames");
    for (int64_t i = 0; i < frames && status == DDPM_OK; ++i)
        ddpm_slerp(ends, ends + end.values, end.values, (double)i / (double)(frames - 1),
                   *out + (size_t)i * end.values);
    free(ends);
    return status;
}
