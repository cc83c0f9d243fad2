/* ddpm evaluate: how close generated pictures are to real ones, and whether they are copies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/memory.h"
#include "evaluate_draw.h"
#include "evaluate_features.h"
#include "evaluate_likelihood.h"
#include "evaluate_report.h"
#include "formats/file.h"
#include "processes.h"
#include "progress.h"

/* How many pictures to draw from a model, without -n. */
enum { DEFAULT_COUNT = 5000 };

struct evaluation {
    const struct ddpm_arguments *arguments;
    struct ddpm_side generated, real, held_out; /* ends with path NULL */
    struct ddpm_side_shape shape;
    struct ddpm_evaluate_drawing drawing;
    struct ddpm_evaluate_features features;
    struct ddpm_evaluation *found;
};

static ddpm_status read_options(struct evaluation *e)
{
    const struct ddpm_arguments *arguments = e->arguments;
    struct ddpm_probe probe;
    int64_t count;
    DDPM_TRY(ddpm_arguments_integer(arguments, "count", DDPM_EVALUATE_LEAST, 1000000, 0, &count));
    DDPM_TRY(ddpm_arguments_integer(arguments, "batch", 1, 4096, 0, &e->drawing.batch));
    DDPM_TRY(ddpm_evaluate_check_likelihood(arguments));
    DDPM_TRY(ddpm_evaluate_features_read(&e->features, arguments));
    DDPM_TRY(ddpm_arguments_probe(arguments, &probe));
    e->shape.height = probe.height;
    e->shape.width = probe.width;
    e->shape.threads = probe.threads;
    e->generated.most = count;
    e->drawing.count = count ? count : DEFAULT_COUNT;
    e->drawing.arguments = arguments;
    return DDPM_OK;
}

static bool has_pictures(const struct ddpm_side *side)
{
    return side->kind == DDPM_SIDE_PICTURES || side->kind == DDPM_SIDE_MODEL;
}

/* Options that need pictures. */
static ddpm_status check_pictures(const struct evaluation *e)
{
    const bool both = has_pictures(&e->generated) && e->real.kind == DDPM_SIDE_PICTURES;
    if (ddpm_arguments_get(e->arguments, "sheet") && !both)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --sheet: got features or statistics of the %s pictures, want "
                          "pictures on both sides",
                          has_pictures(&e->generated) ? "real" : "generated");
    if (!e->held_out.path)
        return DDPM_OK;
    if (!both || !e->features.name || e->held_out.kind != DDPM_SIDE_PICTURES)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --held-out: want pictures for all three sets, in folders or "
                          ".npy files of uint8 [N,H,W,C]");
    return DDPM_OK;
}

static ddpm_status look(struct evaluation *e)
{
    e->generated.path = e->arguments->arguments[0];
    e->generated.which = "generated";
    e->real.path = ddpm_arguments_get(e->arguments, "against");
    e->real.which = "real";
    DDPM_TRY(ddpm_side_look(&e->generated));
    DDPM_TRY(ddpm_side_look(&e->real));
    e->held_out.path = ddpm_arguments_get(e->arguments, "held-out");
    e->held_out.which = "held-out";
    if (e->held_out.path)
        DDPM_TRY(ddpm_side_look(&e->held_out));
    if (e->generated.kind == DDPM_SIDE_STATISTICS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got mean and covariance, want pictures, features or a run; only "
                          "--against takes statistics",
                          e->generated.path);
    if (e->real.kind == DDPM_SIDE_MODEL)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --against: got the run or model %s, want real pictures: a "
                          "folder, a .npy or a .npz file",
                          e->real.path);
    return check_pictures(e);
}

/* Size and channels of everything compared. They are those of the generated pictures, or of the
 * real ones if the generated side is features; --image-size overrides the size of a folder. */
static ddpm_status settle_first(struct evaluation *e, const struct ddpm_side *first)
{
    const struct ddpm_side_shape wanted = e->shape;
    if (first->kind == DDPM_SIDE_MODEL)
        return ddpm_evaluate_open(&e->drawing, first->path, &e->shape);
    if (first->kind != DDPM_SIDE_PICTURES)
        return DDPM_OK;
    DDPM_TRY(ddpm_side_shape(first, &e->shape));
    if (wanted.height > 0) {
        e->shape.height = wanted.height;
        e->shape.width = wanted.width;
    }
    return DDPM_OK;
}

/* A folder can be read with the channels of an array that it is compared with. */
static ddpm_status settle_channels(struct evaluation *e, const struct ddpm_side *first,
                                   const struct ddpm_side *other)
{
    struct ddpm_side_shape shape = e->shape;
    if (e->shape.channels == 0 || other == first || !other->path ||
        other->kind != DDPM_SIDE_PICTURES || ddpm_path_is_directory(other->path))
        return DDPM_OK;
    DDPM_TRY(ddpm_side_shape(other, &shape));
    if (first->kind == DDPM_SIDE_PICTURES && ddpm_path_is_directory(first->path))
        e->shape.channels = shape.channels;
    if (e->shape.channels == shape.channels)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_MISMATCH, "%s: got %d channel%s, want %d as in %s", other->path,
                      shape.channels, shape.channels == 1 ? "" : "s", e->shape.channels,
                      first->path);
}

static ddpm_status settle_shape(struct evaluation *e)
{
    const struct ddpm_side *first =
        e->generated.kind == DDPM_SIDE_FEATURES ? &e->real : &e->generated;
    DDPM_TRY(settle_first(e, first));
    DDPM_TRY(settle_channels(e, first, &e->real));
    return settle_channels(e, first, &e->held_out);
}

static ddpm_status open_network(struct evaluation *e)
{
    const bool wanted = has_pictures(&e->generated) || has_pictures(&e->real);
    DDPM_TRY(ddpm_evaluate_features_open(&e->features, wanted));
    e->generated.network = e->real.network = e->held_out.network = e->features.network;
    return DDPM_OK;
}

static ddpm_status open_sides(struct evaluation *e)
{
    DDPM_TRY(ddpm_side_open(&e->generated, &e->shape));
    DDPM_TRY(ddpm_side_open(&e->real, &e->shape));
    return e->held_out.path ? ddpm_side_open(&e->held_out, &e->shape) : DDPM_OK;
}

/* What the leader does with the set of real pictures. */
static ddpm_status finish_real(struct evaluation *e)
{
    const char *statistics = ddpm_arguments_get(e->arguments, "save-statistics");
    if (e->features.real_file)
        DDPM_TRY(ddpm_side_give_features(&e->real, e->features.real_file));
    DDPM_TRY(
        ddpm_evaluate_features_check(&e->features, &e->real, &e->generated,
                                     e->generated.kind == DDPM_SIDE_MODEL ? e->drawing.count : 0));
    return statistics ? ddpm_picture_set_write_statistics(e->real.set, statistics) : DDPM_OK;
}

/* Combine this process's status after a stage with those of the others. */
static ddpm_status together(ddpm_status status)
{
    return ddpm_ranks_agree(ddpm_processes_ranks(), status, NULL);
}

/* The real pictures first: drawing takes far longer, so errors there should show early. */
static ddpm_status read_sides(struct evaluation *e)
{
    DDPM_TRY(ddpm_side_read(&e->real, e->features.name));
    if (e->held_out.path)
        DDPM_TRY(ddpm_side_read(&e->held_out, e->features.name));
    DDPM_TRY(together(ddpm_processes_lead() ? finish_real(e) : DDPM_OK));
    if (e->generated.kind == DDPM_SIDE_MODEL)
        return ddpm_evaluate_draw(&e->drawing, &e->generated, e->features.name);
    return ddpm_side_read(&e->generated, e->features.name);
}

static int after_piece(void *user, const char *what, int64_t done, int64_t total)
{
    struct ddpm_progress *progress = user;
    (void)what;
    progress->total = total;
    ddpm_progress_bar(progress, "comparing", done);
    ddpm_ranks_still_here(ddpm_processes_ranks());
    return ddpm_caught_signal() != 0;
}

static ddpm_status compare(struct evaluation *e)
{
    struct ddpm_progress progress;
    const struct ddpm_evaluate_options options = {
        .size = sizeof options,
        .threads = e->shape.threads,
        .callback = after_piece,
        .user = &progress,
        .held_out = e->held_out.set,
    };
    ddpm_progress_start(&progress, 0, 0);
    ddpm_status status = ddpm_evaluate(e->generated.set, e->real.set, &options, &e->found);
    ddpm_progress_clear();
    return status == DDPM_STOPPED ? ddpm_check_signal() : status;
}

static ddpm_status report(struct evaluation *e)
{
    const char *sheet = ddpm_arguments_get(e->arguments, "sheet");
    const bool computed = e->features.name && e->generated.kind != DDPM_SIDE_FEATURES;
    struct ddpm_evaluate_report report = {
        .generated = &e->generated,
        .real = &e->real,
        .held_out = &e->held_out,
        .features = computed ? e->features.name : "given",
        .found = e->found,
    };
    ddpm_evaluate_warn(&report);
    DDPM_TRY(ddpm_arguments_get(e->arguments, "json") ? ddpm_evaluate_print_json(&report)
                                                      : ddpm_evaluate_print(&report));
    return sheet ? ddpm_evaluate_write_sheet(&report, sheet) : DDPM_OK;
}

static ddpm_status prepare(struct evaluation *e)
{
    DDPM_TRY(look(e));
    if (ddpm_processes_lead())
        DDPM_TRY(ddpm_evaluate_check_files(e->arguments));
    DDPM_TRY(settle_shape(e));
    DDPM_TRY(open_network(e));
    ddpm_catch_signals();
    return open_sides(e);
}

/* All sets are ready. */
static ddpm_status finish(struct evaluation *e)
{
    if (!ddpm_processes_lead())
        return DDPM_OK;
    if (e->features.generated_file)
        DDPM_TRY(ddpm_side_give_features(&e->generated, e->features.generated_file));
    DDPM_TRY(compare(e));
    return report(e);
}

static ddpm_status evaluate(struct evaluation *e)
{
    const bool likelihood = ddpm_arguments_get(e->arguments, "likelihood") != NULL;
    DDPM_TRY(together(read_options(e)));
    if (likelihood && ddpm_processes_ranks())
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "option --likelihood: got %d ranks, want one: start it without mpirun or "
                          "srun",
                          ddpm_ranks_count(ddpm_processes_ranks()));
    if (likelihood)
        return ddpm_evaluate_likelihood(e->arguments, e->generated.most);
    DDPM_TRY(together(prepare(e)));
    ddpm_processes_tell_apart();
    DDPM_TRY(read_sides(e));
    return together(finish(e));
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct evaluation evaluation = {.arguments = arguments};
    ddpm_status status = evaluate(&evaluation);
    ddpm_progress_clear();
    ddpm_evaluation_destroy(&evaluation.found);
    ddpm_evaluate_close(&evaluation.drawing);
    ddpm_side_close(&evaluation.generated);
    ddpm_side_close(&evaluation.real);
    ddpm_side_close(&evaluation.held_out);
    ddpm_evaluate_features_close(&evaluation.features);
    return status;
}

static const struct ddpm_verb_option options[] = {
    {"against", 'a', true, "DIR|FILE",
     "real pictures: a folder, or .npy of uint8 [N,H,W,C]; or their features or statistics"},
    {"held-out", 0, false, "DIR|FILE.npy",
     "real pictures that were not trained on, to find copies with more certainty: these show how "
     "near pictures come by chance"},
    {"features", 0, false, "builtin|FILE|G.npy,R.npy",
     "features to compare: the program's own; FID's Inception, with its weights from a "
     ".safetensors, .pth or .pt file; or float32 [N,D] of the generated and the real pictures "
     "(builtin)"},
    {"count", 'n', false, "N",
     "generated pictures: how many to draw from a run (5000), or to use at most (all); with "
     "--likelihood, real pictures to use at most (5000)"},
    {"json", 0, false, NULL, "print JSON"},
    {"sheet", 0, false, "FILE.png",
     "the 16 generated pictures nearest to real ones, side by side with those; replaces an older "
     "file"},
    {"save-statistics", 0, false, "FILE.npz",
     "mean and covariance of the real pictures' features, for a later --against; replaces an older "
     "file"},
    {"weights", 0, false, "ema|model", "EMA or raw weights of a run (ema)"},
    {"config", 'c', false, "FILE.json", "configuration for a bare .safetensors file"},
    {"batch", 0, false, "N", "pictures to draw or measure at once (as many as fit, at most 16)"},
    {"likelihood", 0, false, NULL,
     "measure the likelihood of the real pictures under a run, in bits per dimension, instead of "
     "comparing"},
    {"likelihood-method", 0, false, "auto|bound|flow",
     "the variational bound or the probability flow; auto takes the bound if there is a "
     "schedule (auto)"},
    {"likelihood-levels", 0, false, "N|all",
     "timesteps at which the bound is measured for each picture; all makes it exact (50)"},
    {"likelihood-steps", 0, false, "N",
     "steps of the flow's solver, each with four evaluations of the network (32)"},
    {"likelihood-probes", 0, false, "N",
     "random directions for estimating the flow's divergence (1)"},
};
static const char *const settings[] = {
    "seed",      "clip",         "image-size", "sampler",      "sampling-steps", "spacing",
    "start",     "threshold",    "eta",        "solver-order", "churn",          "churn-min",
    "churn-max", "churn-noise",  "threads",    "precision",    "device",         "conv",
    "ranks",     "rank-timeout", NULL};

static const char *const common[] = {
    "against",        "held-out", "features", "count",      "json", "sheet",
    "sampling-steps", "seed",     "device",   "likelihood", NULL};

static const char notes[] =
    "GENERATED is a folder of pictures, .npy of uint8 [N,H,W,C] or of features float32 [N,D], or "
    "a\n"
    "run, checkpoint or .safetensors file to draw pictures from.\n"
    "With --likelihood it must be one of the last three, and nothing is drawn.\n"
    "The numbers compare features of the pictures, not the pictures themselves:\n"
    "  Fréchet distance: how far the two sets are apart, as in FID; 0 is best\n"
    "  kernel distance: as in KID, reliable for few pictures too; 0 on average is best\n"
    "  precision: the share of generated pictures that look like real ones; 1 is best\n"
    "  recall: the share of real pictures that could have been generated; 1 is best\n"
    "  density: how many real pictures lie around a generated one; 1 is best;\n"
    "           above 1 the pictures are less varied than real ones\n"
    "  coverage: the share of real pictures with a generated one nearby; 1 is best\n"
    "Two halves of the real pictures, compared with each other, show what a perfect model would "
    "get.\n"
    "Suspiciously near means nearer than 95 % of the real pictures are to another real one, or\n"
    "than 95 % of the held-out pictures are to a real one. So 5 % are that near by chance; if far\n"
    "more are, look for copies.\n"
    "More in docs/evaluation.md.\n";

static const char examples[] =
    "  ddpm evaluate drawn --against pictures --sheet nearest.png\n"
    "  ddpm evaluate runs/first --against pictures -n 1000 --json\n"
    "  ddpm evaluate drawn --against pictures --features pt_inception-2015-12-05-6726825d.pth\n"
    "  ddpm evaluate runs/first --against pictures --likelihood -n 100\n"
    "  ddpm evaluate inception-drawn.npy --against inception-pictures.npz\n";

const struct ddpm_verb ddpm_verb_evaluate = {
    .name = "evaluate",
    .arguments = "GENERATED|RUN",
    .argument_count = 1,
    .summary = "Compare generated pictures with real ones, and look for copies.",
    .notes = notes,
    .examples = examples,
    .common = common,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings = settings,
    .prints = true,
    .joins = true,
    .run = run,
};
