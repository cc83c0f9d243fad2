"""Make case_att_8_where.safetensors: a network that is told where each pixel is.

    python tests/golden/make_coordinates_golden.py --out tests/golden/data

The article's network for two more channels of input, which hold the coordinates of the pixels' centres: row, then
column, from -1 at the top and left edges to 1. README.md describes the file's tensors.
"""

import torch

import make_golden
from make_golden import ATT, case


def add_coordinates(network, inputs):
    x, t = inputs
    b, _, h, w = x.shape
    rows = torch.linspace(-1 + 1 / h, 1 - 1 / h, h, dtype=x.dtype)
    columns = torch.linspace(-1 + 1 / w, 1 - 1 / w, w, dtype=x.dtype)
    where = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return torch.cat((x, where.expand(b, 2, h, w)), dim=1), t


def build(config):
    network = make_golden.build(config | {"channels": config["channels"] + 2})
    network.register_forward_pre_hook(add_coordinates)
    return network


if __name__ == "__main__":
    make_golden.make_variants(
        "Make the golden file of coordinates.",
        build,
        case("att_8_where", ATT, 8, [1, 3], 3, 2, 8, 12, coordinates=True),
    )
