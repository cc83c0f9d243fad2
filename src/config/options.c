/* The option table. Defaults are those of the article (its published code and configuration
 * file), with the repairs listed in docs/model.md. */
#include "config/option.h"

#include <string.h>

#define AT(field) .offset = offsetof(struct ddpm_config, field)
#define AND(field) .second_offset = offsetof(struct ddpm_config, field)
#define IN(least, most) .range = {least, most, 0}
#define ABOVE(least, most) .range = {least, most, DDPM_OPEN_LEAST}
#define BELOW(least, most) .range = {least, most, DDPM_OPEN_MOST}
#define LOCKED .locked = DDPM_LOCKED

const char *const ddpm_off_on[] = {"off", "on", NULL};
static const char *const networks[] = {
#define NETWORK(id, name, help, build) name,
#include "config/networks.inc"
#undef NETWORK
    NULL};
static const char *const schedules[] = {
#define SCHEDULE(id, name, help, betas) name,
#include "config/schedules.inc"
#undef SCHEDULE
    NULL};
static const char *const samplers[] = {
#define SAMPLER(id, name, ...) name,
#include "config/samplers.inc"
#undef SAMPLER
    "auto", NULL};
static const char *const sampler_aliases[] = {
#define SAMPLER(id, name, alias, ...) alias,
#include "config/samplers.inc"
#undef SAMPLER
    NULL, NULL};
static const char sampler_help[] = "how pictures are drawn: "
#define SAMPLER(id, name, ...) name ", "
#include "config/samplers.inc"
#undef SAMPLER
                                   "or auto: the one that suits the model";
static const char *const spacings[] = {
#define SPACING(id, name, help, time) name,
#include "config/spacings.inc"
#undef SPACING
    "auto", NULL};
const char *const ddpm_start_names[] = {"auto", "noise", "fitted", NULL};
static const char spacing_help[] = "how the steps are spread over the noise levels: "
#define SPACING(id, name, help, time) name ", "
#include "config/spacings.inc"
#undef SPACING
                                   "or auto";
static const char *const objectives[] = {
#define OBJECTIVE(id, name, ...) name,
#include "config/objectives.inc"
#undef OBJECTIVE
    NULL};
static const char *const objective_aliases[] = {
#define OBJECTIVE(id, name, alias, ...) alias,
#include "config/objectives.inc"
#undef OBJECTIVE
    NULL};
static const char *const recipes[] = {
#define RECIPE(id, name, ...) name,
#include "config/recipes.inc"
#undef RECIPE
    "none", NULL};
static const char recipe_help[] =
#define RECIPE(id, name, ...) name ", "
#include "config/recipes.inc"
#undef RECIPE
    "or none: a named set of options; options you give yourself win";
static const char *const loss_weights[] = {"none", "min-snr", "soft-min-snr", "uncertainty", NULL};
static const char *const level_samplings[] = {"random", "stratified", NULL};
static const char *const flow_times[] = {"uniform", "logit-normal", NULL};
static const char *const losses[] = {"l2", "l1", NULL};
static const char *const lr_schedules[] = {"constant", "cosine", "linear", NULL};
static const char *const optimizers[] = {"adamw", "muon", NULL};
static const char *const decayed[] = {"all", "matrices", NULL};
static const char *const averages[] = {"exponential", "power", NULL};
static const char *const crops[] = {"center", "random", NULL};
static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
static const char *const reductions[] = {"fast", "exact", NULL};
static const char *const rank_choices[] = {"auto", "off", "mpi", "nccl", NULL};
static const char *const wires[] = {"fp32", "bf16", NULL};
static const char *const sharings[] = {"auto", "off", NULL};
static const char *const shards[] = {"none", "optimizer", NULL};
static const char *const memories[] = {"normal", "low", NULL};
static const char *const convolutions[] = {"auto", "direct", NULL};

#define INTEGER(name_, field, default_, range_, group_, key_, ...)                                 \
    {                                                                                              \
        .name = name_, .placeholder = "N", .type = DDPM_OPTION_INTEGER, AT(field),                 \
        .default_text = default_, range_, .group = DDPM_GROUP_##group_, .key = key_,               \
        .help = __VA_ARGS__                                                                        \
    }
#define NUMBER(name_, field, default_, range_, group_, key_, ...)                                  \
    {                                                                                              \
        .name = name_, .placeholder = "X", .type = DDPM_OPTION_NUMBER, AT(field),                  \
        .default_text = default_, range_, .group = DDPM_GROUP_##group_, .key = key_,               \
        .help = __VA_ARGS__                                                                        \
    }
#define SWITCH(name_, field, default_, group_, key_, ...)                                          \
    {                                                                                              \
        .name = name_, .placeholder = "on|off", .type = DDPM_OPTION_SWITCH, AT(field),             \
        .default_text = default_, .choices = ddpm_off_on, .group = DDPM_GROUP_##group_,            \
        .key = key_, .help = __VA_ARGS__                                                           \
    }
#define CHOICE(name_, placeholder_, field, default_, choices_, group_, key_, ...)                  \
    {                                                                                              \
        .name = name_, .placeholder = placeholder_, .type = DDPM_OPTION_CHOICE, AT(field),         \
        .default_text = default_, .choices = choices_, .group = DDPM_GROUP_##group_, .key = key_,  \
        .help = __VA_ARGS__                                                                        \
    }
#define TEXT(name_, placeholder_, field, default_, group_, key_, ...)                              \
    {                                                                                              \
        .name = name_, .placeholder = placeholder_, .type = DDPM_OPTION_TEXT, AT(field),           \
        .capacity = sizeof((struct ddpm_config *)0)->field, .default_text = default_,              \
        .group = DDPM_GROUP_##group_, .key = key_, .help = __VA_ARGS__                             \
    }

/* clang-format off */
const struct ddpm_option ddpm_options[] = {
    CHOICE("network", "NAME", network.network, "TwoResUNet", networks, NETWORK, "model_mapping",
           "OneResUNet, TwoResUNet or AttentionUNet", LOCKED),
    INTEGER("dim", network.dim, "64", IN(4, 4096), NETWORK, "input",
            "width of the first level, even", LOCKED),
    INTEGER("init-dim", network.init_dim, "0", IN(0, 4096), NETWORK, "init_dim",
            "channels after the first convolution; 0: dim", LOCKED),
    INTEGER("out-dim", network.out_dim, "0", IN(0, 4096), NETWORK, "out_dim",
            "output channels; 0: channels, or twice that with learned-variance", LOCKED),
    {.name = "dim-mults", .placeholder = "N,N,…", .type = DDPM_OPTION_LIST, AT(network.dim_mults),
     AND(network.levels), .default_text = "1,2,4,8", IN(1, 256), .group = DDPM_GROUP_NETWORK,
     .key = "dim_mults", .help = "widths of the levels as multiples of dim, 1 to 8 levels", LOCKED},
    INTEGER("channels", network.channels, "3", IN(1, 64), NETWORK, "channels",
            "channels of the pictures: 1 grey, 3 RGB, 4 RGBA; up to 64 from a packed .npy file", LOCKED),
    NUMBER("theta", network.theta, "10000", ABOVE(1, 1e12), NETWORK, "theta",
           "longest period of the time embedding", LOCKED),
    INTEGER("mult", network.mult, "2", IN(1, 64), NETWORK, "mult",
            "expansion factor inside a ConvNeXt block", LOCKED),
    SWITCH("norm", network.norm, "on", NETWORK, "norm", "group norms in the blocks", LOCKED),
    SWITCH("attention", network.attention, "off", NETWORK, "attention",
           "self-attention at the lowest resolution", .locked = DDPM_LOCKED_OR_DEFAULT),
    SWITCH("coordinates", network.coordinates, "off", NETWORK, "coordinates",
           "tell the network where each pixel is in the picture", .locked = DDPM_LOCKED_OR_DEFAULT),
    SWITCH("learned-variance", network.learned_variance, "off", NETWORK, "learned_variance",
           "also learn the variance of the ancestral sampler's steps", .locked = DDPM_LOCKED_OR_DEFAULT),

    INTEGER("timesteps", diffusion.timesteps, "1000", IN(1, 100000), DIFFUSION, "timesteps",
            "number T of diffusion timesteps", LOCKED),
    CHOICE("schedule", "NAME", diffusion.schedule, "linear", schedules, DIFFUSION,
           "betas_scheduler", "noise schedule: linear, cosine or sigmoid", LOCKED),
    NUMBER("cosine-s", diffusion.cosine_s, "0.008", IN(0, 10), DIFFUSION, "schedule_fn_kwargs.s",
           "offset s of the cosine schedule", .locked = DDPM_LOCKED_SINCE_0_2),
    NUMBER("sigmoid-start", diffusion.sigmoid_start, "-3", IN(-100, 100), DIFFUSION,
           "schedule_fn_kwargs.start", "start of the sigmoid schedule", .locked = DDPM_LOCKED_SINCE_0_2),
    NUMBER("sigmoid-end", diffusion.sigmoid_end, "3", IN(-100, 100), DIFFUSION,
           "schedule_fn_kwargs.end", "end of the sigmoid schedule", .locked = DDPM_LOCKED_SINCE_0_2),
    NUMBER("sigmoid-tau", diffusion.sigmoid_tau, "1", ABOVE(0, 100), DIFFUSION,
           "schedule_fn_kwargs.tau", "temperature of the sigmoid schedule", .locked = DDPM_LOCKED_SINCE_0_2),
    SWITCH("zero-terminal-snr", diffusion.zero_terminal_snr, "off", DIFFUSION, "zero_terminal_snr",
           "rescale the schedule so that its last timestep is pure noise", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("shift", diffusion.shift, "1", IN(0.01, 100), DIFFUSION, "shift",
           "more noise at every level: divides the signal-to-noise ratio by shift^2", .locked = DDPM_LOCKED_OR_DEFAULT),
    {.name = "image-size", .placeholder = "N|HxW", .type = DDPM_OPTION_SIZE,
     AT(diffusion.image_height), AND(diffusion.image_width), .default_text = "128", IN(1, 8192),
     .group = DDPM_GROUP_DIFFUSION, .key = "image_size",
     .help = "size of the pictures: a multiple of 8 with the default dim-mults, of 2^(n-1) with n levels", LOCKED},
    CHOICE("objective", "NAME", diffusion.objective, "noise", objectives, DIFFUSION, "objective",
           "what the network learns to predict: noise, x0, v, flow or edm", .aliases = objective_aliases,
           .locked = DDPM_LOCKED_OR_DEFAULT),
    CHOICE("loss", "l2|l1", diffusion.loss, "l2", losses, DIFFUSION, "loss_type",
           "mean squared (l2) or mean absolute (l1) error", LOCKED),
    CHOICE("loss-weight", "NAME", diffusion.loss_weight, "none", loss_weights, DIFFUSION, "loss_weight",
           "how noise levels are weighted: none, min-snr, soft-min-snr or uncertainty (learned)", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("min-snr-gamma", diffusion.min_snr_gamma, "5", ABOVE(0, 1e6), DIFFUSION, "min_snr_gamma",
           "signal-to-noise ratio above which all levels weigh the same", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("offset-noise", diffusion.offset_noise, "0", IN(0, 10), DIFFUSION, "offset_noise",
           "training: standard deviation of an offset added to a whole channel's noise; 0: off",
           .locked = DDPM_LOCKED_OR_DEFAULT),
    SWITCH("clip", diffusion.clip, "on", DIFFUSION, "clip",
           "clip predicted pictures to [-1,1] while sampling; off: the article's chain"),
    SWITCH("timestep-per-batch", diffusion.timestep_per_batch, "off", DIFFUSION,
           "timestep_per_batch", "one timestep for a whole batch, as in the article", .locked = DDPM_LOCKED_LAST),
    CHOICE("flow-times", "NAME", diffusion.flow_times, "uniform", flow_times, DIFFUSION, "flow_times",
           "flow: how training draws t: uniform or logit-normal", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("flow-mean", diffusion.flow_mean, "0", IN(-10, 10), DIFFUSION, "flow_mean",
           "flow: mean of logit(t) when t is logit-normal", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("flow-deviation", diffusion.flow_deviation, "1", ABOVE(0, 10), DIFFUSION, "flow_deviation",
           "flow: standard deviation of logit(t) when t is logit-normal", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("sigma-data", diffusion.sigma_data, "0", IN(0, 10), DIFFUSION, "sigma_data",
           "edm: standard deviation of the pixel values in [-1,1]; 0: measure it", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("sigma-min", diffusion.sigma_min, "0.002", ABOVE(0, 1e3), DIFFUSION, "sigma_min",
           "edm: smallest noise level when drawing", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("sigma-max", diffusion.sigma_max, "80", ABOVE(0, 1e6), DIFFUSION, "sigma_max",
           "edm: largest noise level when drawing", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("edm-mean", diffusion.edm_mean, "-1.2", IN(-20, 20), DIFFUSION, "edm_mean",
           "edm: mean of ln(sigma) in training", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("edm-deviation", diffusion.edm_deviation, "1.2", ABOVE(0, 10), DIFFUSION, "edm_deviation",
           "edm: standard deviation of ln(sigma) in training", .locked = DDPM_LOCKED_OR_DEFAULT),

    INTEGER("drawing-steps", diffusion.drawing_steps, "0", IN(0, 4), DIFFUSION, "drawing_steps",
            "ddpm distill: steps in which the model learns to draw: 1, 2 or 4; 0: an ordinary model",
            .locked = DDPM_LOCKED_OR_DEFAULT),

    NUMBER("drawing-level", diffusion.drawing_level, "0", IN(0, 1000), DIFFUSION, "drawing_level",
           "ddpm distill: noise level, as sigma/alpha, that the model learns to draw from; 0: the noisiest",
           .locked = DDPM_LOCKED_OR_DEFAULT),

    CHOICE("sampler", "NAME", sampling.sampler, "auto", samplers, SAMPLING, "sampler", sampler_help,
           .aliases = sampler_aliases),
    INTEGER("sampling-steps", sampling.steps, "0", IN(0, 1e6), SAMPLING, "sampling_steps",
            "sampler steps; 0: the sampler's default"),
    CHOICE("spacing", "NAME", sampling.spacing, "auto", spacings, SAMPLING, "spacing",
           spacing_help),
    CHOICE("start", "auto|noise|fitted", sampling.start, "auto", ddpm_start_names, SAMPLING, "start",
           "what drawing starts from: noise, or fitted: a less noisy x with the training pictures' large-scale colours"),
    NUMBER("threshold", sampling.threshold, "0", IN(0, 1), SAMPLING, "threshold",
           "dynamic thresholding: clip predicted pictures at this quantile of their own values; 0: off"),
    NUMBER("eta", sampling.eta, "0", IN(0, 1), SAMPLING, "eta",
           "ddim: noise added per step; 1: as much as ancestral"),
    INTEGER("solver-order", sampling.order, "0", IN(0, 3), SAMPLING, "solver_order",
            "unipc: order, 2 or 3; 0: 2"),
    NUMBER("churn", sampling.churn, "0", IN(0, 1e6), SAMPLING, "churn",
           "heun: total noise added, S_churn of Karras et al. 2022"),
    NUMBER("churn-min", sampling.churn_min, "0", IN(0, 1e6), SAMPLING, "churn_min",
           "heun: smallest sigma/alpha at which churn adds noise"),
    NUMBER("churn-max", sampling.churn_max, "0", IN(0, 1e6), SAMPLING, "churn_max",
           "heun: largest sigma/alpha at which churn adds noise; 0: any"),
    NUMBER("churn-noise", sampling.churn_noise, "1", IN(0, 100), SAMPLING, "churn_noise",
           "heun: factor on the noise that churn adds"),

    CHOICE("recipe", "NAME", training.recipe, "none", recipes, TRAINING, "/recipe", recipe_help),
    INTEGER("batch-size", training.batch_size, "16", IN(1, 65536), TRAINING, "train_batch_size",
            "pictures per batch", LOCKED),
    INTEGER("accumulate", training.accumulate, "1", IN(1, 65536), TRAINING, "accumulate",
            "batches per step; their gradients are accumulated", LOCKED),
    INTEGER("steps", training.steps, "37000", IN(1, 1e9), TRAINING, "train_num_steps",
            "training steps of the whole run"),
    NUMBER("lr", training.lr, "1e-4", ABOVE(0, 100), TRAINING, "train_lr", "learning rate"),
    CHOICE("optimizer", "adamw|muon", training.optimizer, "adamw", optimizers, TRAINING, "optimizer",
           "adamw, or muon: orthogonal steps for convolutions and linear layers, adamw for the rest",
           .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("beta1", training.beta1, "0.9", BELOW(0, 1), TRAINING, "beta1",
           "AdamW: decay of the first moment"),
    NUMBER("beta2", training.beta2, "0.99", BELOW(0, 1), TRAINING, "beta2",
           "AdamW: decay of the second moment"),
    NUMBER("eps", training.eps, "1e-8", ABOVE(0, 1), TRAINING, "eps",
           "AdamW: added to the square root of the second moment"),
    NUMBER("weight-decay", training.weight_decay, "0.01", IN(0, 100), TRAINING, "weight_decay",
           "AdamW: decoupled weight decay"),
    CHOICE("decay", "all|matrices", training.decay, "all", decayed, TRAINING, "decay",
           "weights that weight-decay applies to: all, or matrices (no biases, no norms)"),
    NUMBER("max-grad-norm", training.max_grad_norm, "0", IN(0, 1e9), TRAINING, "max_grad_norm",
           "clip the gradient to this norm; 0: off"),
    INTEGER("warmup", training.warmup, "0", IN(0, 1e9), TRAINING, "warmup",
            "steps of linear warm-up of the learning rate"),
    CHOICE("lr-schedule", "NAME", training.lr_schedule, "constant", lr_schedules, TRAINING,
           "lr_schedule", "learning rate over the run: constant, or cosine or linear decay to 0"),
    CHOICE("ema", "exponential|power", training.ema, "exponential", averages, TRAINING, "ema",
           "moving average of the weights (EMA): exponential (ema-decay), or power (its length grows with the run)",
           .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("ema-length", training.ema_length, "0.1", IN(0.001, 0.28), TRAINING, "ema_length",
           "power: length of the EMA, as a fraction of the run so far", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("ema-second", training.ema_second, "0.05", IN(0, 0.28), TRAINING, "ema_second",
           "power: length of a second EMA, which ddpm ema needs; 0: none", .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("ema-decay", training.ema_decay, "0.995", BELOW(0, 1), TRAINING, "ema_decay",
           "exponential: largest decay of the EMA"),
    INTEGER("ema-every", training.ema_every, "10", IN(1, 1e9), TRAINING, "ema_every",
            "steps between updates of the EMA"),
    INTEGER("ema-after", training.ema_after, "100", IN(0, 1e9), TRAINING, "ema_after",
            "exponential: for this many steps the EMA is a plain copy"),
    CHOICE("level-sampling", "NAME", training.level_sampling, "random", level_samplings, TRAINING, "level_sampling",
           "noise levels of a step: random: each drawn on its own; stratified: spread evenly over the batch",
           .locked = DDPM_LOCKED_OR_DEFAULT),
    INTEGER("noise-candidates", training.noise_candidates, "1", IN(1, 64), TRAINING, "noise_candidates",
            "candidate noises per picture; the nearest is used; 1: no choice",
            .locked = DDPM_LOCKED_OR_DEFAULT),
    INTEGER("patches", training.patches, "1", IN(1, 64), TRAINING, "patches",
            "train first on random patches of 1/N of the pictures' sides, which is faster; 1: on whole pictures only",
            .locked = DDPM_LOCKED_OR_DEFAULT),
    NUMBER("patch-share", training.patch_share, "0.75", IN(0.01, 0.99), TRAINING, "patch_share",
           "share of the steps that train on patches; lr-schedule decays over the others"),
    INTEGER("save-every", training.save_every, "1000", IN(0, 1e9), TRAINING, "save_every",
            "steps between checkpoints; 0: at the end only"),
    INTEGER("sample-every", training.sample_every, "1000", IN(0, 1e9), TRAINING, "sample_every",
            "steps between sample grids; 0: none"),
    INTEGER("num-samples", training.num_samples, "4", IN(1, 1024), TRAINING, "num_samples",
            "pictures in a sample grid"),
    INTEGER("scale", training.scale, "1", IN(1, 64), TRAINING, "scale",
            "enlarge grids and trajectories this many times; pixels become squares"),
    INTEGER("keep", training.keep, "5", IN(0, 1e6), TRAINING, "keep",
            "checkpoints to keep: the newest ones and the best; 0: all"),
    INTEGER("validate-every", training.validate_every, "0", IN(0, 1e9), TRAINING, "validate_every",
            "steps between measurements of the validation loss; 0: automatic, at most 2 % of the time"),
    INTEGER("patience", training.patience, "0", IN(0, 1e6), TRAINING, "patience",
            "stop after this many validations without a new best; 0: never"),
    CHOICE("reduce", "fast|exact", training.reduce, "fast", reductions, TRAINING, "reduce",
           "how ranks sum gradients: fast, or exact: the same bits for any number of ranks"),
    INTEGER("shares", training.shares, "4", IN(1, 65536), TRAINING, "shares",
            "reduce exact: parts of a batch, whose gradients are summed in order"),
    INTEGER("seed", training.seed, "0", IN(0, 9007199254740992.0), TRAINING, "seed",
            "seed for weights, order of pictures, noise and samples", LOCKED),

    TEXT("data", "DIR|FILE.npy", data.data, "", DATA, "data",
         "folder of pictures, searched recursively, or a packed file"),
    SWITCH("flip", data.flip, "on", DATA, "flip", "mirror half of the pictures left to right", LOCKED),
    SWITCH("rotate", data.rotate, "off", DATA, "rotate", "rotate square pictures by 0 to 3 quarter turns",
           .locked = DDPM_LOCKED_OR_DEFAULT),
    CHOICE("crop", "center|random", data.crop, "center", crops, DATA, "crop",
           "which part to keep of a picture larger than image-size", LOCKED),
    INTEGER("decode-threads", data.decode_threads, "0", IN(0, 1024), DATA, "decode_threads",
            "threads that decode pictures; 0: automatic"),
    INTEGER("prefetch", data.prefetch, "4", IN(2, 1024), DATA, "prefetch",
            "batches to read ahead"),
    TEXT("validation", "auto|off|X|DIR|FILE.npy", data.validation, "auto", DATA, "validation",
         "pictures held out: a fraction of data such as 0.05, or other pictures; auto: 0.05 of 200 or more"),

    INTEGER("threads", run.threads, "0", IN(0, 256), RUN, "threads",
            "compute threads; 0: one per processor"),
    CHOICE("precision", "NAME", run.precision, "auto", precisions, RUN, "precision",
           "fp32, bf16, or auto: the faster one that the machine supports"),
    TEXT("device", "NAME", run.device, "auto", RUN, "device", "auto, cpu, cuda or cuda:N"),
    CHOICE("ranks", "NAME", run.ranks, "auto", rank_choices, RUN, "ranks",
           "processes that train together: auto (those that mpirun or srun started), off, mpi or nccl"),
    NUMBER("rank-timeout", run.rank_timeout, "600", IN(1, 1e6), RUN, "rank_timeout",
           "seconds that a rank waits for the others before it gives up"),
    CHOICE("wire", "fp32|bf16", run.wire, "fp32", wires, RUN, "wire",
           "how gradients travel between ranks: fp32, or bf16, which halves the bytes and rounds"),
    CHOICE("shard", "none|optimizer", run.shard, "none", shards, RUN, "shard",
           "what ranks divide among them: none, or optimizer: moments, averages and updates of the weights"),
    CHOICE("share-weights", "auto|off", run.share_weights, "auto", sharings, RUN, "share_weights",
           "one copy of the packed weights for all ranks of a machine: auto (if it has shared memory) or off"),
    {.name = "memory", .placeholder = "normal|low", .type = DDPM_OPTION_SWITCH, AT(run.low_memory),
     .default_text = "normal", .choices = memories, .group = DDPM_GROUP_RUN, .key = "memory",
     .help = "memory for training: normal, or low at the cost of a second forward pass"},
    {.name = "conv", .placeholder = "auto|direct", .type = DDPM_OPTION_SWITCH, AT(run.direct),
     .default_text = "auto", .choices = convolutions, .group = DDPM_GROUP_RUN, .key = "conv",
     .help = "convolutions: auto picks the fastest algorithm, direct forces direct ones"},
    TEXT("model-name", "TEXT", model_name, "ddpm", RUN, "/model_name",
         "name recorded in the run's files"),
};
/* clang-format on */

const size_t ddpm_options_count = sizeof ddpm_options / sizeof *ddpm_options;

static const struct {
    const char *name, *section;
} groups[DDPM_GROUP_COUNT] = {
    [DDPM_GROUP_NETWORK] = {"network", "unet_config"},
    [DDPM_GROUP_DIFFUSION] = {"diffusion", "diffusion_config"},
    [DDPM_GROUP_SAMPLING] = {"sampling", "sampling_config"},
    [DDPM_GROUP_TRAINING] = {"training", "trainer_config"},
    [DDPM_GROUP_DATA] = {"data", "data_config"},
    [DDPM_GROUP_RUN] = {"run", "run_config"},
};

const char *ddpm_group_name(enum ddpm_option_group group)
{
    return groups[group].name;
}

const char *ddpm_group_section(enum ddpm_option_group group)
{
    return groups[group].section;
}

static bool same_name(const char *name, const char *given)
{
    for (; *name && *given; ++name, ++given)
        if (*name != (*given == '_' ? '-' : *given))
            return false;
    return *name == *given;
}

const struct ddpm_option *ddpm_option_find(const char *name)
{
    for (size_t i = 0; i < ddpm_options_count; ++i)
        if (same_name(ddpm_options[i].name, name))
            return &ddpm_options[i];
    return NULL;
}

size_t ddpm_option_count(void)
{
    return ddpm_options_count;
}

struct ddpm_option_info ddpm_option_at(size_t index)
{
    if (index >= ddpm_options_count)
        return (struct ddpm_option_info){0};
    const struct ddpm_option *option = &ddpm_options[index];
    return (struct ddpm_option_info){option->name, option->placeholder, option->default_text,
                                     option->help, ddpm_group_name(option->group)};
}
