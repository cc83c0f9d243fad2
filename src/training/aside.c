/* Setting pictures aside and choosing the ones to measure: the same number on each side, those
 * whose contents have the lowest hashes. So neither names nor order matter, and copies of a picture
 * count once. */
#include "training/aside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/validation.h"
#include "core/arguments.h"
#include "core/memory.h"
#include "core/text.h"
#include "training/trainer_state.h"

/* At most this many pictures per side, and this many bytes unless that would be fewer than the
 * minimum. */
enum { MOST_PICTURES = 256, LEAST_PICTURES = 8, MOST_BYTES = 128 << 20 };

static void free_measured(struct ddpm_measured *measured)
{
    free(measured->hashes);
    free(measured->pixels);
}

void ddpm_aside_free(struct ddpm_aside **aside)
{
    if (!*aside)
        return;
    ddpm_source_part_close(&(*aside)->part);
    free((*aside)->content);
    for (int side = 0; side < DDPM_SIDES; ++side)
        free_measured(&(*aside)->measured[side]);
    free(*aside);
    *aside = NULL;
}

static size_t picture_bytes(const struct ddpm_source *source)
{
    const struct ddpm_source_options *wanted = ddpm_source_wanted(source);
    return (size_t)wanted->height * (size_t)wanted->width * (size_t)wanted->channels;
}

/* Read the first good pictures of `items`, `most` at most. */
static ddpm_status read_good(struct ddpm_measured *out, struct ddpm_source_reader *reader,
                             const struct ddpm_hashed_item *items, int64_t count, int64_t most,
                             size_t bytes)
{
    for (int64_t i = 0; i < count && out->count < most; ++i) {
        const uint64_t hash = items[i].hash;
        const struct ddpm_random4 random =
            ddpm_philox(0, 0, (uint32_t)hash, (uint32_t)(hash >> 32), DDPM_STREAM_VALIDATION);
        bool good;
        DDPM_TRY(ddpm_source_read_exactly(reader, items[i].item, &random,
                                          out->pixels + (size_t)out->count * bytes, &good));
        out->hashes[out->count] = hash;
        out->count += good;
    }
    return DDPM_OK;
}

static ddpm_status measure_items(struct ddpm_measured *out, struct ddpm_source *source,
                                 const struct ddpm_hashed_item *items, int64_t count)
{
    struct ddpm_source_reader *reader;
    const size_t bytes = picture_bytes(source);
    int64_t most = (int64_t)(MOST_BYTES / bytes);
    most = most < LEAST_PICTURES ? LEAST_PICTURES : most > MOST_PICTURES ? MOST_PICTURES : most;
    most = most < count ? most : count;
    DDPM_TRY(ddpm_new_array((void **)&out->hashes, (size_t)most + 1, sizeof *out->hashes,
                            "hashes of pictures"));
    DDPM_TRY(ddpm_new_array((void **)&out->pixels, (size_t)most + 1, bytes,
                            "pictures to validate with"));
    DDPM_TRY(ddpm_source_reader_create(&reader, source));
    ddpm_status status = read_good(out, reader, items, count, most, bytes);
    ddpm_source_reader_destroy(&reader);
    return status;
}

/* Measure equally many on both sides. The pictures left over stay in memory; they are few. */
static ddpm_status level_sides(struct ddpm_aside *aside)
{
    struct ddpm_measured *validation = &aside->measured[DDPM_SIDE_VALIDATION];
    struct ddpm_measured *training = &aside->measured[DDPM_SIDE_TRAINING];
    if (validation->count == 0 || training->count == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "option validation: none of the pictures %s can be read",
                          validation->count == 0 ? "set aside" : "left to train on");
    const int64_t least = validation->count < training->count ? validation->count : training->count;
    validation->count = training->count = least;
    return DDPM_OK;
}

/* The training items of the data, in their own order. */
static ddpm_status make_part(struct ddpm_aside *aside, struct ddpm_source *source, double fraction)
{
    const int64_t count = ddpm_source_count(source);
    int64_t *part;
    DDPM_TRY(ddpm_new_array((void **)&part, (size_t)count, sizeof *part, "a list of pictures"));
    for (int64_t i = 0; i < count; ++i)
        if (!ddpm_content_is_set_aside(aside->content[i].hash, fraction))
            part[aside->left++] = i;
    aside->count = count - aside->left;
    return ddpm_source_part_open(&aside->part, source, part, aside->left);
}

static ddpm_status raise_one_sided(const struct ddpm_aside *aside, const char *part)
{
    const long long all = (long long)(aside->count + aside->left);
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option validation: got %s, which sets %s of the %lld pictures aside; want "
                      "another fraction, a folder of other pictures, or off",
                      part, aside->count == 0 ? "none" : "all", all);
}

/* Measure on both sides of the sorted contents. */
static ddpm_status measure_sides(struct ddpm_aside *aside, struct ddpm_source *source,
                                 double fraction)
{
    for (int side = 0; side < DDPM_SIDES; ++side) {
        struct ddpm_hashed_item *items;
        int64_t count;
        DDPM_TRY(ddpm_contents_sort(&items, &count, aside->content, ddpm_source_count(source),
                                    fraction, side == DDPM_SIDE_VALIDATION));
        ddpm_status status = measure_items(&aside->measured[side], source, items, count);
        free(items);
        DDPM_TRY(status);
    }
    return level_sides(aside);
}

static ddpm_status set_part_aside(struct ddpm_aside *aside, struct ddpm_source *source,
                                  const char *part, double fraction)
{
    DDPM_TRY(make_part(aside, source, fraction));
    if (aside->count == 0 || aside->left == 0)
        return raise_one_sided(aside, part);
    ddpm_print(aside->text, sizeof aside->text, "%.15g", fraction);
    return measure_sides(aside, source, fraction);
}

/* The validation pictures come from another `source`; no picture may be in both. */
static ddpm_status measure_others(struct ddpm_aside *aside, struct ddpm_source *source,
                                  const struct ddpm_content *content, const char *path,
                                  const struct ddpm_hashed_item *trained, int64_t trained_count)
{
    struct ddpm_hashed_item *items;
    int64_t count;
    DDPM_TRY(ddpm_contents_sort(&items, &count, content, ddpm_source_count(source), 0, false));
    const int64_t common = ddpm_contents_common(items, count, trained, trained_count);
    ddpm_status status =
        common > 0 ? ddpm_raise(DDPM_ERROR_ARGUMENT,
                                "option validation: %lld of the %lld pictures of %s are also "
                                "among the training pictures, so they cannot measure overfitting; "
                                "want other pictures, or a fraction of the training pictures such "
                                "as 0.05",
                                (long long)common, (long long)count, path)
                   : measure_items(&aside->measured[DDPM_SIDE_VALIDATION], source, items, count);
    free(items);
    return status;
}

static ddpm_status compare_others(struct ddpm_aside *aside, struct ddpm_source *training,
                                  struct ddpm_source *others, const char *path)
{
    struct ddpm_content *content = NULL;
    struct ddpm_hashed_item *trained;
    int64_t trained_count;
    DDPM_TRY(ddpm_contents_sort(&trained, &trained_count, aside->content, aside->left, 0, false));
    ddpm_status status = ddpm_contents_make(&content, others, NULL);
    if (status == DDPM_OK)
        status = measure_others(aside, others, content, path, trained, trained_count);
    if (status == DDPM_OK)
        status =
            measure_items(&aside->measured[DDPM_SIDE_TRAINING], training, trained, trained_count);
    free(content);
    free(trained);
    return status == DDPM_OK ? level_sides(aside) : status;
}

static ddpm_status take_others(struct ddpm_aside *aside, struct ddpm_source *training,
                               const char *path)
{
    struct ddpm_source *others;
    ddpm_status status = ddpm_source_open(&others, path, ddpm_source_wanted(training));
    if (status != DDPM_OK)
        return ddpm_raise_context(status, "option validation: ");
    aside->count = ddpm_source_count(others);
    aside->left = ddpm_source_count(training);
    snprintf(aside->text, sizeof aside->text, "pictures %016" PRIx64,
             ddpm_source_fingerprint(others));
    status = compare_others(aside, training, others, path);
    ddpm_source_close(&others); /* what will be measured has been read */
    return status;
}

static ddpm_status set_aside(struct ddpm_aside *aside, struct ddpm_source *source,
                             const char *option, const char *hashes)
{
    struct ddpm_validation_choice choice;
    DDPM_TRY(ddpm_validation_parse(option, &choice));
    DDPM_TRY(ddpm_contents_make(&aside->content, source, hashes));
    return choice.kind == DDPM_VALIDATION_PICTURES
               ? take_others(aside, source, option)
               : set_part_aside(aside, source, option, choice.part);
}

/* Resolves "auto", now that the pictures are known. */
static void settle_auto(struct ddpm_config *config, int64_t pictures)
{
    snprintf(config->data.validation, sizeof config->data.validation, "%s",
             pictures < DDPM_VALIDATION_AUTO_LEAST ? "off" : DDPM_VALIDATION_AUTO_PART);
}

ddpm_status ddpm_data_split(struct ddpm_data *data, struct ddpm_config *config, const char *hashes)
{
    struct ddpm_validation_choice choice;
    DDPM_REQUIRE(data);
    DDPM_REQUIRE(config);
    if (data->aside)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "these pictures are already split");
    DDPM_TRY(ddpm_validation_parse(config->data.validation, &choice));
    const bool chosen = choice.kind == DDPM_VALIDATION_AUTO;
    if (chosen)
        settle_auto(config, ddpm_source_count(data->source));
    if (strcmp(config->data.validation, "off") == 0)
        return DDPM_OK;
    DDPM_TRY(DDPM_NEW(&data->aside, "pictures set aside"));
    ddpm_status status = set_aside(data->aside, data->source, config->data.validation, hashes);
    if (status == DDPM_OK)
        return DDPM_OK;
    /* Copies of a few pictures, which all fell on one side. */
    const bool one_sided = data->aside->count == 0 || data->aside->left == 0;
    ddpm_aside_free(&data->aside);
    if (!chosen || status != DDPM_ERROR_ARGUMENT || !one_sided)
        return status;
    ddpm_log(DDPM_LOG_INFO, "no validation: %s", ddpm_error_message());
    return ddpm_config_set(config, "validation", "off");
}

ddpm_status ddpm_data_keep_hashes(const struct ddpm_data *data, const char *path)
{
    DDPM_REQUIRE(data);
    DDPM_REQUIRE(path);
    return data->aside
               ? ddpm_contents_keep(data->aside->content, ddpm_source_count(data->source), path)
               : DDPM_OK;
}
