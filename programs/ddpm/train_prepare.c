/* A run of ddpm train before its first step: options, pictures, memory, the folder.
 *
 * If several processes train together, each reads the options and the pictures, but only the leader
 * looks at the run's folder and writes there. After every stage they agree on how it went. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option.h"
#include "core/memory.h"
#include "model/model.h"
#include "options.h"
#include "processes.h"
#include "progress.h"
#include "run_folder.h"
#include "run_pictures.h"
#include "run_places.h"
#include "run_space.h"
#include "train_run.h"
#include "train_time.h"
#include "training/patches.h"
#include "training/ranks.h"

static ddpm_status read_numbers(struct ddpm_train_run *run)
{
    const struct ddpm_training_config *training = &run->config->training;
    run->steps = training->steps;
    run->save_every = training->save_every;
    run->sample_every = training->sample_every;
    run->pictures_per_step = training->batch_size * training->accumulate;
    run->outlook = (struct ddpm_outlook){.steps = run->steps,
                                         .patch_steps = ddpm_patch_steps(training),
                                         .save_every = run->save_every,
                                         .sample_every = run->sample_every};
    DDPM_TRY(ddpm_run_samples_plan(&run->samples, run->path, run->config));
    if (ddpm_run_samples_wanted(&run->samples))
        run->outlook.grid_in_steps =
            ddpm_grid_in_steps(run->evaluations, training->num_samples, run->pictures_per_step);
    return DDPM_OK;
}

/* What would fit, as it is typed. */
static void hint_smaller(const struct ddpm_smaller_step *smaller, const struct ddpm_config *config)
{
    char batch[96] = "";
    if (smaller->batch_size == 0) {
        ddpm_hint("a smaller --dim or --image-size needs less memory");
        return;
    }
    if (smaller->batch_size != config->training.batch_size)
        snprintf(batch, sizeof batch, "--batch-size %" PRId64 " --accumulate %" PRId64 "%s",
                 smaller->batch_size, smaller->accumulate, smaller->low_memory ? " " : "");
    ddpm_hint("%s%s trains the same in less memory", batch,
              smaller->low_memory ? "--memory low" : "");
}

/* All memory that the run will allocate, known before any of it is. */
static ddpm_status check_memory(struct ddpm_train_run *run)
{
    struct ddpm_memory_plan training;
    struct ddpm_smaller_step smaller = {0};
    const ddpm_status status = ddpm_trainer_check_memory_among(ddpm_processes_ranks(), run->network,
                                                               run->config, 0, &smaller);
    if (status == DDPM_ERROR_MEMORY)
        hint_smaller(&smaller, run->config);
    DDPM_TRY(status);
    DDPM_TRY(
        ddpm_trainer_measure_among(ddpm_processes_ranks(), run->network, run->config, &training));
    run->samples.network = run->network;
    return ddpm_run_samples_measure(&run->samples, training.activations + training.packed +
                                                       training.weights + training.host);
}

/* Lock an existing run before looking at anything in it, and find the checkpoint to resume from. */
static ddpm_status take_over(struct ddpm_train_run *run)
{
    if (!run->resume)
        DDPM_TRY(ddpm_run_folder_check_new(run->path, &run->again));
    if (run->resume || run->again)
        DDPM_TRY(ddpm_run_log_open(&run->log, run->path));
    if (run->resume)
        return ddpm_run_folder_checkpoint(run->path, run->checkpoint, sizeof run->checkpoint);
    return ddpm_run_folder_check_new(run->path, &run->again); /* once more, now locked */
}

static ddpm_status plan_validation(struct ddpm_train_run *run)
{
    DDPM_TRY(ddpm_run_validation_plan(&run->validation, run->trainer, run->config));
    run->outlook.validate_every = run->validation.every;
    run->outlook.validation_in_steps =
        run->validation.plan.cost_in_steps * ddpm_trainer_mean_cost(run->trainer);
    return DDPM_OK;
}

/* Prepare the folder for the first step, and find out now what would fail later. */
static ddpm_status prepare_folder(struct ddpm_train_run *run)
{
    const int64_t done = ddpm_trainer_steps_done(run->trainer);
    bool mine;
    run->checkpoint_bytes = ddpm_run_space_of_checkpoint(run->network, run->config);
    DDPM_TRY(ddpm_run_space_check(run->path, run->checkpoint_bytes, &run->config->training,
                                  run->steps - done, run->validation.plan.pictures > 0));
    DDPM_TRY(ddpm_run_folder_create(run->path));
    if (!run->log.file) { /* another run may have come and gone in the meantime */
        DDPM_TRY(ddpm_run_log_open(&run->log, run->path));
        DDPM_TRY(ddpm_run_folder_check_new(run->path, &mine));
    }
    run->log.validates = run->validation.plan.pictures > 0;
    ddpm_run_folder_clean(run->path, run->checkpoint, done, run->again);
    DDPM_TRY(ddpm_run_folder_probe(run->path, run->steps));
    DDPM_TRY(ddpm_run_log_begin(&run->log, done));
    DDPM_TRY(ddpm_run_validation_begin(&run->validation, run->path, done));
    DDPM_TRY(ddpm_run_pictures_keep(run->path, run->data));
    return ddpm_run_folder_write_config(run->path, run->config,
                                        run->resume ? NULL : ddpm_run_start_origin(&run->start),
                                        run->places, ddpm_data_fingerprint(run->data));
}

/* Combine this process's status after a stage with those of the others. */
static ddpm_status together(ddpm_status status)
{
    return ddpm_ranks_agree(ddpm_processes_ranks(), status, NULL);
}

/* Options that may differ between processes. */
static bool may_differ(const struct ddpm_option *option)
{
    static const char *const names[] = {"data",    "validation", "decode-threads", "prefetch",
                                        "threads", "device",     "ranks",          "rank-timeout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(option->name, names[i]) == 0)
            return true;
    return false;
}

/* "CPU, avx2" of "CPU, avx2, 2 threads": other kernel levels round differently. */
static int kind_length(const char *device)
{
    const char *last = strrchr(device, ',');
    return last && strstr(last, "thread") ? (int)(last - device) : (int)strlen(device);
}

/* Everything that must be equal on all processes, one per line. */
static ddpm_status write_lines(const struct ddpm_train_run *run, char *text, size_t bytes)
{
    const char *device = ddpm_network_device(run->network);
    char value[DDPM_OPTION_BYTES];
    int used =
        snprintf(text, bytes, "version: %s\npictures: %016" PRIx64 ", %" PRId64 "\ndevice: %.*s\n",
                 ddpm_version(), ddpm_data_fingerprint(run->data), ddpm_data_count(run->data),
                 kind_length(device), device);
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const struct ddpm_option *option = &ddpm_options[i];
        if (may_differ(option))
            continue;
        DDPM_TRY(ddpm_option_format(option, run->config, value, sizeof value));
        used += snprintf(text + used, bytes - (size_t)used, "%s: %s\n", option->name, value);
    }
    return DDPM_OK;
}

static ddpm_status compare(const struct ddpm_train_run *run)
{
    const size_t bytes = (ddpm_options_count + 3) * (DDPM_OPTION_BYTES + 64);
    char *text = NULL;
    if (!ddpm_processes_ranks())
        return DDPM_OK;
    ddpm_status status = ddpm_new_array((void **)&text, bytes, 1, "options");
    if (status == DDPM_OK)
        status = write_lines(run, text, bytes);
    status = together(status);
    if (status == DDPM_OK)
        status = ddpm_ranks_compare(ddpm_processes_ranks(), text);
    free(text);
    return status;
}

static ddpm_status prepare_options(const struct ddpm_arguments *arguments,
                                   struct ddpm_train_run *run)
{
    run->path = ddpm_arguments_get(arguments, "out");
    run->resume = ddpm_arguments_get(arguments, "resume") != NULL;
    run->requeue = ddpm_arguments_get(arguments, "requeue-exit") != NULL;
    run->saved = -1;
    run->start.path = run->path;
    run->start.resume = run->resume;
    run->start.model =
        run->start.distills ? arguments->arguments[0] : ddpm_arguments_get(arguments, "pretrained");
    if (run->resume && run->start.model && !run->start.distills)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --pretrained: got it with --resume, which continues with the "
                          "run's own weights");
    DDPM_TRY(ddpm_run_start_open(&run->start));
    DDPM_TRY(ddpm_train_time_check(arguments, run));
    DDPM_TRY(ddpm_run_config_read(arguments, &run->start, &run->config, &run->evaluations));
    if (run->seconds > 0) /* not known yet: more than will be timed */
        run->config->training.steps = 1000000000;
    DDPM_TRY(read_numbers(run));
    return ddpm_run_pictures_settle(arguments, run->config,
                                    run->resume           ? run->path
                                    : run->start.distills ? run->start.model
                                                          : NULL);
}

static ddpm_status prepare_network(struct ddpm_train_run *run)
{
    DDPM_TRY(ddpm_run_pictures_open(run->path, run->config, &run->data));
    return ddpm_network_declare(NULL, run->config, &run->network);
}

static ddpm_status prepare_trainer(struct ddpm_train_run *run)
{
    DDPM_TRY(ddpm_network_allocate(run->network));
    DDPM_TRY(ddpm_run_start_weights(&run->start, run->network));
    return ddpm_trainer_create_among(ddpm_processes_ranks(), run->network, run->config, run->data,
                                     &run->trainer);
}

/* Timing changes weights and moments, so network and trainer are then created again. */
static ddpm_status start_over(struct ddpm_train_run *run)
{
    ddpm_trainer_destroy(&run->trainer);
    ddpm_network_destroy(&run->network);
    DDPM_TRY(ddpm_network_declare(NULL, run->config, &run->network));
    run->samples.network = run->network;
    return prepare_trainer(run);
}

/* Choose how many steps fit into --time. If the run begins with patches, both kinds of steps are
 * timed. */
static ddpm_status choose_steps(struct ddpm_train_run *run)
{
    const int64_t patches = run->config->training.patches;
    double whole;
    DDPM_TRY(ddpm_trainer_share_state(run->trainer)); /* joins devices that add up gradients */
    DDPM_TRY(ddpm_train_time_measure(run, &run->timed));
    if (patches > 1) {
        run->config->training.patches = 1;
        DDPM_TRY(together(start_over(run)));
        DDPM_TRY(ddpm_train_time_measure(run, &whole));
        run->config->training.patches = patches;
        run->outlook.patch_cost = run->timed / whole;
    }
    DDPM_TRY(ddpm_train_time_choose(run));
    return start_over(run);
}

static ddpm_status resume(struct ddpm_train_run *run)
{
    DDPM_TRY(ddpm_trainer_resume(run->trainer, run->checkpoint));
    run->saved = ddpm_trainer_steps_done(run->trainer);
    return ddpm_run_folder_check_steps(run->path, run->steps, run->saved);
}

/* First everything that can fail without leaving a trace on disk, then the run's folder. */
ddpm_status ddpm_train_prepare(const struct ddpm_arguments *arguments, struct ddpm_train_run *run)
{
    const bool leads = ddpm_processes_lead();
    DDPM_TRY(together(prepare_options(arguments, run)));
    DDPM_TRY(together(leads ? take_over(run) : DDPM_OK));
    DDPM_TRY(together(prepare_network(run)));
    DDPM_TRY(compare(run));
    DDPM_TRY(ddpm_processes_check_clocks());
    DDPM_TRY(together(check_memory(run)));
    DDPM_TRY(ddpm_trainer_share_packed(ddpm_processes_ranks(), run->network, run->config,
                                       run->samples.bytes));
    DDPM_TRY(together(prepare_trainer(run)));
    run->outlook.patch_cost = ddpm_trainer_patch_cost(run->trainer);
    if (run->seconds > 0)
        DDPM_TRY(together(choose_steps(run)));
    DDPM_TRY(together(run->resume && leads ? resume(run) : DDPM_OK));
    DDPM_TRY(ddpm_trainer_share_state(run->trainer));
    DDPM_TRY(together(plan_validation(run)));
    DDPM_TRY(ddpm_run_places_find(ddpm_network_device(run->network), &run->places));
    return together(leads ? prepare_folder(run) : DDPM_OK);
}

static void describe_ranks(const struct ddpm_train_run *run)
{
    char text[DDPM_MEMORY_TEXT_BYTES], sent[DDPM_TEXT_BYTES], wire[16] = "", shard[16] = "";
    (void)ddpm_config_get(run->config, "wire", wire, sizeof wire);
    (void)ddpm_config_get(run->config, "shard", shard, sizeof shard);
    if (ddpm_processes_ranks()) {
        ddpm_progress_remark("ranks     %s", ddpm_processes_text(text, sizeof text));
        ddpm_run_places_say(run->places);
        ddpm_progress_remark("          each sends %s in a step, gradients as %s",
                             ddpm_bytes_text(sent, (double)ddpm_trainer_bytes_sent(run->trainer)),
                             wire);
        return;
    }
    if (strcmp(wire, "fp32") != 0)
        ddpm_progress_remark("          wire %s has no effect with one rank", wire);
    if (strcmp(shard, "none") != 0)
        ddpm_progress_remark("          shard %s has no effect with one rank", shard);
}

static void describe_patches(const struct ddpm_train_run *run)
{
    const struct ddpm_size size = ddpm_size_after(run->config, 0);
    char steps[DDPM_TEXT_BYTES];
    if (run->outlook.patch_steps > 0)
        ddpm_progress_remark("patches   of %" PRId64 "x%" PRId64 " in the first %s steps",
                             size.height, size.width,
                             ddpm_count_text(steps, run->outlook.patch_steps));
}

static void describe_memory(const struct ddpm_train_run *run, const struct ddpm_memory_plan *memory)
{
    char text[DDPM_MEMORY_TEXT_BYTES], samples[DDPM_TEXT_BYTES];
    struct ddpm_memory_plan all = *memory;
    if (!ddpm_progress_is_verbose())
        all.activations += run->samples.bytes;
    ddpm_progress_remark("memory    %s", ddpm_memory_text(text, &all, "planned"));
    if (ddpm_progress_is_verbose() && run->samples.bytes > 0)
        ddpm_progress_remark("          %s more while samples are drawn",
                             ddpm_bytes_text(samples, (double)run->samples.bytes));
}

/* Operations per second of a CPU; only fast ones reach this. */
#define CPU_SPEED 1e12
#define LONG_SECONDS (3 * 3600.0)

/* The article's network takes days on a CPU. A first run should not find that out by waiting. */
static void advise(const struct ddpm_train_run *run, const struct ddpm_memory_plan *memory)
{
    const struct ddpm_training_config *training = &run->config->training;
    const double seconds = memory->flops_per_step * (double)training->steps / CPU_SPEED;
    if (run->resume || run->start.distills || run->seconds > 0 || seconds < LONG_SECONDS ||
        training->recipe != DDPM_RECIPE_NONE || !run->network->device->backend->host_memory)
        return;
    ddpm_progress_remark(
        "          this takes many hours on a CPU; for a quick first result, try --dim 32 "
        "--recipe fast --time 10m");
}

void ddpm_train_describe(const struct ddpm_train_run *run)
{
    char a[DDPM_TEXT_BYTES], b[DDPM_TEXT_BYTES];
    char network[64] = "";
    struct ddpm_memory_plan memory = ddpm_trainer_memory(run->trainer);
    (void)ddpm_config_get(run->config, "network", network, sizeof network);
    ddpm_progress_remark("network   %s, %s parameters", network,
                         ddpm_count_text(a, ddpm_network_weight_count(run->network)));
    ddpm_progress_remark("device    %s", ddpm_network_device(run->network));
    describe_ranks(run);
    describe_memory(run, &memory);
    ddpm_run_pictures_describe(run->data, run->config, run->pictures_per_step);
    describe_patches(run);
    ddpm_run_validation_describe(&run->validation,
                                 ddpm_data_count(run->data) - ddpm_data_skipped(run->data));
    if (run->start.distills && !run->resume)
        ddpm_progress_remark("starts    from %s, to draw in %" PRId64 " step%s", run->start.model,
                             run->evaluations, run->evaluations == 1 ? "" : "s");
    else if (run->start.model && !run->resume)
        ddpm_progress_remark("starts    from %s", run->start.model);
    ddpm_run_samples_describe(&run->samples);
    ddpm_progress_remark("run       %s, step %s of %s", run->path,
                         ddpm_count_text(a, ddpm_trainer_steps_done(run->trainer)),
                         ddpm_count_text(b, run->steps));
    advise(run, &memory);
}
