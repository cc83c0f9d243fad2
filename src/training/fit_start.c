/* The fitted start of a run: statistics of its pictures, gathered once, before the first checkpoint
 * is written. They are not part of the training state: nothing that training computes depends on
 * them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "model/start_files.h"
#include "training/trainer_state.h"

struct gathering {
    struct ddpm_start_shape shape;
    int64_t taken;    /* pictures */
    int64_t variants; /* of each: mirrored, turned */
    int64_t values;   /* of a reduced picture */
    float *pictures;  /* [taken·variants,values] */
};

/* One of the ways in which training may mirror and turn a picture. Only square ones are turned. */
static void turn(const struct ddpm_start_shape *shape, const float *from, int64_t variant,
                 bool flips, float *to)
{
    const int64_t rows = shape->rows, columns = shape->columns, channels = shape->channels;
    const bool mirrored = flips && variant % 2 == 1;
    const int64_t quarters = flips ? variant / 2 : variant;
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) {
            int64_t row = r, column = mirrored ? columns - 1 - c : c;
            for (int64_t q = 0; q < quarters; ++q) {
                const int64_t before = row;
                row = column;
                column = rows - 1 - before;
            }
            memcpy(to + (r * columns + c) * channels, from + (row * columns + column) * channels,
                   (size_t)channels * sizeof *to);
        }
}

/* The first pictures of the first epoch: if the source caches pictures, these are cached. */
static ddpm_status gather(const struct ddpm_trainer *trainer, struct gathering *all)
{
    struct ddpm_source *source = ddpm_data_trained_on(trainer->data);
    const uint32_t count = (uint32_t)ddpm_source_count(source);
    const uint64_t seed = (uint64_t)trainer->config.training.seed;
    const struct ddpm_start_shape *shape = &all->shape;
    const bool flips = trainer->config.data.flip;
    struct ddpm_source_reader *reader;
    uint8_t *picture = NULL;
    DDPM_TRY(ddpm_source_reader_create(&reader, source));
    ddpm_status status =
        ddpm_new_array((void **)&picture, (size_t)(shape->height * shape->width * shape->channels),
                       1, "a picture");
    for (int64_t i = 0; i < all->taken && status == DDPM_OK; ++i) {
        const struct ddpm_random4 random =
            ddpm_philox(seed, 0, (uint32_t)i, 0, DDPM_STREAM_AUGMENT);
        float *first = all->pictures + i * all->variants * all->values;
        status = ddpm_source_read(reader, ddpm_permute((uint32_t)i, count, seed, 0), &random,
                                  picture, NULL);
        if (status != DDPM_OK)
            break;
        ddpm_start_reduce(shape, picture, first);
        for (int64_t v = 1; v < all->variants; ++v)
            turn(shape, first, v, flips, first + v * all->values);
    }
    free(picture);
    ddpm_source_reader_destroy(&reader);
    return status;
}

static ddpm_status fit(const struct ddpm_trainer *trainer, struct ddpm_start **out)
{
    const struct ddpm_source *source = ddpm_data_trained_on(trainer->data);
    const struct ddpm_source_options *wanted = ddpm_source_wanted(source);
    const struct ddpm_data_config *data = &trainer->config.data;
    const int64_t count = ddpm_source_count(source);
    struct gathering all = {
        .shape = ddpm_start_shape_of(wanted->height, wanted->width, wanted->channels),
        .variants = (data->flip ? 2 : 1) * (data->rotate ? 4 : 1),
        .taken = count < DDPM_START_PICTURES ? count : DDPM_START_PICTURES,
    };
    all.values = ddpm_start_values(&all.shape);
    DDPM_TRY(ddpm_new_array((void **)&all.pictures, (size_t)(all.taken * all.variants * all.values),
                            sizeof *all.pictures, "reduced pictures"));
    ddpm_status status = gather(trainer, &all);
    if (status == DDPM_OK)
        status = ddpm_start_fit(&all.shape, all.pictures, all.taken * all.variants, out);
    free(all.pictures);
    return status;
}

void ddpm_trainer_fit_start(struct ddpm_trainer *trainer)
{
    struct ddpm_network *network = trainer->players[0].network;
    if (trainer->start_tried || !trainer->data)
        return;
    if (network->start && trainer->config.diffusion.drawing_steps > 0)
        return; /* a distilled model draws from its teacher's */
    trainer->start_tried = true;
    ddpm_start_free(&network->start); /* it fits the pictures of an earlier run */
    if (trainer->config.sampling.start == DDPM_START_NOISE ||
        ddpm_source_count(ddpm_data_trained_on(trainer->data)) < DDPM_START_FEWEST)
        return;
    if (fit(trainer, &network->start) != DDPM_OK) /* the checkpoint matters more */
        ddpm_log(DDPM_LOG_WARNING, "drawing will start from noise: %s", ddpm_error_message());
    else if (isfinite(network->start->level))
        ddpm_log(DDPM_LOG_INFO, "fitted start: drawing can begin at sigma/alpha %g",
                 network->start->level);
    else
        ddpm_start_free(&network->start);
}

ddpm_status ddpm_trainer_read_start(struct ddpm_trainer *trainer, const char *folder)
{
    struct ddpm_start **start = &trainer->players[0].network->start;
    ddpm_start_free(start);
    DDPM_TRY(ddpm_start_load(folder, start));
    trainer->start_tried = *start != NULL;
    return DDPM_OK;
}
