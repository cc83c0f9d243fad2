/* Packing a folder: pieces of some hundred pictures are decoded in parallel and appended in order.
 */
#include "data/pack.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/source.h"
#include "formats/file.h"
#include "formats/npy.h"

enum { PIECE = 128 };

struct packing {
    struct ddpm_source *source;
    struct ddpm_source_reader **readers; /* one per thread */
    int threads;
    uint8_t *pixels; /* [PIECE, item_bytes] */
    size_t item_bytes;
    int64_t begin; /* first item of the piece */
    bool good[PIECE];
    ddpm_status status[PIECE];
    char *message[PIECE];
};

static void read_range(void *context, int64_t begin, int64_t end, int thread)
{
    struct packing *packing = context;
    for (int64_t i = begin; i < end; ++i) {
        packing->status[i] = ddpm_source_read_exactly(
            packing->readers[thread], packing->begin + i, NULL,
            packing->pixels + (size_t)i * packing->item_bytes, &packing->good[i]);
        if (packing->status[i] != DDPM_OK)
            (void)ddpm_copy_string(&packing->message[i], ddpm_error_message());
    }
}

/* The error of the first picture that failed, on this thread. */
static ddpm_status gather(struct packing *packing, int64_t count)
{
    ddpm_status status = DDPM_OK;
    for (int64_t i = 0; i < count; ++i) {
        if (packing->status[i] != DDPM_OK && status == DDPM_OK)
            status = ddpm_raise(packing->status[i], "%s",
                                packing->message[i] ? packing->message[i] : "no memory");
        free(packing->message[i]);
        packing->message[i] = NULL;
    }
    return status;
}

static ddpm_status pack_all(struct packing *packing, struct ddpm_npy_writer *writer,
                            const struct ddpm_pack_options *options)
{
    const int64_t total = ddpm_source_count(packing->source);
    for (packing->begin = 0; packing->begin < total; packing->begin += PIECE) {
        int64_t count = total - packing->begin < PIECE ? total - packing->begin : PIECE;
        ddpm_parallel_for(packing->threads, count, 1, read_range, packing);
        DDPM_TRY(gather(packing, count));
        for (int64_t i = 0; i < count; ++i)
            if (packing->good[i])
                DDPM_TRY(ddpm_npy_writer_append(
                    writer, packing->pixels + (size_t)i * packing->item_bytes, 1));
        if (options->progress && !options->progress(options->user, packing->begin + count, total))
            return ddpm_raise(DDPM_STOPPED, "packing was stopped");
    }
    return DDPM_OK;
}

static ddpm_status prepare(struct packing *packing, const char *folder,
                           const struct ddpm_pack_options *options)
{
    const struct ddpm_source_options wanted = {
        .channels = options->channels,
        .height = options->height,
        .width = options->width,
        .crop = DDPM_CROP_CENTRE,
        .threads = options->threads,
        .pixel_limit = options->pixel_limit,
        .cache_bytes = (size_t)128
                       << 20, /* small folders are decoded while opening: keep the result */
    };
    if (!ddpm_path_is_directory(folder))
        return ddpm_raise(DDPM_ERROR_IO, "%s: not a folder, want a folder of pictures", folder);
    DDPM_TRY(ddpm_source_open(&packing->source, folder, &wanted));
    packing->threads = options->threads > 1 ? options->threads : 1;
    packing->item_bytes = (size_t)wanted.height * (size_t)wanted.width * (size_t)wanted.channels;
    DDPM_TRY(ddpm_new_array((void **)&packing->pixels, PIECE, packing->item_bytes, "pictures"));
    DDPM_TRY(ddpm_new_array((void **)&packing->readers, (size_t)packing->threads,
                            sizeof(struct ddpm_source_reader *), "readers"));
    for (int i = 0; i < packing->threads; ++i)
        DDPM_TRY(ddpm_source_reader_create(&packing->readers[i], packing->source));
    return DDPM_OK;
}

static void clean_up(struct packing *packing)
{
    for (int i = 0; packing->readers && i < packing->threads; ++i)
        ddpm_source_reader_destroy(&packing->readers[i]);
    free(packing->readers);
    free(packing->pixels);
    ddpm_source_close(&packing->source);
}

ddpm_status ddpm_pack_folder(const char *folder, const char *file,
                             const struct ddpm_pack_options *options,
                             struct ddpm_pack_result *result)
{
    struct packing packing = {0};
    struct ddpm_npy_writer *writer = NULL;
    const int64_t item_shape[3] = {options->height, options->width, options->channels};
    ddpm_status status = prepare(&packing, folder, options);
    if (status == DDPM_OK)
        status = ddpm_npy_writer_create(&writer, file, DDPM_NPY_U8, 3, item_shape);
    if (status == DDPM_OK)
        status = pack_all(&packing, writer, options);
    if (status == DDPM_OK && result) {
        struct ddpm_source_counts counts = ddpm_source_count_kinds(packing.source);
        *result = (struct ddpm_pack_result){counts.total - counts.bad, counts.bad, counts.enlarged};
    }
    if (status == DDPM_OK)
        status = ddpm_npy_writer_finish(&writer);
    else
        ddpm_npy_writer_abandon(&writer);
    clean_up(&packing);
    return status;
}
