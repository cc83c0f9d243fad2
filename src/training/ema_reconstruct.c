/* Averages of other lengths, made from those in checkpoints. */
#include "training/ema_reconstruct.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "formats/file.h"
#include "formats/json.h"
#include "model/model.h"
#include "model/start_files.h"
#include "training/checkpoint.h"
#include "training/ema.h"
#include "training/patches.h"

/* ∫ p_a·p_b of two profiles p(s) = (γ+1)·s^γ/t^(γ+1) on [0, t]. */
static double inner_product(const struct ddpm_ema_profile *a, const struct ddpm_ema_profile *b)
{
    const double a_exponent = ddpm_ema_exponent(a->length);
    const double b_exponent = ddpm_ema_exponent(b->length);
    const double ratio = a->t < b->t ? pow(a->t / b->t, b_exponent) : pow(b->t / a->t, a_exponent);
    return (a_exponent + 1) * (b_exponent + 1) * ratio /
           ((a_exponent + b_exponent + 1) * fmax(a->t, b->t));
}

/* Solve the symmetric system a·x = b in place with a Cholesky decomposition; x replaces b. */
static void solve(double *a, size_t n, double *b)
{
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j <= i; ++j) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; ++k)
                sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(fmax(sum, 1e-14)) : sum / a[j * n + j];
        }
        for (size_t k = 0; k < i; ++k)
            b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; ++k)
            b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
}

/* Profiles of neighbouring checkpoints are almost equal; this keeps their coefficients from
 * growing with opposite signs. It changes the result by less than its square root. */
static const double ridge = 1e-10;

ddpm_status ddpm_ema_solve(const struct ddpm_ema_profile *kept, size_t count,
                           const struct ddpm_ema_profile *wanted, double *weights, double *error)
{
    double *a;
    DDPM_TRY(ddpm_new_array((void **)&a, count * count, sizeof *a, "profiles of averages"));
    const double whole = inner_product(wanted, wanted);
    for (size_t i = 0; i < count; ++i) { /* all profiles have norm 1 */
        const double norm = sqrt(inner_product(&kept[i], &kept[i]));
        for (size_t j = 0; j < count; ++j)
            a[i * count + j] = inner_product(&kept[i], &kept[j]) /
                               (norm * sqrt(inner_product(&kept[j], &kept[j])));
        a[i * count + i] += ridge;
        weights[i] = inner_product(&kept[i], wanted) / norm;
    }
    solve(a, count, weights);
    free(a);
    double left = whole; /* ‖wanted - Σ weights·kept‖² */
    for (size_t i = 0; i < count; ++i)
        weights[i] /= sqrt(inner_product(&kept[i], &kept[i]));
    for (size_t i = 0; i < count; ++i) {
        left -= 2 * weights[i] * inner_product(&kept[i], wanted);
        for (size_t j = 0; j < count; ++j)
            left += weights[i] * weights[j] * inner_product(&kept[i], &kept[j]);
    }
    *error = sqrt(fmax(left, 0) / whole);
    return DDPM_OK;
}

/* The averages in a run's checkpoints. */
struct kept {
    struct ddpm_config *config;
    int64_t *steps; /* of the checkpoints, ascending */
    size_t count;
    struct ddpm_ema_profile
        *profiles; /* first the first average of every checkpoint, then the second ones */
    double *weights;
    size_t profile_count;
};

static void clear(struct kept *kept)
{
    ddpm_config_destroy(&kept->config);
    free(kept->steps);
    free(kept->profiles);
    free(kept->weights);
}

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The checkpoints up to `step`, or all. */
static ddpm_status find_steps(struct kept *kept, const char *run, int64_t step)
{
    char checkpoints[PATH_MAX], **names;
    size_t name_count;
    DDPM_TRY(ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", run));
    DDPM_TRY(ddpm_directory_list(&names, &name_count, checkpoints));
    ddpm_status status = ddpm_new_array((void **)&kept->steps, name_count + 1, sizeof *kept->steps,
                                        "steps of checkpoints");
    for (size_t i = 0; status == DDPM_OK && i < name_count; ++i) {
        const int64_t number = ddpm_checkpoint_number(names[i]);
        if (number > 0 && (step == 0 || number <= step))
            kept->steps[kept->count++] = number;
    }
    ddpm_names_free(names, name_count);
    DDPM_TRY(status);
    qsort(kept->steps, kept->count, sizeof *kept->steps, ascending);
    if (kept->count == 0 && step == 0)
        return ddpm_raise(DDPM_ERROR_IO, "%s: got a run without checkpoints, want some to average",
                          run);
    if (kept->count == 0 || (step > 0 && kept->steps[kept->count - 1] != step))
        return ddpm_raise(DDPM_ERROR_IO, "%s: no checkpoint of step %lld", run, (long long)step);
    return DDPM_OK;
}

static ddpm_status checkpoint_file(char *path, const char *run, int64_t step, const char *name)
{
    return ddpm_path_format(path, PATH_MAX, "%s/checkpoints/step-%06lld/%s", run, (long long)step,
                            name);
}

/* Are the files the ones that were written? */
static ddpm_status check_checkpoint(const char *run, int64_t step)
{
    char folder[PATH_MAX];
    json_t *state;
    DDPM_TRY(ddpm_path_format(folder, sizeof folder, "%s/checkpoints/step-%06lld", run,
                              (long long)step));
    DDPM_TRY(ddpm_checkpoint_read_state(folder, &state));
    ddpm_status status = ddpm_checkpoint_check_files(state, folder);
    json_decref(state);
    return status;
}

static ddpm_status read_config(struct kept *kept, const char *run)
{
    char path[PATH_MAX];
    DDPM_TRY(ddpm_config_create(&kept->config));
    DDPM_TRY(checkpoint_file(path, run, kept->steps[kept->count - 1], "config.json"));
    DDPM_TRY(ddpm_config_read(kept->config, path));
    ddpm_patches_settle(kept->config);
    if (kept->config->training.ema != DDPM_EMA_POWER)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a run with ema exponential, want one with ema power, from "
                          "whose averages others can be made",
                          run);
    return DDPM_OK;
}

/* The averages start again after the patches, with their first update there. */
static void drop_older_averages(struct kept *kept)
{
    const struct ddpm_training_config *training = &kept->config->training;
    const int64_t every = training->ema_every, patches = ddpm_patch_steps(training);
    const int64_t last = (patches + every - 1) / every * every;
    size_t older = 0;
    while (older < kept->count && kept->steps[older] <= last)
        ++older;
    if (older == kept->count || patches == 0)
        return;
    kept->count -= older;
    memmove(kept->steps, kept->steps + older, kept->count * sizeof *kept->steps);
}

static ddpm_status find_weights(struct kept *kept, double length, double *error)
{
    const struct ddpm_training_config *training = &kept->config->training;
    const int files = training->ema_second > 0 ? 2 : 1;
    kept->profile_count = kept->count * (size_t)files;
    DDPM_TRY(ddpm_new_array((void **)&kept->profiles, kept->profile_count, sizeof *kept->profiles,
                            "profiles of averages"));
    DDPM_TRY(ddpm_new_array((void **)&kept->weights, kept->profile_count, sizeof *kept->weights,
                            "weights of averages"));
    for (size_t i = 0; i < kept->profile_count; ++i)
        kept->profiles[i] = (struct ddpm_ema_profile){
            .t = (double)ddpm_steps_averaged(training, kept->steps[i % kept->count]),
            .length = i < kept->count ? training->ema_length : training->ema_second};
    const struct ddpm_ema_profile wanted = {kept->profiles[kept->count - 1].t, length};
    return ddpm_ema_solve(kept->profiles, kept->profile_count, &wanted, kept->weights, error);
}

/* sum += weight · the average in this file. */
static ddpm_status add_file(const struct ddpm_parameters *parameters, const char *path,
                            double weight, float *room, double *sum)
{
    const struct ddpm_named_target target = {"", room};
    DDPM_TRY(ddpm_slabs_read(parameters, &target, 1, path));
    for (int64_t i = 0; i < parameters->slab_count; ++i)
        sum[i] += weight * (double)room[i];
    return DDPM_OK;
}

static ddpm_status add_all(const struct kept *kept, const char *run,
                           const struct ddpm_parameters *parameters, float *room, double *sum)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < kept->count; ++i)
        DDPM_TRY(check_checkpoint(run, kept->steps[i]));
    for (size_t i = 0; i < kept->profile_count; ++i) {
        const char *name = i < kept->count ? "ema.safetensors" : "ema-second.safetensors";
        DDPM_TRY(checkpoint_file(path, run, kept->steps[i % kept->count], name));
        DDPM_TRY(add_file(parameters, path, kept->weights[i], room, sum));
    }
    for (int64_t i = 0; i < parameters->slab_count; ++i)
        room[i] = (float)sum[i];
    return DDPM_OK;
}

static ddpm_status write_model(const struct kept *kept, const struct ddpm_parameters *parameters,
                               const char *run, const float *slab, const char *folder)
{
    char path[PATH_MAX];
    struct ddpm_start *start;
    const struct ddpm_named_slab named = {"", slab};
    const struct ddpm_safetensors_text metadata = {"ddpm_version", ddpm_version()};
    DDPM_TRY(ddpm_directory_create(folder));
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/ema.safetensors", folder));
    DDPM_TRY(ddpm_slabs_write(parameters, &named, 1, path, &metadata, 1));
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/config.json", folder));
    DDPM_TRY(ddpm_config_write(kept->config, path));
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/checkpoints/step-%06lld", run,
                              (long long)kept->steps[kept->count - 1]));
    DDPM_TRY(ddpm_start_load(path, &start));
    if (!start)
        return DDPM_OK;
    ddpm_status status = ddpm_path_format(path, sizeof path, "%s/" DDPM_START_FILE, folder);
    if (status == DDPM_OK)
        status = ddpm_start_write(start, path);
    ddpm_start_free(&start);
    return status;
}

static ddpm_status put_together(const struct kept *kept, const char *run, const char *folder)
{
    struct ddpm_network *network;
    float *room = NULL;
    double *sum = NULL;
    struct ddpm_config here = *kept->config; /* the run's device may be that of another machine */
    DDPM_TRY(ddpm_config_set(&here, "device", "cpu"));
    DDPM_TRY(ddpm_network_declare(NULL, &here, &network));
    const struct ddpm_parameters *parameters = &network->weights.parameters;
    const size_t count = (size_t)parameters->slab_count;
    ddpm_status status = ddpm_new_array((void **)&room, count, sizeof *room, "an average");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&sum, count, sizeof *sum, "an average");
    if (status == DDPM_OK)
        status = add_all(kept, run, parameters, room, sum);
    if (status == DDPM_OK)
        status = write_model(kept, parameters, run, room, folder);
    free(room);
    free(sum);
    ddpm_network_destroy(&network);
    return status;
}

ddpm_status ddpm_ema_reconstruct(const char *run, double length, int64_t step, const char *folder,
                                 struct ddpm_ema_reconstruction *out)
{
    struct kept kept = {0};
    DDPM_REQUIRE(run);
    DDPM_REQUIRE(folder);
    DDPM_REQUIRE(out);
    *out = (struct ddpm_ema_reconstruction){0};
    ddpm_status status = find_steps(&kept, run, step);
    if (status == DDPM_OK)
        status = read_config(&kept, run);
    if (status == DDPM_OK)
        drop_older_averages(&kept);
    if (status == DDPM_OK)
        status = find_weights(&kept, length, &out->error);
    if (status == DDPM_OK)
        status = put_together(&kept, run, folder);
    out->checkpoints = kept.count;
    out->step = kept.count > 0 ? kept.steps[kept.count - 1] : 0;
    clear(&kept);
    return status;
}
