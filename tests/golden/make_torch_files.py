"""Make data/torch: files of torch.save in both of its forms, the same tensors as safetensors, and files that must be
refused.

    python tests/golden/make_torch_files.py --out tests/golden/data/torch

The calls that a file asks for are os.system with `touch executed`, so executing them leaves a trace.
"""

import argparse
import os
import pathlib
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save_file

VERSIONS = {"torch": "2.15.0"}


class Command:
    def __reduce__(self):
        return os.system, ("touch executed",)


def tensors():
    values = torch.arange(24, dtype=torch.float32) / 8 - 1
    square = values[:12].reshape(3, 4)
    return OrderedDict(
        whole=values.reshape(2, 3, 4),
        transposed=square.t(),  # strides 1 and 4
        part=values[5:20:3],  # offset 5, stride 3
        channels_last=values.reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(square * 3),
        double=torch.tensor([1 / 3, -2e10], dtype=torch.float64),
        half=torch.tensor([0.1, -65504, 6e-8], dtype=torch.float16),
        brain=torch.tensor([0.1, -3e38], dtype=torch.bfloat16),
        count=torch.tensor(7),
        integers=torch.tensor([-5, 9], dtype=torch.int32),
        bytes=torch.tensor([0, 255], dtype=torch.uint8),
        truths=torch.tensor([True, False]),
        empty=torch.zeros(0, 3),
    )


def first_layer():
    """The first layer of FID's Inception, and nothing else of it."""
    layer = OrderedDict(conv=torch.nn.Conv2d(3, 32, 3, bias=False), bn=torch.nn.BatchNorm2d(32))
    return torch.nn.ModuleDict({"Conv2d_1a_3x3": torch.nn.ModuleDict(layer)}).state_dict()


def save(out, name, content):
    """Both forms."""
    torch.save(content, out / f"{name}.older.pt", _use_new_zipfile_serialization=False)
    torch.save(content, out / f"{name}.zip.pt")


def rewrite(source, target, changes, method=zipfile.ZIP_STORED):
    """A copy of a zip file, with new contents for the members whose names end this way; None: without it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for member in old.infolist():
            ending = member.filename.split("/", 1)[1]
            content = changes.get(ending, old.read(member))
            if content is not None:
                new.writestr(zipfile.ZipInfo(member.filename), content, method)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    assert torch.__version__.startswith(VERSIONS["torch"]), torch.__version__
    out.mkdir(exist_ok=True)
    torch.manual_seed(1)
    plain = tensors()
    save(out, "plain", plain)
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in plain.items()}, out / "plain.safetensors")
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    save(out, "nested", {"epoch": 3, "lr": 0.5, "note": None, "state_dict": module.state_dict()})
    save_file(module.state_dict(), out / "nested.safetensors")
    torch.save(first_layer(), out / "first_layer.older.pt", _use_new_zipfile_serialization=False)
    torch.save(module, out / "whole_module.zip.pt")  # the older form would hold PyTorch's own code
    save(out, "command", {"weight": torch.zeros(2), "other": Command()})
    save(out, "list", [torch.zeros(2)])
    rewrite(out / "nested.zip.pt", out / "big_endian.zip.pt", {"byteorder": b"big"})
    rewrite(out / "nested.zip.pt", out / "no_storage.zip.pt", {"data/1": None})
    rewrite(out / "nested.zip.pt", out / "short_storage.zip.pt", {"data/1": b"\0" * 8})
    rewrite(out / "nested.zip.pt", out / "packed.zip.pt", {}, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
