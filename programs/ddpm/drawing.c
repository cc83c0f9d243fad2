/* How pictures are drawn. */
#include "drawing.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/memory.h"
#include "formats/npy.h"

struct ddpm_chain ddpm_drawing_chain(const struct ddpm_config *config)
{
    return ddpm_chain_of(&config->sampling, &config->diffusion);
}

/* Options that only some samplers have. */
static const char *const particular[] = {"eta",       "solver-order", "churn",
                                         "churn-min", "churn-max",    "churn-noise"};
enum { ETA, SOLVER_ORDER, PARTICULAR = sizeof particular / sizeof *particular };

static bool takes(const struct ddpm_sampler_kind *kind, size_t option)
{
    return option == ETA            ? kind->takes_eta
           : option == SOLVER_ORDER ? kind->orders[0] != 0
                                    : kind->takes_churn;
}

/* Other samplers reject them, whatever the value. */
static ddpm_status check_particular(const struct ddpm_arguments *arguments,
                                    const struct ddpm_sampler_kind *kind)
{
    for (size_t i = 0; i < PARTICULAR; ++i) {
        const struct ddpm_sampler_kind *other = ddpm_samplers;
        if (takes(kind, i) || !ddpm_arguments_has_setting(arguments, particular[i]))
            continue;
        while (!takes(other, i))
            ++other;
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --%s: got it with sampler %s, which has none; %s has one",
                          particular[i], kind->name, other->name);
    }
    return DDPM_OK;
}

ddpm_status ddpm_drawing_check(const struct ddpm_arguments *arguments,
                               const struct ddpm_config *config, int64_t *evaluations)
{
    const struct ddpm_chain chain = ddpm_drawing_chain(config);
    struct ddpm_turns turns = {0};
    DDPM_TRY(check_particular(arguments, chain.kind));
    ddpm_status status =
        ddpm_chain_turns(&chain, &config->diffusion, config->diffusion.clip, &turns);
    *evaluations = (int64_t)ddpm_turns_evaluations(&turns);
    ddpm_turns_clear(&turns);
    return status;
}

/* The library resolves `auto`, because it also depends on what the chain starts from. */
struct ddpm_sampler_options ddpm_drawing_options(const struct ddpm_config *config)
{
    const struct ddpm_sampling_config *sampling = &config->sampling;
    const bool any_sampler = sampling->sampler == DDPM_SAMPLER_AUTO;
    const bool any_spacing = sampling->spacing == DDPM_SPACING_AUTO;
    return (struct ddpm_sampler_options){
        .size = sizeof(struct ddpm_sampler_options),
        .sampler = any_sampler ? "auto" : ddpm_samplers[sampling->sampler].name,
        .steps = sampling->steps,
        .spacing = any_spacing ? "auto" : ddpm_spacings[sampling->spacing].name,
        .height = config->diffusion.image_height,
        .width = config->diffusion.image_width,
        .clip = config->diffusion.clip,
        .eta = sampling->eta,
        .order = (int)sampling->order,
        .churn = sampling->churn,
        .churn_min = sampling->churn_min,
        .churn_max = sampling->churn_max,
        .churn_noise = sampling->churn_noise,
        .threshold = sampling->threshold,
        .start = ddpm_start_names[sampling->start],
    };
}

static ddpm_status check_shape(const struct ddpm_npy *npy, const char *path,
                               const struct ddpm_config *config, int64_t wanted)
{
    const int64_t channels = config->network.channels, height = config->diffusion.image_height;
    const int64_t width = config->diffusion.image_width;
    if (npy->dtype != DDPM_NPY_F32 || npy->rank != 4)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got %s of rank %d, want float32 of rank 4: [n,C,H,W]", path,
                          ddpm_npy_dtype_name(npy->dtype), npy->rank);
    if (npy->shape[1] != channels || npy->shape[2] != height || npy->shape[3] != width)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got [n,%" PRId64 ",%" PRId64 ",%" PRId64 "], want [n,%" PRId64
                          ",%" PRId64 ",%" PRId64 "]: the model's channels, and the size",
                          path, npy->shape[1], npy->shape[2], npy->shape[3], channels, height,
                          width);
    if (npy->shape[0] < 1)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got no pictures, want at least one", path);
    if (wanted && npy->shape[0] != wanted)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got %" PRId64 " pictures, want the %" PRId64 " of --count", path,
                          npy->shape[0], wanted);
    return DDPM_OK;
}

/* Copy the values of a checked file. A mapped one may be unaligned, and may change meanwhile. */
static ddpm_status copy_values(const struct ddpm_npy *npy, const char *path, float **out)
{
    DDPM_TRY(ddpm_new_array((void **)out, (size_t)npy->count, sizeof **out, "the first x"));
    memcpy(*out, npy->data, (size_t)npy->count * sizeof **out);
    for (int64_t i = 0; i < npy->count; ++i)
        if (!isfinite((*out)[i]))
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "%s: got %g at position %" PRId64 ", want finite numbers", path,
                              (double)(*out)[i], i);
    return DDPM_OK;
}

ddpm_status ddpm_drawing_read_init(const char *path, const struct ddpm_config *config,
                                   int64_t wanted, float **out, int64_t *count)
{
    struct ddpm_npy npy = {0};
    *out = NULL;
    DDPM_TRY(ddpm_npy_open(&npy, path));
    ddpm_status status = check_shape(&npy, path, config, wanted);
    if (status == DDPM_OK)
        status = copy_values(&npy, path, out);
    *count = npy.shape[0];
    ddpm_npy_close(&npy);
    if (status != DDPM_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
