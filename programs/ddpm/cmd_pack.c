/* ddpm pack: a folder of pictures as one .npy file, which training maps into memory. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/pack.h"
#include "options.h"
#include "progress.h"
#include "streams.h"

enum { MOST_SIDE = 8192 }; /* as in option image-size */

static bool show_progress(void *user, int64_t done, int64_t total)
{
    struct ddpm_progress *progress = user;
    progress->total = total;
    ddpm_progress_bar(progress, "packing", done);
    return ddpm_caught_signal() == 0;
}

static ddpm_status read_options(const struct ddpm_arguments *arguments,
                                struct ddpm_pack_options *options)
{
    struct ddpm_probe probe;
    DDPM_TRY(
        ddpm_arguments_size(arguments, "size", 1, MOST_SIDE, &options->height, &options->width));
    DDPM_TRY(ddpm_arguments_probe(arguments, &probe));
    options->channels = probe.channels;
    options->threads = probe.threads;
    return DDPM_OK;
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    const char *folder = arguments->arguments[0], *file = ddpm_arguments_get(arguments, "out");
    struct ddpm_progress progress;
    struct ddpm_pack_options options = {.progress = show_progress, .user = &progress};
    struct ddpm_pack_result result;
    DDPM_TRY(read_options(arguments, &options));
    ddpm_catch_signals();
    ddpm_progress_start(&progress, 0, 0);
    ddpm_status status = ddpm_pack_folder(folder, file, &options, &result);
    ddpm_progress_clear();
    DDPM_TRY(status);
    ddpm_print_text("", file, "");
    printf(": %" PRId64 " pictures of %dx%d with %d channels", result.packed, options.height,
           options.width, options.channels);
    if (result.bad > 0)
        printf(", %" PRId64 " bad ones skipped", result.bad);
    if (result.enlarged > 0)
        printf(", %" PRId64 " enlarged", result.enlarged);
    printf("\n");
    return DDPM_OK;
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "FILE.npy", "uint8 [N,H,W,C], written here; replaces an older file"},
    {"size", 's', true, "N|HxW", "size of the packed pictures"},
};
static const char *const settings[] = {"channels", "threads", NULL};

const struct ddpm_verb ddpm_verb_pack = {
    .name = "pack",
    .arguments = "DIR",
    .argument_count = 1,
    .summary = "Pack the pictures of a folder into one file.",
    .examples = "  ddpm pack pictures --out pictures.npy --size 64\n",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings = settings,
    .run = run,
};
