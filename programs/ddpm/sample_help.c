/* The options of ddpm sample, and the texts of its help. */
#include "sample_help.h"

const struct ddpm_verb_option ddpm_sample_options[DDPM_SAMPLE_OPTIONS] = {
    {"out", 'o', false, "DIR",
     "folder for 0000.png, 0001.png, … and grid.png; required without --array"},
    {"array", 0, false, "FILE.npy",
     "the pictures before rounding to bytes, float32 [n,C,H,W]; replaces an older file"},
    {"count", 'n', false, "N",
     "number of pictures (4; with --init or --from DIR as many as there are in it)"},
    {"init", 0, false, "FILE.npy",
     "x at the first noise level, float32 [n,C,H,W], instead of noise"},
    {"from", 0, false, "PICTURE|DIR",
     "start from a picture with noise added, or from each picture of a folder"},
    {"strength", 0, false, "S",
     "with --from: fraction of the steps to run; 0 keeps the picture, 1 ignores it (0.3; with a "
     "mask 1)"},
    {"mask", 0, false, "PICTURE",
     "with --from: draw where the mask is white, keep the picture where it is black"},
    {"resample", 0, false, "N", "with --mask: how many times to draw the steps (10)"},
    {"jump", 0, false, "N", "with --mask: how many steps to go back each time (a 25th of all)"},
    {"invert", 0, false, NULL,
     "with --from and --array: find the x at the first noise level that draws these pictures, for "
     "--init"},
    {"interpolate", 0, false, "A,B",
     "draw frames between two seeds, .npy files as for --init, or pictures; --out FILE.png makes "
     "one animated PNG"},
    {"frames", 0, false, "N", "with --interpolate: how many frames (16)"},
    {"first", 0, false, "N",
     "number of the first picture; picture k of a seed is always the same "
     "(0)"},
    {"batch", 0, false, "N", "pictures to draw at once (as many as fit, at most 16)"},
    {"weights", 0, false, "ema|model", "EMA or raw weights (ema)"},
    {"config", 'c', false, "FILE.json", "configuration for a bare .safetensors file"},
    {"trajectory", 0, false, "FILE.png|DIR",
     "the first batch's chain as an animated PNG, or as a "
     "folder of PNGs"},
    {"every", 0, false, "K", "sampler steps between frames of the trajectory (a fiftieth of all)"},
    {"force", 'f', false, NULL, "allow an output folder that is not empty"},
};

/* clang-format off */
const char ddpm_sample_notes[] =
    "--seed auto draws a seed and prints it. Samplers:\n"
#define SAMPLER(id, name, alias, help, ...) "  " name ": " help "\n"
#include "config/samplers.inc"
#undef SAMPLER
    "Spacings, T timesteps in N steps:\n"
#define SPACING(id, name, help, time) "  " name ": " help "\n"
#include "config/spacings.inc"
#undef SPACING
    "";
const char ddpm_sample_examples[] =
    "  ddpm sample runs/first --out drawn -n 16 --seed 7\n"
    "  ddpm sample runs/first --out drawn -n 16 --sampler ddim --sampling-steps 50 --eta 0.5\n"
    "  ddpm sample runs/first --array drawn.npy --init noise.npy\n"
    "  ddpm sample runs/first --out drawn --from photo.jpg --strength 0.3\n"
    "  ddpm sample runs/first --out drawn --from photo.png --mask hole.png\n"
    "  ddpm sample runs/first --array noise.npy --from photo.jpg --invert --clip off\n"
    "  ddpm sample runs/first --out between.png --interpolate 3,8 --frames 30\n";
/* clang-format on */
