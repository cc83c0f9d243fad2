/* Measuring the likelihood of real pictures. */
#include "evaluate_likelihood.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/memory.h"
#include "evaluate_side.h"
#include "progress.h"

/* How many pictures to measure without -n, and roughly how many to read at once. */
enum { DEFAULT_COUNT = 5000, PIECE = 64 };

struct measuring {
    const struct ddpm_arguments *arguments;
    struct ddpm_likelihood_options options;
    struct ddpm_opened_model model;
    struct ddpm_config *config; /* the model's configuration, changed by the command line */
    struct ddpm_likelihood *likelihood;
    struct ddpm_side real;
    struct ddpm_source_reader *reader;
    int64_t piece;                 /* pictures to read at once: whole batches */
    uint8_t *pictures;             /* [piece] */
    struct ddpm_progress progress; /* evaluations of the network */
    int64_t before;                /* evaluations in finished pieces */
};

ddpm_status ddpm_evaluate_check_likelihood(const struct ddpm_arguments *arguments)
{
    static const char *const own[] = {"likelihood-method", "likelihood-levels", "likelihood-steps",
                                      "likelihood-probes"};
    static const char *const others[] = {"held-out", "features", "sheet", "save-statistics"};
    static const char *const drawing[] = {
        "sampler",      "sampling-steps", "spacing",   "start",     "threshold",  "eta",
        "solver-order", "churn",          "churn-min", "churn-max", "churn-noise"};
    const bool wanted = ddpm_arguments_get(arguments, "likelihood") != NULL;
    for (size_t i = 0; i < sizeof own / sizeof *own; ++i)
        if (!wanted && ddpm_arguments_get(arguments, own[i]))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "option --%s: got it without --likelihood, want both", own[i]);
    const char *refused = NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        if (ddpm_arguments_get(arguments, others[i]))
            refused = others[i];
    for (size_t i = 0; i < sizeof drawing / sizeof *drawing; ++i)
        if (ddpm_arguments_has_setting(arguments, drawing[i]))
            refused = drawing[i];
    if (wanted && refused)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --likelihood: got it with --%s, want one of the two: nothing is "
                          "drawn or compared",
                          refused);
    return DDPM_OK;
}

static ddpm_status read_method(struct measuring *m)
{
    const char *text = ddpm_arguments_get(m->arguments, "likelihood-method");
    if (!text || strcmp(text, "auto") == 0)
        m->options.method = DDPM_LIKELIHOOD_AUTO;
    else if (strcmp(text, "bound") == 0)
        m->options.method = DDPM_LIKELIHOOD_BOUND;
    else if (strcmp(text, "flow") == 0)
        m->options.method = DDPM_LIKELIHOOD_FLOW;
    else
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --likelihood-method: got \"%.80s\", want auto, bound or flow",
                          text);
    return DDPM_OK;
}

static ddpm_status read_options(struct measuring *m)
{
    const struct ddpm_arguments *arguments = m->arguments;
    const char *levels = ddpm_arguments_get(arguments, "likelihood-levels");
    struct ddpm_likelihood_options *o = &m->options;
    struct ddpm_probe probe;
    o->size = sizeof *o;
    DDPM_TRY(read_method(m));
    if (levels && strcmp(levels, "all") == 0)
        o->levels = INT64_MAX;
    else
        DDPM_TRY(
            ddpm_arguments_integer(arguments, "likelihood-levels", 2, INT32_MAX, 0, &o->levels));
    DDPM_TRY(ddpm_arguments_integer(arguments, "likelihood-steps", 1, 100000, 0, &o->steps));
    DDPM_TRY(ddpm_arguments_integer(arguments, "likelihood-probes", 1, 100, 0, &o->probes));
    DDPM_TRY(ddpm_arguments_integer(arguments, "batch", 1, 4096, 0, &o->batch));
    DDPM_TRY(ddpm_arguments_probe(arguments, &probe));
    o->seed = probe.seed; /* from the command line, not the one of training */
    m->real.shape.threads = probe.threads;
    return DDPM_OK;
}

static ddpm_status look_at_paths(struct measuring *m)
{
    struct ddpm_side model = {.path = m->arguments->arguments[0], .which = "generated"};
    m->real.path = ddpm_arguments_get(m->arguments, "against");
    m->real.which = "real";
    DDPM_TRY(ddpm_side_look(&model));
    DDPM_TRY(ddpm_side_look(&m->real));
    if (model.kind != DDPM_SIDE_MODEL)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got pictures or features, want a run, checkpoint or .safetensors "
                          "file for --likelihood",
                          model.path);
    if (m->real.kind != DDPM_SIDE_PICTURES)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --against: got %s, want pictures for --likelihood: a folder, or "
                          ".npy of uint8 [N,H,W,C]",
                          m->real.path);
    return DDPM_OK;
}

/* The model's configuration, changed by the command line, and what to measure with it. */
static ddpm_status settle(struct measuring *m, const struct ddpm_network *network)
{
    struct ddpm_likelihood_options *o = &m->options;
    ddpm_config_destroy(&m->config);
    DDPM_TRY(ddpm_config_copy(ddpm_network_config(network), &m->config));
    DDPM_TRY(ddpm_arguments_apply(m->arguments, NULL, m->config));
    DDPM_TRY(ddpm_config_check(m->config));
    o->height = m->config->diffusion.image_height;
    o->width = m->config->diffusion.image_width;
    o->clip = m->config->diffusion.clip;
    return DDPM_OK;
}

static ddpm_status look_at_network(void *user, struct ddpm_network *network)
{
    struct measuring *m = user;
    struct ddpm_memory_plan plan;
    DDPM_TRY(settle(m, network));
    struct ddpm_likelihood_options options = m->options;
    options.batch = options.batch ? options.batch : 1;
    DDPM_TRY(ddpm_likelihood_measure(network, &options, &plan));
    return ddpm_check_room(network, &plan, 0);
}

static int after_evaluation(void *user, int64_t done, int64_t total)
{
    struct measuring *m = user;
    (void)total;
    ddpm_progress_bar(&m->progress, "measuring", m->before + done);
    return ddpm_caught_signal() != 0;
}

static ddpm_status open_model(struct measuring *m)
{
    DDPM_TRY(
        ddpm_open_model(m->arguments, m->arguments->arguments[0], look_at_network, m, &m->model));
    m->options.weights = m->model.which;
    m->options.callback = after_evaluation;
    m->options.user = m;
    return settle(m, m->model.network);
}

static ddpm_status open_pictures(struct measuring *m, int64_t most)
{
    struct ddpm_side_shape shape = m->real.shape;
    m->real.most = most ? most : DEFAULT_COUNT;
    shape.height = (int)m->options.height;
    shape.width = (int)m->options.width;
    shape.channels = (int)m->config->network.channels;
    DDPM_TRY(ddpm_side_open(&m->real, &shape));
    DDPM_TRY(ddpm_side_list(&m->real, &m->options.pictures));
    return ddpm_source_reader_create(&m->reader, m->real.source);
}

static size_t picture_bytes(const struct measuring *m)
{
    return (size_t)m->options.height * (size_t)m->options.width *
           (size_t)m->config->network.channels;
}

static ddpm_status plan(struct measuring *m)
{
    DDPM_TRY(ddpm_likelihood_create(m->model.network, &m->options, &m->likelihood));
    const int64_t batch = ddpm_likelihood_in_force(m->likelihood)->batch;
    m->piece = batch < PIECE ? PIECE / batch * batch : batch;
    return ddpm_new_array((void **)&m->pictures, (size_t)m->piece, picture_bytes(m), "pictures");
}

/* Read the piece that starts at position `begin` of the list, and measure its good pictures. */
static ddpm_status measure_piece(struct measuring *m, int64_t begin)
{
    const int64_t left = m->options.pictures - begin;
    const int64_t end = begin + (left < m->piece ? left : m->piece);
    const size_t bytes = picture_bytes(m);
    int64_t count = 0;
    for (int64_t i = begin; i < end; ++i) {
        bool good;
        DDPM_TRY(ddpm_source_read_exactly(m->reader, m->real.items[i], NULL,
                                          m->pictures + (size_t)count * bytes, &good));
        count += good;
    }
    if (count > 0)
        DDPM_TRY(ddpm_likelihood_add(m->likelihood, m->pictures, count, (size_t)count * bytes));
    m->before += (end - begin) * ddpm_likelihood_result(m->likelihood)->evaluations;
    return DDPM_OK;
}

static ddpm_status measure(struct measuring *m)
{
    const int64_t pictures = m->options.pictures;
    ddpm_progress_start(&m->progress, 0,
                        pictures * ddpm_likelihood_result(m->likelihood)->evaluations);
    for (int64_t begin = 0; begin < pictures; begin += m->piece) {
        DDPM_TRY(ddpm_check_signal());
        ddpm_status status = measure_piece(m, begin);
        DDPM_TRY(ddpm_check_signal());
        DDPM_TRY(status);
    }
    return ddpm_side_check_count(&m->real, ddpm_likelihood_result(m->likelihood)->pictures);
}

static struct ddpm_likelihood_report report_of(const struct measuring *m)
{
    return (struct ddpm_likelihood_report){
        .result = ddpm_likelihood_result(m->likelihood),
        .options = ddpm_likelihood_in_force(m->likelihood),
        .config = m->config,
        .path = m->real.path,
    };
}

static ddpm_status run(struct measuring *m, int64_t most)
{
    char text[DDPM_LIKELIHOOD_TEXT_BYTES];
    DDPM_TRY(read_options(m));
    DDPM_TRY(look_at_paths(m));
    DDPM_TRY(open_model(m));
    DDPM_TRY(open_pictures(m, most));
    DDPM_TRY(plan(m));
    struct ddpm_likelihood_report report = report_of(m);
    ddpm_catch_signals();
    ddpm_progress_remark("%s: measuring %" PRId64 " pictures of %" PRId64 "x%" PRId64
                         " by %s, on %s: %" PRId64 " evaluations of the network for each",
                         m->arguments->arguments[0], m->options.pictures, m->options.height,
                         m->options.width, ddpm_likelihood_text(&report, text),
                         ddpm_network_device(m->model.network), report.result->evaluations);
    ddpm_status status = measure(m);
    ddpm_progress_clear();
    DDPM_TRY(status);
    report = report_of(m);
    if (ddpm_arguments_get(m->arguments, "json"))
        return ddpm_likelihood_print_json(&report);
    ddpm_likelihood_print(&report);
    return DDPM_OK;
}

ddpm_status ddpm_evaluate_likelihood(const struct ddpm_arguments *arguments, int64_t most)
{
    struct measuring measuring = {.arguments = arguments};
    ddpm_status status = run(&measuring, most);
    ddpm_source_reader_destroy(&measuring.reader);
    ddpm_side_close(&measuring.real);
    ddpm_likelihood_destroy(&measuring.likelihood);
    ddpm_close_model(&measuring.model);
    ddpm_config_destroy(&measuring.config);
    free(measuring.pictures);
    return status;
}
