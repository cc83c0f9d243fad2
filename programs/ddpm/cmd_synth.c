/* ddpm synth: procedural aerial pictures as PNG files, to try things out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/synthetic.h"
#include "failures.h"
#include "formats/png_write.h"
#include "options.h"
#include "progress.h"

/* Pictures to draw before updating the progress line and checking for signals. */
enum { PIECE = 64 };

struct drawing {
    const char *out;
    int height, width;
    uint64_t seed;
    int64_t begin; /* of the piece */
    struct ddpm_failure failures[PIECE];
};

static ddpm_status draw_one(const struct drawing *drawing, int64_t index)
{
    uint8_t *pixels;
    char *path = NULL;
    DDPM_TRY(ddpm_new_array((void **)&pixels, (size_t)drawing->height * (size_t)drawing->width, 3,
                            "a picture"));
    ddpm_status status = ddpm_synthetic_draw(pixels, drawing->height, drawing->width, drawing->seed,
                                             (uint32_t)index);
    if (status == DDPM_OK)
        status = ddpm_format(&path, "%s/%06" PRId64 ".png", drawing->out, index);
    if (status == DDPM_OK)
        status = ddpm_png_write(path, pixels, drawing->height, drawing->width, 3, NULL, 0);
    free(path);
    free(pixels);
    return status;
}

static void draw_range(void *context, int64_t begin, int64_t end, int thread)
{
    struct drawing *drawing = context;
    (void)thread;
    for (int64_t i = begin; i < end; ++i)
        ddpm_failure_note(&drawing->failures[i], draw_one(drawing, drawing->begin + i));
}

static ddpm_status draw_piece(struct drawing *drawing, int64_t count, int threads)
{
    ddpm_parallel_for(threads, count, 1, draw_range, drawing);
    return ddpm_failures_collect(drawing->failures, count);
}

static ddpm_status read_options(const struct ddpm_arguments *arguments, struct drawing *drawing,
                                int *threads)
{
    struct ddpm_probe probe;
    drawing->height = drawing->width = 64;
    DDPM_TRY(ddpm_arguments_size(arguments, "size", 8, 4096, &drawing->height, &drawing->width));
    DDPM_TRY(ddpm_arguments_probe(arguments, &probe));
    drawing->seed = probe.seed;
    *threads = probe.threads;
    return DDPM_OK;
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct drawing drawing = {.out = ddpm_arguments_get(arguments, "out")};
    struct ddpm_progress progress;
    int threads;
    int64_t count;
    DDPM_TRY(ddpm_arguments_integer(arguments, "count", 1, 1000000, 2000, &count));
    DDPM_TRY(read_options(arguments, &drawing, &threads));
    DDPM_TRY(ddpm_make_output_folder(drawing.out, ddpm_arguments_get(arguments, "force") != NULL));
    ddpm_catch_signals();
    ddpm_progress_start(&progress, 0, count);
    ddpm_status status = DDPM_OK;
    while (status == DDPM_OK && drawing.begin < count) {
        int64_t left = count - drawing.begin, piece = left < PIECE ? left : PIECE;
        status = draw_piece(&drawing, piece, threads);
        drawing.begin += piece;
        if (status == DDPM_OK)
            status = ddpm_check_signal();
        ddpm_progress_bar(&progress, "drawing", drawing.begin);
    }
    ddpm_progress_clear();
    return status;
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "DIR", "folder for 000000.png, 000001.png, …"},
    {"count", 'n', false, "N", "pictures (2000)"},
    {"size", 's', false, "N|HxW", "their size (64)"},
    {"force", 'f', false, NULL, "allow an output folder that is not empty"},
};
static const char *const settings[] = {"seed", "threads", NULL};

const struct ddpm_verb ddpm_verb_synth = {
    .name = "synth",
    .arguments = "",
    .argument_count = 0,
    .summary = "Draw procedural aerial pictures to try things out.",
    .examples = "  ddpm synth --out pictures --count 2000 --size 64\n",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings = settings,
    .run = run,
};
