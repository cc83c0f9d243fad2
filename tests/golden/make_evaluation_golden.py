"""Make evaluation.safetensors and evaluation_statistics.npz: results of pytorch-fid, torch-fidelity and the papers' own
equations for given features.

    python tests/golden/make_evaluation_golden.py --out tests/golden/data

README.md describes the file's tensors. The equations of precision, recall, density and coverage are written out below
in NumPy, for all pairs at once.
"""

import argparse
import json
import pathlib
from importlib.metadata import version

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.numpy import save_file
from torch_fidelity.metric_kid import kid_features_to_metric

VERSIONS = {"numpy": "2.4.6", "pytorch-fid": "0.3.0", "torch-fidelity": "0.4.0"}
CASES = {"near": (160, 160, 12, 0.3, 1.0), "far": (100, 100, 24, 1.5, 0.6), "uneven": (90, 140, 8, 0.4, 1.2)}


def features(seed, count, width, shift, scale):
    """Correlated, with a few exact duplicates."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(width).standard_normal((width, width)) / np.sqrt(width)
    x = (random.standard_normal((count, width)) * scale @ mix + shift / np.sqrt(width)).astype(np.float32)
    x[-3:] = x[:3]
    return x


def squared(a, b):
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)


def radii(x, k):
    """Squared distances to the k-th nearest neighbour of each among the others."""
    d = squared(x, x)
    np.fill_diagonal(d, np.inf)
    return np.sort(d, axis=1)[:, k - 1]


def manifold(generated, real):
    """Kynkäänniemi et al. 2019, equations 1 to 3 with k = 3; Naeem et al. 2020, equations 5 and 6 with k = 5."""
    d = squared(generated, real)
    near, nearby = radii(real, 3), radii(real, 5)
    return {
        "precision": (d <= near).any(1).mean(),
        "recall": (d <= radii(generated, 3)[:, None]).any(0).mean(),
        "density": (d <= nearby).sum() / (5 * len(generated)),
        "coverage": (d <= nearby).any(0).mean(),
    }


def without_groups(generated, real, groups=10):
    """The same with the pictures i = g, g + 10, … left out, for every g; radii of the real ones as they are."""
    found = []
    for group in range(groups):
        kept = generated[np.arange(len(generated)) % groups != group]
        found.append(manifold(kept, real) | {"frechet": frechet(kept, real)})
    return {key: [float(row[key]) for row in found] for key in found[0]}


def statistics(x):
    return x.mean(axis=0), np.cov(x, rowvar=False)


def frechet(generated, real):
    return float(calculate_frechet_distance(*statistics(generated), *statistics(real)))


def kernel(generated, real):
    """From torch-fidelity, with one subset of all pictures. It needs as many generated pictures as real ones; for other
    counts we use the equation itself."""
    width = real.shape[1]

    def k(a, b):
        return (a @ b.T / width + 1) ** 3

    own, other, cross = k(generated, generated), k(real, real), k(generated, real)
    m, n = len(generated), len(real)
    value = ((own.sum() - np.trace(own)) / (m * (m - 1)) + (other.sum() - np.trace(other)) / (n * (n - 1))
             - 2 * cross.mean())
    if m == n:
        theirs = kid_features_to_metric(torch.from_numpy(generated), torch.from_numpy(real), kid_subsets=1,
                                        kid_subset_size=m, verbose=False)["kernel_inception_distance_mean"]
        assert abs(theirs - value) < 1e-10, (theirs, value)
        value = theirs
    return float(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    for name, wanted in VERSIONS.items():
        assert version(name) == wanted, f"{name}: got {version(name)}, want {wanted}"
    tensors, rows = {}, []
    for seed, (name, (m, n, width, shift, scale)) in enumerate(CASES.items()):
        generated, real = features(2 * seed, m, width, shift, scale), features(2 * seed + 1, n, width, 0, 1)
        tensors |= {f"{name}.generated": generated, f"{name}.real": real}
        wide = generated.astype(np.float64), real.astype(np.float64)
        metrics = {key: float(value) for key, value in manifold(*wide).items()}
        rows.append({"name": name, "frechet": frechet(*wide), "kernel": kernel(*wide), **metrics,
                     "without": without_groups(*wide)})
    save_file(tensors, out / "evaluation.safetensors", {"golden": json.dumps({"cases": rows})})
    mean, covariance = statistics(tensors["near.real"].astype(np.float64))
    np.savez_compressed(out / "evaluation_statistics.npz", mu=mean, sigma=covariance)  # as pytorch-fid does


if __name__ == "__main__":
    main()
