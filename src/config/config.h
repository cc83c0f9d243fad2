/* The configuration as the library uses it: plain fields, filled by the option table (options.c).
 * Public interface: include/ddpm/config.h. */
#ifndef DDPM_CONFIG_CONFIG_H
#define DDPM_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <ddpm/config.h>

#define DDPM_MAX_LEVELS 8
#define DDPM_MAX_PATH 1024

enum ddpm_network_kind {
#define NETWORK(id, name, help, build) DDPM_NETWORK_##id,
#include "config/networks.inc"
#undef NETWORK
    DDPM_NETWORK_COUNT
};
enum ddpm_schedule_kind {
#define SCHEDULE(id, name, help, betas) DDPM_SCHEDULE_##id,
#include "config/schedules.inc"
#undef SCHEDULE
    DDPM_SCHEDULE_COUNT
};
/* Indices into ddpm_samplers and ddpm_spacings (diffusion). diffusion/chain.h resolves auto. */
enum ddpm_sampler_choice {
#define SAMPLER(id, ...) DDPM_SAMPLER_##id,
#include "config/samplers.inc"
#undef SAMPLER
    DDPM_SAMPLER_AUTO
};
enum ddpm_spacing_kind {
#define SPACING(id, name, help, time) DDPM_SPACING_##id,
#include "config/spacings.inc"
#undef SPACING
    DDPM_SPACING_AUTO
};
enum ddpm_objective_kind {
#define OBJECTIVE(id, ...) DDPM_OBJECTIVE_##id,
#include "config/objectives.inc"
#undef OBJECTIVE
    DDPM_OBJECTIVE_COUNT
};
enum ddpm_recipe {
#define RECIPE(id, ...) DDPM_RECIPE_##id,
#include "config/recipes.inc"
#undef RECIPE
    DDPM_RECIPE_NONE
};
enum ddpm_loss_weight {
    DDPM_WEIGHT_NONE,
    DDPM_WEIGHT_MIN_SNR,
    DDPM_WEIGHT_SOFT_MIN_SNR,
    DDPM_WEIGHT_UNCERTAINTY
};
enum ddpm_flow_times { DDPM_FLOW_UNIFORM, DDPM_FLOW_LOGIT_NORMAL };
enum ddpm_precision { DDPM_PRECISION_AUTO, DDPM_PRECISION_FP32, DDPM_PRECISION_BF16 };
enum ddpm_lr_schedule { DDPM_LR_CONSTANT, DDPM_LR_COSINE, DDPM_LR_LINEAR };
enum ddpm_optimizer_kind { DDPM_ADAMW, DDPM_MUON };
/* What a chain starts from: AUTO is FITTED where that is possible. */
enum ddpm_start_choice { DDPM_START_AUTO, DDPM_START_NOISE, DDPM_START_FITTED };
extern const char *const ddpm_start_names[]; /* by enum ddpm_start_choice, then NULL */
enum ddpm_decayed { DDPM_DECAY_ALL, DDPM_DECAY_MATRICES };
enum ddpm_ema { DDPM_EMA_EXPONENTIAL, DDPM_EMA_POWER };
/* How the noise levels of a step are drawn: each on its own, or one from each of as many equal
 * parts of their distribution as the step has pictures. */
enum ddpm_level_sampling { DDPM_LEVELS_RANDOM, DDPM_LEVELS_STRATIFIED };
enum ddpm_reduce { DDPM_REDUCE_FAST, DDPM_REDUCE_EXACT };

/* What determines the shapes of a network's weights. Configurations that agree here can share
 * weights. */
struct ddpm_network_config {
    int network;               /* enum ddpm_network_kind */
    int64_t dim;               /* even, at least 4 */
    int64_t init_dim, out_dim; /* 0: dim, channels */
    int64_t dim_mults[DDPM_MAX_LEVELS];
    int levels; /* of dim_mults */
    int64_t channels;
    double theta;
    int64_t mult;
    bool norm;
    bool attention;        /* self-attention at the lowest resolution */
    bool coordinates;      /* the input has two more channels: where each pixel is in the picture */
    bool learned_variance; /* the network also predicts the variance, in twice as many channels */
};

/* Output channels of the network. */
int64_t ddpm_network_outputs(const struct ddpm_network_config *network);

/* Picture sides must be multiples of this: every level but the last halves them. */
int64_t ddpm_network_multiple(const struct ddpm_network_config *network);

/* DDPM_ERROR_ARGUMENT, naming the nearest sizes, unless both sides are such multiples. `what`
 * begins the message: "option image-size". */
ddpm_status ddpm_network_check_size(const struct ddpm_network_config *network, const char *what,
                                    int64_t height, int64_t width);

struct ddpm_diffusion_config {
    int64_t timesteps;
    int schedule; /* enum ddpm_schedule_kind */
    double cosine_s, sigmoid_start, sigmoid_end,
        sigmoid_tau;        /* keyword arguments of the schedules */
    bool zero_terminal_snr; /* the last timestep is pure noise */
    double shift;           /* divides the signal-to-noise ratio by its square */
    int64_t image_height, image_width;
    int objective;   /* enum ddpm_objective_kind */
    int loss;        /* enum ddpm_loss of kernels/kernels.h: 0 l2, 1 l1 */
    int loss_weight; /* enum ddpm_loss_weight */
    double min_snr_gamma;
    double offset_noise; /* standard deviation of an offset added to a whole channel's noise */
    bool clip;
    bool timestep_per_batch;
    /* Objective flow: how t is drawn in training. */
    int flow_times;                   /* enum ddpm_flow_times */
    double flow_mean, flow_deviation; /* of logit(t) */
    /* Objective edm: standard deviation of the pixel values (0: not measured yet), range of noise
     * levels when drawing, mean and deviation of ln(sigma) in training. */
    double sigma_data, sigma_min, sigma_max, edm_mean, edm_deviation;
    /* Set by ddpm distill: the model draws in 1, 2 or 4 steps; 0: an ordinary model. */
    int64_t drawing_steps;
    double drawing_level; /* sigma/alpha where drawing starts; 0: the path's noisy end */
};

/* How pictures are drawn. */
struct ddpm_sampling_config {
    int sampler;      /* enum ddpm_sampler_choice */
    int64_t steps;    /* 0: the sampler's own */
    int spacing;      /* enum ddpm_spacing_kind */
    int start;        /* enum ddpm_start_choice */
    double threshold; /* quantile of dynamic thresholding; 0: off */
    double eta;
    int64_t order;                                   /* 0: the sampler's own */
    double churn, churn_min, churn_max, churn_noise; /* as in struct ddpm_sampler_request */
};

struct ddpm_training_config {
    int recipe; /* enum ddpm_recipe: the name only; its values are in the other members */
    int64_t batch_size, accumulate, steps;
    int optimizer; /* enum ddpm_optimizer_kind */
    double lr, beta1, beta2, eps, weight_decay;
    int decay;             /* enum ddpm_decayed: weights that weight_decay applies to */
    double max_grad_norm;  /* 0: off */
    int64_t warmup;        /* steps */
    int64_t recipe_warmup; /* not 0: warmup is this, but at most a tenth of the steps */
    int lr_schedule;       /* enum ddpm_lr_schedule; cosine and linear decay to 0 at `steps` */
    int ema;               /* enum ddpm_ema */
    double ema_length, ema_second; /* power: as fractions of the run so far; second: 0: none */
    double ema_decay;
    int64_t ema_every, ema_after;
    int level_sampling;       /* enum ddpm_level_sampling */
    int64_t noise_candidates; /* candidate noises per picture; the nearest is used */
    int64_t patches;          /* first train on patches of 1/patches of the sides; 1: never */
    double patch_share;       /* of the steps */
    int64_t save_every, sample_every, num_samples, scale, keep;
    int64_t validate_every, patience; /* steps; 0: automatic. validations; 0: off */
    int reduce;                       /* enum ddpm_reduce */
    int64_t shares;                   /* parts of a step, whose gradients are summed in order */
    uint64_t seed;
};

struct ddpm_data_config {
    char data[DDPM_MAX_PATH]; /* folder or .npy; "" when none */
    bool flip, rotate;
    int crop;                         /* enum ddpm_crop of data/resize.h: 0 centre, 1 random */
    int64_t decode_threads, prefetch; /* 0: automatic; batches ahead */
    char validation[DDPM_MAX_PATH];   /* as config/validation.h reads it */
};

/* How gradients travel between ranks. */
enum ddpm_wire { DDPM_WIRE_FP32, DDPM_WIRE_BF16 };

/* What ranks divide among them instead of each holding all of it. */
enum ddpm_shard { DDPM_SHARD_NONE, DDPM_SHARD_OPTIMIZER };

/* Do the ranks of a machine share packed weights? */
enum ddpm_share_weights { DDPM_SHARE_WEIGHTS_AUTO, DDPM_SHARE_WEIGHTS_OFF };

struct ddpm_run_config {
    int64_t threads;     /* 0: all */
    int precision;       /* enum ddpm_precision */
    char device[64];     /* "auto", "cpu", "cuda:0" */
    int ranks;           /* enum ddpm_ranks_choice of ranks/ranks.h */
    double rank_timeout; /* seconds */
    int wire;            /* enum ddpm_wire */
    int shard;           /* enum ddpm_shard */
    int share_weights;   /* enum ddpm_share_weights */
    bool direct;         /* --conv direct: no Winograd */
    bool low_memory;     /* --memory low: recompute blocks in the backward pass */
};

struct ddpm_config {
    struct ddpm_network_config network;
    struct ddpm_diffusion_config diffusion;
    struct ddpm_sampling_config sampling;
    struct ddpm_training_config training;
    struct ddpm_data_config data;
    struct ddpm_run_config run;
    char model_name[256];
};

#endif
