/* ddpm bench: where the time of a training or sampling step goes, compared with what this machine
 * can do. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <ddpm/trainer.h>

#include "bench_table.h"
#include "core/clock.h"
#include "core/memory.h"
#include "core/random.h"
#include "diffusion/objective.h"
#include "formats/json.h"
#include "model/model.h"
#include "options.h"
#include "streams.h"
#include "training/inspect.h"

struct bench {
    struct ddpm_network *network;
    struct ddpm_trainer *trainer; /* NULL when sampling is measured */
    struct ddpm_data *data;       /* NULL: any numbers will do */
    struct ddpm_graph *graph;
    struct ddpm_picture_format format;
    int64_t batch_size, accumulate, repeats;
    bool json;
    struct ddpm_bench_table table;
    double step_seconds, step_flops;
    uint64_t planned_bytes; /* device memory; for sampling, that of the forward pass */
};

/* A part of the graph, and how many times a step runs it. */
static ddpm_status profile_part(struct bench *bench, int part, int64_t times)
{
    struct ddpm_graph *graph = bench->graph;
    const size_t begin = graph->parts[part].begin, count = graph->parts[part].end - begin;
    double *seconds;
    DDPM_TRY(ddpm_new_array((void **)&seconds, count, sizeof *seconds, "timings"));
    ddpm_status status = ddpm_graph_profile(graph, part, (int)bench->repeats, seconds);
    for (size_t i = 0; i < count && status == DDPM_OK; ++i)
        status = ddpm_bench_add_call(&bench->table, &graph->calls[begin + i], seconds[i], times);
    bench->step_flops += (double)times * ddpm_graph_flops(graph, part);
    free(seconds);
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Packing the weights into the kernels' own layouts, which every step repeats: the median of the
 * repeats. */
static ddpm_status time_packing(struct bench *bench, double *seconds)
{
    struct ddpm_graph *graph = bench->graph;
    double *times;
    DDPM_TRY(ddpm_new_array((void **)&times, (size_t)bench->repeats, sizeof *times, "timings"));
    ddpm_status status = DDPM_OK;
    for (int64_t i = 0; i < bench->repeats && status == DDPM_OK; ++i) {
        double begin = ddpm_now();
        status = ddpm_graph_pack(graph);
        if (status == DDPM_OK)
            status = graph->device->backend->synchronize(graph->device);
        times[i] = ddpm_now() - begin;
    }
    qsort(times, (size_t)bench->repeats, sizeof *times, by_value);
    *seconds = times[bench->repeats / 2];
    free(times);
    return status;
}

static ddpm_status profile_packing(struct bench *bench)
{
    struct ddpm_graph *graph = bench->graph;
    struct ddpm_bench_row row = {.op = "pack", .kernel = "weights in the kernels' own layouts"};
    DDPM_TRY(time_packing(bench, &row.seconds));
    for (size_t i = 0; i < graph->node_count; ++i)
        if (graph->calls[i].packed_bytes) {
            ++row.calls;
            row.bytes += (double)graph->calls[i].packed_bytes +
                         (double)ddpm_tensor_bytes(&graph->calls[i].in[1]);
        }
    if (row.calls == 0)
        return DDPM_OK;
    return ddpm_bench_add_bytes(&bench->table, row);
}

/* The values do not matter, but they are as large as in training. */
struct inputs {
    float *x;
    int64_t *t;
    double *sigmas; /* replaces t where levels are continuous */
};

static ddpm_status make_inputs(int64_t pictures, int64_t count, int64_t timesteps,
                               struct inputs *in)
{
    DDPM_TRY(ddpm_new_array((void **)&in->x, (size_t)count, sizeof *in->x, "pictures"));
    DDPM_TRY(ddpm_new_array((void **)&in->t, (size_t)pictures, sizeof *in->t, "timesteps"));
    DDPM_TRY(ddpm_new_array((void **)&in->sigmas, (size_t)pictures, sizeof *in->sigmas, "sigmas"));
    ddpm_fill_normal(in->x, count, 1, DDPM_STREAM_BENCH, 0, 0);
    for (int64_t i = 0; i < pictures; ++i) {
        in->t[i] = (i * 37 + 11) % timesteps;
        in->sigmas[i] = 0.5;
    }
    return DDPM_OK;
}

/* The timesteps for the forward pass: edm's time 0 is sigma 1. */
static int64_t timesteps_of(const struct bench *bench)
{
    double least, most;
    ddpm_objective_times(&ddpm_network_config(bench->network)->diffusion, &least, &most);
    return least < 0 ? 1 : bench->format.timesteps;
}

static int64_t pictures_of_step(const struct bench *bench)
{
    return bench->batch_size * (bench->trainer ? bench->accumulate : 1);
}

/* One whole step. With pictures it is a training step: its noise is drawn on the device, its
 * commands are recorded, and the previous step's numbers are read while it computes. */
static ddpm_status one_step(struct bench *bench, const struct inputs *in, float *y)
{
    const struct ddpm_picture_format *format = &bench->format;
    const size_t pictures = (size_t)pictures_of_step(bench);
    const size_t area = pictures * (size_t)(format->height * format->width);
    const size_t count = area * (size_t)format->channels;
    struct ddpm_step_result result;
    if (bench->data)
        return ddpm_trainer_step_late(bench->trainer, &result);
    if (bench->trainer)
        return ddpm_trainer_step_given(
            bench->trainer,
            &(struct ddpm_step_input){.size = sizeof(struct ddpm_step_input),
                                      .pictures = in->x,
                                      .picture_count = count,
                                      .timesteps = in->t,
                                      .timestep_count = pictures,
                                      .noise = in->x,
                                      .noise_count = count,
                                      .sigmas = in->sigmas,
                                      .sigma_count = pictures},
            &result);
    return ddpm_network_forward(
        bench->network, DDPM_WEIGHTS_EMA,
        &(struct ddpm_forward_input){.size = sizeof(struct ddpm_forward_input),
                                     .x = in->x,
                                     .x_count = count,
                                     .timesteps = in->t,
                                     .time_count = pictures,
                                     .batch = (int64_t)pictures,
                                     .height = format->height,
                                     .width = format->width},
        y, area * (size_t)format->out_channels);
}

/* The median of whole, uninterrupted steps. */
static ddpm_status time_steps(struct bench *bench)
{
    const struct ddpm_picture_format *format = &bench->format;
    const int64_t pictures = pictures_of_step(bench);
    const int64_t area = pictures * format->height * format->width;
    struct inputs in = {0};
    float *y = NULL;
    double *times = NULL;
    ddpm_status status = make_inputs(pictures, area * format->channels, timesteps_of(bench), &in);
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&y, (size_t)(area * format->out_channels), sizeof *y,
                                "results");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&times, (size_t)bench->repeats, sizeof *times, "timings");
    for (int64_t i = -2; i < bench->repeats && status == DDPM_OK; ++i) { /* two warm-up steps */
        double begin = ddpm_now();
        status = one_step(bench, &in, y);
        if (i >= 0)
            times[i] = ddpm_now() - begin;
    }
    struct ddpm_step_result last;
    if (status == DDPM_OK && bench->data)
        status = ddpm_trainer_flush(bench->trainer, &last);
    if (status == DDPM_OK) {
        qsort(times, (size_t)bench->repeats, sizeof *times, by_value);
        bench->step_seconds = times[bench->repeats / 2];
    }
    free(in.x);
    free(in.t);
    free(in.sigmas);
    free(y);
    free(times);
    return status;
}

static void print_report(const struct bench *bench, int64_t pictures)
{
    const struct ddpm_bench_table *table = &bench->table;
    char planned[DDPM_TEXT_BYTES];
    ddpm_bench_print(table);
    printf("\nsum of calls       %.3f s\n", ddpm_bench_seconds(table));
    printf(
        "whole step         %.3f s, %.2f img/s, %.1f GFLOP as direct convolutions, %.1f GFLOP/s\n",
        bench->step_seconds, (double)pictures / bench->step_seconds, bench->step_flops / 1e9,
        bench->step_flops / bench->step_seconds / 1e9);
    printf("planned memory     %s\n", ddpm_bytes_text(planned, (double)bench->planned_bytes));
    if (table->peak_flops > 0)
        printf(
            "this machine       %.1f GFLOP/s and %.1f GB/s measured; the step runs at %.2f of the "
            "peak\n",
            table->peak_flops / 1e9, table->peak_bytes / 1e9,
            bench->step_flops / bench->step_seconds / table->peak_flops);
}

static ddpm_status print_json(const struct bench *bench, int64_t pictures)
{
    const struct ddpm_bench_table *table = &bench->table;
    json_t *json = json_pack(
        "{s:s,s:s,s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:o}", "step",
        bench->trainer ? "training" : "sampling", "device", ddpm_network_device(bench->network),
        "pictures", (json_int_t)pictures, "step_seconds", bench->step_seconds, "step_flops",
        bench->step_flops, "calls_seconds", ddpm_bench_seconds(table), "peak_flops",
        table->peak_flops, "peak_fp32_flops", table->peak_f32, "peak_bytes_per_second",
        table->peak_bytes, "planned_bytes", (json_int_t)bench->planned_bytes, "rows",
        ddpm_bench_rows_as_json(table));
    if (!json)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for the table as JSON");
    ddpm_status status = ddpm_print_json(json);
    json_decref(json);
    return status;
}

static uint64_t planned_bytes(const struct bench *bench)
{
    if (!bench->trainer) /* raw and EMA weights */
        return bench->graph->arena_bytes + bench->graph->packed_bytes +
               2 * (uint64_t)ddpm_weight_set_bytes(&bench->network->weights);
    const struct ddpm_memory_plan memory = ddpm_trainer_memory(bench->trainer);
    return memory.activations + memory.packed + memory.weights;
}

static ddpm_status profile_training(struct bench *bench)
{
    const struct ddpm_trainer_view view = ddpm_trainer_inspect(bench->trainer);
    bench->graph = view.graph;
    bench->planned_bytes = planned_bytes(bench);
    /* Update first, while the gradients are those of one step. Repeated backward passes add up to
     * infinite gradients, and then AdamW does nothing. */
    DDPM_TRY(profile_part(bench, view.update, 1));
    DDPM_TRY(profile_packing(bench));
    DDPM_TRY(profile_part(bench, view.draw, view.accumulate));
    DDPM_TRY(profile_part(bench, view.forward, view.accumulate));
    return profile_part(bench, view.backward, view.accumulate);
}

static ddpm_status profile(struct bench *bench)
{
    if (bench->trainer)
        return profile_training(bench);
    bench->graph = bench->network->forward.graph;
    bench->planned_bytes = planned_bytes(bench);
    return profile_part(bench, 0, 1);
}

static ddpm_status measure(struct bench *bench)
{
    const struct ddpm_backend *backend = bench->network->device->backend;
    struct ddpm_bench_table *table = &bench->table;
    if (backend->measure_peak) {
        DDPM_TRY(backend->measure_peak(bench->network->device, DDPM_F32, &table->peak_f32,
                                       &table->peak_bytes));
        table->peak_flops = table->peak_f32;
        if (bench->network->dtype != DDPM_F32)
            DDPM_TRY(backend->measure_peak(bench->network->device, bench->network->dtype,
                                           &table->peak_flops, &table->peak_bytes));
    }
    DDPM_TRY(time_steps(bench));
    DDPM_TRY(profile(bench));
    ddpm_bench_sort(table);
    return DDPM_OK;
}

/* Everything that will be allocated, known before any of it is; includes the inputs and results
 * of time_steps(). */
static ddpm_status check_memory(struct bench *bench, const struct ddpm_config *config,
                                bool sampling)
{
    const struct ddpm_picture_format *format = &bench->format;
    struct ddpm_memory_plan plan;
    const uint64_t pictures =
        (uint64_t)bench->batch_size * (uint64_t)(sampling ? 1 : bench->accumulate);
    const uint64_t beside = pictures * (uint64_t)(format->height * format->width) *
                            (uint64_t)(format->channels + format->out_channels) * sizeof(float);
    if (!sampling)
        return ddpm_trainer_check_memory(bench->network, config,
                                         bench->network->device->backend->host_memory ? beside : 0);
    DDPM_TRY(ddpm_forward_measure(bench->network, bench->batch_size, format->height, format->width,
                                  &plan));
    return ddpm_check_room(bench->network, &plan, beside);
}

/* The network, and its trainer unless sampling is measured. */
static ddpm_status open_network(struct bench *bench, struct ddpm_config *config,
                                const struct ddpm_arguments *arguments)
{
    const bool sampling = ddpm_arguments_get(arguments, "sampling") != NULL;
    if (!sampling && ddpm_arguments_has_setting(arguments, "data")) {
        DDPM_TRY(ddpm_data_open(config, &bench->data));
        DDPM_TRY(ddpm_data_measure(bench->data, config));
    }
    if (config->diffusion.sigma_data == 0) /* no pictures: they do not affect the time */
        DDPM_TRY(ddpm_config_set(config, "sigma-data", "0.5"));
    DDPM_TRY(ddpm_network_declare(NULL, config, &bench->network));
    DDPM_TRY(ddpm_network_picture_format(bench->network, &bench->format));
    DDPM_TRY(ddpm_config_integer(config, "batch-size", &bench->batch_size));
    DDPM_TRY(ddpm_config_integer(config, "accumulate", &bench->accumulate));
    DDPM_TRY(check_memory(bench, config, sampling));
    DDPM_TRY(ddpm_network_allocate(bench->network));
    if (sampling)
        return DDPM_OK;
    return ddpm_trainer_create(bench->network, config, bench->data, &bench->trainer);
}

static ddpm_status bench_network(const struct ddpm_arguments *arguments, struct bench *bench)
{
    struct ddpm_config *config;
    const char *file = ddpm_arguments_get(arguments, "config");
    DDPM_TRY(ddpm_arguments_integer(arguments, "repeats", 1, 10000, 5, &bench->repeats));
    bench->table.by_shape = ddpm_arguments_get(arguments, "kernels") != NULL;
    bench->json = ddpm_arguments_get(arguments, "json") != NULL;
    DDPM_TRY(ddpm_config_create(&config));
    ddpm_status status = file ? ddpm_config_read(config, file) : DDPM_OK;
    if (status == DDPM_OK)
        status = ddpm_arguments_apply(arguments, NULL, config);
    /* Time a step on whole pictures. For one on patches, set image-size to theirs. */
    config->training.patches = 1;
    if (status == DDPM_OK)
        status = open_network(bench, config, arguments);
    ddpm_config_destroy(&config);
    if (status == DDPM_OK)
        status = measure(bench);
    DDPM_TRY(status);
    const int64_t pictures = pictures_of_step(bench);
    if (bench->json)
        return print_json(bench, pictures);
    printf("%s step of %" PRId64 " pictures, %s\n\n", bench->trainer ? "training" : "sampling",
           pictures, ddpm_network_device(bench->network));
    print_report(bench, pictures);
    return DDPM_OK;
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct bench bench = {0};
    ddpm_status status = bench_network(arguments, &bench);
    ddpm_trainer_destroy(&bench.trainer);
    ddpm_network_destroy(&bench.network);
    ddpm_data_close(&bench.data);
    free(bench.table.rows);
    return status;
}

static const struct ddpm_verb_option options[] = {
    {"sampling", 0, false, NULL,
     "time one forward pass with the EMA weights instead of a training step"},
    {"kernels", 0, false, NULL, "one line per kernel and shape"},
    {"repeats", 0, false, "N", "report the median of this many runs (5)"},
    {"json", 0, false, NULL, "print JSON"},
    {"config", 'c', false, "FILE.json", "read options from this file; the command line wins"},
};

static const char *const common[] = {"sampling",  "kernels",   "json",       "network",
                                     "dim",       "dim-mults", "image-size", "batch-size",
                                     "precision", "device",    "threads",    NULL};

const struct ddpm_verb ddpm_verb_bench = {
    .name = "bench",
    .arguments = "",
    .summary = "Time the kernels of a step, compared with what this machine can do.",
    .examples = "  ddpm bench --image-size 64 --dim 64 --batch-size 16\n",
    .common = common,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .every_setting = true,
    .prints = true,
    .run = run,
};
