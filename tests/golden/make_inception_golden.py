"""Make inception.safetensors: the output of pytorch-fid's Inception for a few pictures, with weights that follow a
formula.

    python tests/golden/make_inception_golden.py --out tests/golden/data [--weights FOLDER]

pytorch-fid loads its weights from the network when the class is made; here formula.py's replace them, so no file of
weights is needed on either side. README.md describes them. With --weights the whole network is also written there, as
torch.save (both forms) and safetensors do.
"""

import argparse
import json
import math
import pathlib
from importlib.metadata import version
from unittest import mock

import torch
from formula import rounded, values
from pytorch_fid import inception
from safetensors.torch import save_file

VERSIONS = {"pytorch-fid": "0.3.0", "torch": "2.15.0", "torchvision": "0.29.2"}
# Name, height, width, channels.
PICTURES = [("small", 32, 32, 3), ("tall", 304, 8, 3), ("wide", 6, 310, 3), ("grey", 64, 64, 1), ("alpha", 48, 50, 4)]


def weights(name, shape):
    """Those of convolutions keep the size of activations; batch norms stay near their initial values."""
    u = values(name, shape)
    kind = name.rsplit(".", 1)[1]
    if name.endswith("conv.weight"):
        u = u * math.sqrt(6 / math.prod(shape[1:]))
    elif kind in ("weight", "running_var"):
        u = 1 + 0.25 * u
    else:
        u = 0.1 * u
    return rounded(u).float()


def make_network():
    """pytorch-fid's network with the formula's weights, and the state dict that it loaded."""
    states = []
    original = torch.nn.Module.load_state_dict

    def load(module, _state, *args, **kwargs):
        state = {name: tensor if tensor.dtype == torch.int64 else weights(name, tensor.shape)
                 for name, tensor in module.state_dict().items()}
        states.append(state)
        return original(module, state)

    with mock.patch.object(inception, "load_state_dict_from_url", lambda *a, **k: {}), \
            mock.patch.object(torch.nn.Module, "load_state_dict", load):
        network = inception.InceptionV3()
    return network.eval(), states[0]


def picture(name, height, width, channels):
    """uint8 [height, width, channels]: smooth, with some noise."""
    u = values(f"picture.{name}", (height, width, channels))
    y = torch.arange(height).double()[:, None, None] / height
    x = torch.arange(width).double()[None, :, None] / width
    c = torch.arange(channels).double()[None, None, :]
    wave = torch.sin(6 * x + 4 * y + 2 * c) + 0.5 * torch.sin(31 * x * y + c)
    return (127.5 + 70 * wave + 20 * u).clamp(0, 255).round().to(torch.uint8)


def as_input(pixels):
    """As pytorch-fid reads a file: RGB, channels first, 0 to 1."""
    rgb = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels.expand(-1, -1, 3)
    return rgb.permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--weights", type=pathlib.Path)
    options = parser.parse_args()
    for name, wanted in VERSIONS.items():
        assert version(name).startswith(wanted), f"{name}: got {version(name)}, want {wanted}"
    network, state = make_network()
    if options.weights:
        options.weights.mkdir(exist_ok=True)
        torch.save(state, options.weights / "inception.zip.pt")
        torch.save(state, options.weights / "inception.older.pth", _use_new_zipfile_serialization=False)
        save_file(state, options.weights / "inception.safetensors")
    tensors, rows = {}, []
    for row in PICTURES:
        pixels = picture(*row)
        found = network(as_input(pixels))[0].flatten()
        exact = network.double()(as_input(pixels).double())[0].flatten()
        network.float()
        error = float((found - exact).norm() / exact.norm())
        print(f"{row[0]}: mean {exact.mean():.4g}, deviation {exact.std():.4g}, fp32 is {error:.2g} from fp64")
        tensors |= {f"{row[0]}.picture": pixels, f"{row[0]}.features": exact.float()}
        rows.append({"name": row[0], "height": row[1], "width": row[2], "channels": row[3]})
    save_file(tensors, options.out / "inception.safetensors", {"golden": json.dumps({"pictures": rows})})


if __name__ == "__main__":
    main()
