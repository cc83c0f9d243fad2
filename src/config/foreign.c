/* Option names of other programs. */
#include "config/foreign.h"

#include <stdbool.h>
#include <string.h>

#define SAME(name, ours)                                                                           \
    {                                                                                              \
        name, ours, NULL                                                                           \
    }

static const char in_steps[] =
    "a run is counted in steps: --steps = epochs x pictures / (--batch-size x --accumulate)";
static const char in_pictures[] =
    "a run is counted in steps: --steps = pictures / (--batch-size x --accumulate)";
static const char three_kinds[] =
    "--steps are those of training, --timesteps those of the diffusion, "
    "--sampling-steps those of drawing";
static const char precisions[] = "--precision fp32, bf16 or auto";
static const char launched[] = "mpirun -n N ddpm train … starts N processes that train together";
static const char devices[] = "--device takes one of cpu, cuda and cuda:N";
static const char mirrored[] = "--flip on or off";
static const char cropped[] = "--crop center or random";
static const char resumed[] = "--resume continues from the newest checkpoint of the run in --out";
static const char argument[] =
    "a run, checkpoint or weights file is an argument, not an option: ddpm sample RUN --out DIR; "
    "only ddpm train has --pretrained MODEL";
static const char started[] =
    "ddpm train --pretrained MODEL starts with the weights of a trained model";
static const char pictures[] = "--data takes a folder of pictures, or a file made by ddpm pack";
static const char optimizer[] =
    "--optimizer adamw or muon, with --beta1, --beta2, --eps and --weight-decay";
static const char averaged[] =
    "an average is always kept: --ema, --ema-decay, --ema-every, --ema-after";
static const char networks[] =
    "--network picks one of three U-Nets; --dim and --dim-mults set its width";
static const char respaced[] = "--sampler NAME --sampling-steps N, for example ddim and 25";
static const char solvers[] = "--sampler auto, or a name that ddpm sample --help lists";
static const char unguided[] =
    "models are unconditional (no classes, no text), so there is no guidance";
static const char weighted[] = "--loss-weight min-snr, soft-min-snr or uncertainty";
static const char karras_levels[] = "--spacing karras";
static const char timed[] = "ddpm train --time chooses a number of steps; elsewhere, set steps";
static const char logs[] = "log.csv and the sample grids in the run's folder show how it is going";

/* clang-format off */
static const struct ddpm_foreign_name names[] = {
    /* how long */
    SAME("max-train-steps", "steps"), SAME("train-num-steps", "steps"), SAME("max-steps", "steps"),
    SAME("train-steps", "steps"), SAME("training-steps", "steps"), SAME("total-steps", "steps"),
    SAME("iterations", "steps"), SAME("iters", "steps"), SAME("max-iter", "steps"),
    SAME("n-iters", "steps"), SAME("total-iterations", "steps"), SAME("lr-anneal-steps", "steps"),
    {"epochs", "steps", in_steps}, {"epoch", "steps", in_steps}, {"num-epochs", "steps", in_steps},
    {"n-epochs", "steps", in_steps}, {"num-train-epochs", "steps", in_steps},
    {"max-train-epochs", "steps", in_steps}, {"max-epochs", "steps", in_steps},
    {"total-epochs", "steps", in_steps}, {"duration", "steps", in_pictures},
    {"kimg", "steps", in_pictures}, {"total-kimg", "steps", in_pictures},
    {"num-steps", "steps", three_kinds}, {"n-steps", "steps", three_kinds},
    {"nsteps", "steps", three_kinds}, {"steps", NULL, three_kinds},
    {"time", NULL, timed},
    /* how fast */
    SAME("learning-rate", "lr"), SAME("train-lr", "lr"), SAME("base-lr", "lr"),
    SAME("lr-scheduler", "lr-schedule"), SAME("lr-scheduler-type", "lr-schedule"),
    SAME("lr-warmup-steps", "warmup"), SAME("warmup-steps", "warmup"),
    SAME("num-warmup-steps", "warmup"), SAME("adam-beta1", "beta1"), SAME("adam-beta2", "beta2"),
    SAME("adam-epsilon", "eps"), SAME("adam-eps", "eps"), SAME("epsilon", "eps"),
    SAME("adam-weight-decay", "weight-decay"), SAME("wd", "weight-decay"),
    {"adam-betas", "beta1", "--beta1 and --beta2"}, {"betas", "beta1", "--beta1 and --beta2"},
    {"optimizer-type", "optimizer", optimizer}, {"use-8bit-adam", "optimizer", optimizer}, {"momentum", "beta1", optimizer},
    SAME("grad-clip", "max-grad-norm"), SAME("clip-grad-norm", "max-grad-norm"),
    SAME("gradient-clip-val", "max-grad-norm"), SAME("clip-grad", "max-grad-norm"),
    /* batches */
    SAME("train-batch-size", "batch-size"), SAME("batch", "batch-size"), SAME("bs", "batch-size"),
    SAME("gradient-accumulation-steps", "accumulate"), SAME("gradient-accumulate-every", "accumulate"),
    SAME("accumulate-grad-batches", "accumulate"), SAME("grad-accum-steps", "accumulate"),
    {"batch-gpu", "accumulate", "--batch-size N at once, --accumulate N such batches per step"},
    {"microbatch", "accumulate", "--batch-size N at once, --accumulate N such batches per step"},
    /* the average */
    SAME("ema-rate", "ema-decay"), SAME("ema-max-decay", "ema-decay"), SAME("ema-beta", "ema-decay"),
    SAME("ema-update-every", "ema-every"), SAME("ema-start", "ema-after"),
    SAME("ema-update-after-step", "ema-after"), {"use-ema", NULL, averaged},
    /* the diffusion */
    SAME("num-train-timesteps", "timesteps"), SAME("num-timesteps", "timesteps"),
    SAME("diffusion-steps", "timesteps"), SAME("ddpm-num-steps", "timesteps"),
    SAME("noise-steps", "timesteps"), SAME("beta-schedule", "schedule"),
    SAME("noise-schedule", "schedule"), SAME("betas-scheduler", "schedule"),
    SAME("prediction-type", "objective"), SAME("parameterization", "objective"),
    SAME("snr-gamma", "min-snr-gamma"), {"min-snr-loss-weight", "loss-weight", weighted},
    {"loss-weighting", "loss-weight", weighted}, SAME("p-mean", "edm-mean"),
    SAME("p-std", "edm-deviation"), SAME("rescale-betas-zero-snr", "zero-terminal-snr"),
    SAME("zero-snr", "zero-terminal-snr"), SAME("noise-offset", "offset-noise"),
    SAME("flow-shift", "shift"), SAME("timestep-shift", "shift"),
    {"v-parameterization", "objective", "--objective v"}, {"predict-v", "objective", "--objective v"},
    {"predict-x0", "objective", "--objective x0"}, {"predict-xstart", "objective", "--objective x0"},
    SAME("ddpm-beta-schedule", "schedule"), SAME("loss-type", "loss"),
    SAME("learn-sigma", "learned-variance"),
    {"beta-start", NULL, "--schedule and --timesteps determine the betas"},
    {"beta-end", NULL, "--schedule and --timesteps determine the betas"},
    /* the network */
    SAME("model-mapping", "network"), SAME("num-channels", "dim"), SAME("model-channels", "dim"),
    SAME("base-channels", "dim"), SAME("cbase", "dim"), SAME("channel-mult", "dim-mults"),
    SAME("channel-mults", "dim-mults"), SAME("channel-multiplier", "dim-mults"),
    SAME("cres", "dim-mults"), SAME("in-channels", "channels"), SAME("out-channels", "out-dim"),
    {"arch", "network", networks}, {"model", "network", networks},
    {"num-res-blocks", "network", networks}, {"attention-resolutions", "network", networks},
    {"num-heads", "network", networks}, {"dropout", NULL, "the networks have no dropout"},
    /* pictures */
    SAME("resolution", "image-size"), SAME("img-size", "image-size"), SAME("size", "image-size"),
    SAME("image-resolution", "image-size"), SAME("image-size", "size"),
    {"width", "image-size", "--image-size HxW, for example 96x128"},
    {"height", "image-size", "--image-size HxW, for example 96x128"},
    SAME("data-dir", "data"), SAME("data-path", "data"), SAME("train-data-dir", "data"),
    SAME("instance-data-dir", "data"), SAME("image-folder", "data"), SAME("image-dir", "data"),
    SAME("data-root", "data"), {"dataset", "data", pictures}, {"dataset-name", "data", pictures},
    {"folder", "data", pictures}, {"input-dir", "data", pictures},
    {"random-flip", "flip", mirrored}, {"augment-horizontal-flip", "flip", mirrored},
    {"flip-aug", "flip", mirrored}, {"xflip", "flip", mirrored}, {"mirror", "flip", mirrored},
    {"no-flip", "flip", mirrored}, {"center-crop", "crop", cropped}, {"random-crop", "crop", cropped},
    SAME("num-workers", "decode-threads"), SAME("workers", "decode-threads"),
    SAME("dataloader-num-workers", "decode-threads"),
    SAME("max-data-loader-n-workers", "decode-threads"),
    /* the run */
    SAME("output-dir", "out"), SAME("outdir", "out"), SAME("out-dir", "out"), SAME("output", "out"),
    SAME("results-folder", "out"), SAME("save-dir", "out"), SAME("log-dir", "out"),
    SAME("logdir", "out"), SAME("output-name", "model-name"), SAME("config-file", "config"),
    SAME("checkpointing-steps", "save-every"), SAME("save-interval", "save-every"),
    SAME("save-every-n-steps", "save-every"), SAME("checkpoint-every", "save-every"),
    SAME("sample-every-n-steps", "sample-every"), SAME("sample-interval", "sample-every"),
    {"save-and-sample-every", "save-every", "--save-every and --sample-every"},
    SAME("checkpoints-total-limit", "keep"), SAME("save-total-limit", "keep"),
    {"resume-from-checkpoint", "resume", resumed}, {"resume-checkpoint", "resume", resumed},
    {"resume-from", "resume", resumed},
    {"pretrained-model-name-or-path", "pretrained", argument}, {"init-from", "pretrained", started},
    {"finetune-from", "pretrained", started}, {"transfer", "pretrained", started},
    {"load-weights", "pretrained", started}, {"model-path", NULL, argument},
    {"checkpoint", NULL, argument}, {"ckpt", NULL, argument}, {"ckpt-path", NULL, argument},
    {"nproc-per-node", "ranks", launched}, {"num-processes", "ranks", launched},
    {"world-size", "ranks", launched}, {"nnodes", "ranks", launched},
    {"num-nodes", "ranks", launched}, {"multi-gpu", "ranks", launched},
    SAME("num-threads", "threads"), {"gpu", "device", devices}, {"gpus", "device", devices},
    {"gpu-ids", "device", devices}, {"cuda", "device", devices}, {"cpu", "device", devices},
    {"no-cuda", "device", devices}, {"mixed-precision", "precision", precisions},
    {"fp16", "precision", precisions}, {"use-fp16", "precision", precisions},
    {"bf16", "precision", precisions}, {"amp", "precision", precisions},
    {"gradient-checkpointing", "memory", "--memory low"},
    {"use-checkpoint", "memory", "--memory low"}, {"lowvram", "memory", "--memory low"},
    {"wandb", NULL, logs}, {"report-to", NULL, logs}, {"log-interval", NULL, logs},
    {"logging-steps", NULL, logs}, {"tensorboard", NULL, logs},
    /* drawing */
    SAME("num-samples", "count"), SAME("num-images", "count"), SAME("n-samples", "count"),
    SAME("num-generate", "count"), SAME("images", "count"), SAME("num", "count"),
    SAME("eval-batch-size", "batch"), SAME("sample-batch-size", "batch"),
    SAME("num-inference-steps", "sampling-steps"), SAME("ddim-steps", "sampling-steps"),
    SAME("sampling-timesteps", "sampling-steps"), SAME("ddim-timesteps", "sampling-steps"),
    SAME("ddpm-num-inference-steps", "sampling-steps"), SAME("sample-steps", "sampling-steps"),
    SAME("num-sampling-steps", "sampling-steps"), SAME("inference-steps", "sampling-steps"),
    SAME("ddim-eta", "eta"), SAME("ddim-sampling-eta", "eta"), SAME("s-churn", "churn"),
    SAME("s-min", "churn-min"), SAME("s-max", "churn-max"), SAME("s-noise", "churn-noise"),
    {"timestep-respacing", "sampling-steps", respaced}, {"use-ddim", "sampler", respaced},
    {"ddim", "sampler", respaced}, {"scheduler", "sampler", solvers},
    {"scheduler-type", "sampler", solvers}, {"sampler-name", "sampler", solvers},
    {"sampling-method", "sampler", solvers}, {"solver", "sampler", solvers},
    SAME("timestep-spacing", "spacing"), {"use-karras-sigmas", "spacing", karras_levels},
    {"guidance-scale", NULL, unguided}, {"guidance", NULL, unguided},
    {"cfg-scale", NULL, unguided}, {"cfg", NULL, unguided}, {"prompt", NULL, unguided},
    {"cond-scale", NULL, unguided}, {"classifier-scale", NULL, unguided},
    SAME("max-batch-size", "batch"), {"seeds", "seed", "--seed, with --first and --count"},
};
/* clang-format on */

static bool same(const char *known, const char *given, size_t length)
{
    for (size_t i = 0; i < length; ++i) {
        const char c = given[i];
        const char folded = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        if (folded != known[i]) /* the terminating 0 has no case */
            return false;
    }
    return known[length] == 0;
}

const struct ddpm_foreign_name *ddpm_foreign_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (same(names[i].name, name, length))
            return &names[i];
    return NULL;
}
