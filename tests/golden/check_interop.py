"""Exchange weights between `ddpm` and PyTorch, both ways, and compare what the networks compute.

    python tests/golden/check_interop.py --ddpm build/programs/ddpm/ddpm MODEL CONFIG.json [...]

For each pair of a model that `ddpm` wrote (a checkpoint's model.safetensors or ema.safetensors) and
its configuration (the run's config.json, or the article's file):

1. the weights are loaded into article.py's network with strict=True, and `ddpm predict` with these
   weights is compared with PyTorch;
2. the same network with PyTorch's own initial weights is saved with safetensors, and `ddpm predict`
   with that file is compared with PyTorch.

PyTorch computes in float64. Needs torch, numpy and safetensors; not run by CI. Exit 0 when every
comparison is within the tolerance, 1 otherwise.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import article

TOLERANCE = 1e-5


def network_options(path):
    """(class name, keyword arguments, (H, W), timesteps) of a configuration file."""
    config = json.loads(pathlib.Path(path).read_text())
    unet = {k.replace("-", "_"): v for k, v in config["unet_config"].items()}
    size = config.get("diffusion_config", {}).get("image_size", 128)
    kwargs = {"dim": unet.get("dim", unet.get("input", 64))}
    for key in ("init_dim", "out_dim"):
        kwargs[key] = unet.get(key) or None  # 0 and absent both mean the default
    for key in ("dim_mults", "channels", "theta", "mult", "norm"):
        if key in unet:
            kwargs[key] = unet[key]
    if isinstance(kwargs.get("norm"), str):
        kwargs["norm"] = kwargs["norm"] == "on"
    name = unet.get("model_mapping", unet.get("network", "TwoResUNet"))
    steps = config.get("diffusion_config", {}).get("timesteps", 1000)
    return name, kwargs, tuple(size) if isinstance(size, list) else (size, size), steps


def predict(ddpm, model, config, x, t, folder):
    """The output of `ddpm predict` for a bare .safetensors file."""
    names = {key: folder / f"{key}.npy" for key in ("x", "t", "eps")}
    np.save(names["x"], x.numpy())
    np.save(names["t"], t.numpy())
    command = [ddpm, "predict", model, "--config", config, "--precision", "fp32", "--input", names["x"]]
    command += ["--timesteps", names["t"], "--output", names["eps"]]
    subprocess.run(command, check=True)
    return torch.from_numpy(np.load(names["eps"]))


@torch.no_grad()
def compare(what, ddpm, network, model, config, size, steps, folder):
    batch = 3
    x = torch.rand(batch, network.channels, *size) * 2 - 1
    t = torch.tensor([0, steps - 1, 421 % steps])[:batch]
    got = predict(ddpm, model, config, x, t, folder)
    want = network.double()(x.double(), t)
    if got.shape != want.shape or got.dtype != torch.float32:
        print(f"{what}: got {got.dtype} {list(got.shape)}, want float32 {list(want.shape)}")
        return False
    error = ((got.double() - want).norm() / want.norm()).item()
    print(f"{what}: difference {error:.2e}, allowed {TOLERANCE:.0e}")
    return error <= TOLERANCE


def check(ddpm, model, config):
    name, kwargs, size, steps = network_options(config)
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        network = article.NETWORKS[name](**kwargs)
        mine = folder / "pytorch.safetensors"
        save_file(network.state_dict(), mine)
        to_ddpm = compare(f"PyTorch's weights, {name}", ddpm, network, mine, config, size, steps, folder)
        network = network.float()
        network.load_state_dict(load_file(model), strict=True)
        from_ddpm = compare(f"{model}, {name}", ddpm, network, model, config, size, steps, folder)
    return to_ddpm and from_ddpm


def main():
    parser = argparse.ArgumentParser(description="Exchange weights between ddpm and PyTorch.")
    parser.add_argument("--ddpm", default="build/programs/ddpm/ddpm", help="the program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("pairs", nargs="+", metavar="MODEL.safetensors CONFIG.json")
    options = parser.parse_args()
    if len(options.pairs) % 2:
        parser.error(f"got {len(options.pairs)} files, want pairs of MODEL.safetensors CONFIG.json")
    torch.manual_seed(options.seed)
    pairs = list(zip(options.pairs[0::2], options.pairs[1::2]))
    results = [check(options.ddpm, model, config) for model, config in pairs]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
