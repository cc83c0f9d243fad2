/* ddpm predict: one forward pass of the network, from and to .npy files. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "diffusion/objective.h"
#include "formats/npy.h"
#include "model/model.h"
#include "options.h"

/* Pictures per forward pass. */
enum { BATCH = 16 };

struct prediction {
    const char *x_path, *t_path;
    struct ddpm_opened_model model;
    struct ddpm_npy x, t;
    struct ddpm_npy_writer *writer;
    int64_t channels, out_channels;
    double least_time, most_time;
    float *x_values, *y_values;
    float *t_values;
};

static ddpm_status check_shapes(const struct prediction *p)
{
    const struct ddpm_npy *x = &p->x, *t = &p->t;
    const char *x_path = p->x_path, *t_path = p->t_path;
    if (x->dtype != DDPM_NPY_F32 || x->rank != 4)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got %s of rank %d, want float32 of rank 4: [B,C,H,W]", x_path,
                          ddpm_npy_dtype_name(x->dtype), x->rank);
    if ((t->dtype != DDPM_NPY_I64 && t->dtype != DDPM_NPY_F32) || t->rank != 1)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got %s of rank %d, want int64 or float32 of rank 1: [B]", t_path,
                          ddpm_npy_dtype_name(t->dtype), t->rank);
    if (x->shape[1] != p->channels)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got %" PRId64 " channels, want the model's "
                          "%" PRId64,
                          x_path, x->shape[1], p->channels);
    if (x->shape[0] != t->shape[0])
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got %" PRId64 " timesteps, want one for each of the %" PRId64
                          " pictures of %s",
                          t_path, t->shape[0], x->shape[0], x_path);
    if (x->count == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got no pictures, want at least one", x_path);
    return DDPM_OK;
}

/* Timestep i: an integer, or a value between two. */
static double time_at(const struct ddpm_npy *t, int64_t i)
{
    int64_t whole;
    float between;
    if (t->dtype == DDPM_NPY_I64) {
        memcpy(&whole, (const char *)t->data + (size_t)i * sizeof whole, sizeof whole);
        return (double)whole;
    }
    memcpy(&between, (const char *)t->data + (size_t)i * sizeof between, sizeof between);
    return (double)between;
}

static ddpm_status check_values(const struct prediction *p, const char *x_path, const char *t_path)
{
    for (int64_t i = 0; i < p->t.count; ++i) {
        const double t = time_at(&p->t, i);
        if (!(t >= p->least_time && t <= p->most_time))
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "%s: got %.9g at position %" PRId64 ", want %.9g to %.9g", t_path, t,
                              i, p->least_time, p->most_time);
    }
    for (int64_t i = 0; i < p->x.count; ++i) {
        float x;
        memcpy(&x, (const char *)p->x.data + (size_t)i * sizeof x, sizeof x);
        if (!isfinite(x))
            return ddpm_raise(DDPM_ERROR_FORMAT,
                              "%s: got %g at position %" PRId64 ", want finite numbers", x_path,
                              (double)x, i);
    }
    return DDPM_OK;
}

static ddpm_status read_config(struct prediction *p, const struct ddpm_network *network)
{
    const struct ddpm_config *config = ddpm_network_config(network);
    struct ddpm_picture_format format;
    DDPM_TRY(ddpm_network_picture_format(network, &format));
    ddpm_objective_times(&config->diffusion, &p->least_time, &p->most_time);
    p->channels = format.channels;
    p->out_channels = format.out_channels;
    return DDPM_OK;
}

static size_t batch_of(const struct prediction *p)
{
    return p->x.shape[0] < BATCH ? (size_t)p->x.shape[0] : BATCH;
}

static size_t area_of(const struct prediction *p)
{
    return (size_t)(p->x.shape[2] * p->x.shape[3]);
}

/* Do the arrays fit the network, and does everything fit into memory? */
static ddpm_status look(void *user, struct ddpm_network *network)
{
    struct prediction *p = user;
    struct ddpm_memory_plan plan;
    DDPM_TRY(read_config(p, network));
    DDPM_TRY(check_shapes(p));
    const size_t batch = batch_of(p);
    DDPM_TRY(ddpm_forward_measure(network, (int64_t)batch, p->x.shape[2], p->x.shape[3], &plan));
    return ddpm_check_room(network, &plan,
                           batch * area_of(p) * (size_t)(p->channels + p->out_channels) *
                               sizeof(float));
}

static ddpm_status allocate(struct prediction *p)
{
    const size_t batch = batch_of(p), area = area_of(p);
    DDPM_TRY(ddpm_new_array((void **)&p->x_values, batch * (size_t)p->channels * area,
                            sizeof(float), "pictures"));
    DDPM_TRY(ddpm_new_array((void **)&p->y_values, batch * (size_t)p->out_channels * area,
                            sizeof(float), "results"));
    return ddpm_new_array((void **)&p->t_values, batch, sizeof(float), "timesteps");
}

static ddpm_status predict_batches(struct prediction *p)
{
    const int64_t height = p->x.shape[2], width = p->x.shape[3];
    const size_t item = (size_t)(p->channels * height * width) * sizeof(float);
    for (int64_t first = 0; first < p->x.shape[0]; first += BATCH) {
        DDPM_TRY(ddpm_check_signal());
        int64_t left = p->x.shape[0] - first, count = left < BATCH ? left : BATCH;
        memcpy(p->x_values, (const char *)p->x.data + (size_t)first * item, (size_t)count * item);
        for (int64_t i = 0; i < count; ++i)
            p->t_values[i] = (float)time_at(&p->t, first + i);
        const struct ddpm_forward_input input = {
            .size = sizeof input,
            .x = p->x_values,
            .x_count = (size_t)(count * p->channels * height * width),
            .times = p->t_values,
            .time_count = (size_t)count,
            .batch = count,
            .height = height,
            .width = width,
        };
        DDPM_TRY(ddpm_network_forward(p->model.network, p->model.which, &input, p->y_values,
                                      (size_t)(count * p->out_channels * height * width)));
        DDPM_TRY(ddpm_npy_writer_append(p->writer, p->y_values, count));
    }
    return ddpm_npy_writer_finish(&p->writer);
}

static ddpm_status predict(const struct ddpm_arguments *arguments, struct prediction *p)
{
    p->x_path = ddpm_arguments_get(arguments, "input");
    p->t_path = ddpm_arguments_get(arguments, "timesteps");
    DDPM_TRY(ddpm_npy_open(&p->x, p->x_path));
    DDPM_TRY(ddpm_npy_open(&p->t, p->t_path));
    DDPM_TRY(ddpm_open_model(arguments, arguments->arguments[0], look, p, &p->model));
    DDPM_TRY(read_config(p, p->model.network));
    DDPM_TRY(check_shapes(p));
    DDPM_TRY(check_values(p, p->x_path, p->t_path));
    DDPM_TRY(allocate(p));
    const int64_t shape[3] = {p->out_channels, p->x.shape[2], p->x.shape[3]};
    DDPM_TRY(ddpm_npy_writer_create(&p->writer, ddpm_arguments_get(arguments, "output"),
                                    DDPM_NPY_F32, 3, shape));
    ddpm_catch_signals();
    return predict_batches(p);
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    struct prediction prediction = {0};
    ddpm_status status = predict(arguments, &prediction);
    ddpm_npy_writer_abandon(&prediction.writer);
    ddpm_npy_close(&prediction.x);
    ddpm_npy_close(&prediction.t);
    ddpm_close_model(&prediction.model);
    free(prediction.x_values);
    free(prediction.y_values);
    free(prediction.t_values);
    return status;
}

static const struct ddpm_verb_option options[] = {
    {"input", 'i', true, "x.npy", "float32 [B,C,H,W], nominally in [-1,1]"},
    {"timesteps", 't', true, "t.npy",
     "int64 or float32 [B], the timestep of each picture, from 0 to T-1; for flow T·t, for edm "
     "ln(sigma)/4"},
    {"output", 'o', true, "eps.npy", "float32 [B,C,H,W], written here; replaces an older file"},
    {"weights", 0, false, "ema|model", "EMA or raw weights (ema)"},
    {"config", 'c', false, "FILE.json", "configuration for a bare .safetensors file"},
};
static const char *const settings[] = {"threads", "precision", "device", "conv", NULL};

const struct ddpm_verb ddpm_verb_predict = {
    .name = "predict",
    .arguments = "RUN|CHECKPOINT|MODEL.safetensors",
    .argument_count = 1,
    .summary = "Run the network alone on arrays from files.",
    .examples = "  ddpm predict runs/first --input x.npy --timesteps t.npy --output eps.npy\n",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings = settings,
    .run = run,
};
