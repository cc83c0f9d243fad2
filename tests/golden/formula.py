"""Numbers that both sides of a golden test compute, so that no weight or picture has to be stored.

Philox4x32-10 and Box-Muller as in src/core/random.h, the name hash as in src/core/random.c.

    u(name, i) = 2 (((bits >> 9) + 0.5) / 2^23) - 1      in (-1, 1), exact in float32
    bits       = lane i % 4 of philox(key = 1234, counter = {i / 4, fnv1a32(name), 0, 1})
"""

import math

import numpy as np
import torch

SEED = 1234
STREAM_WEIGHTS, STREAM_SAMPLE_INIT, STREAM_SAMPLE_STEP = 1, 6, 7
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def philox(seed, blocks, sample, step, stream):
    """uint32 [n, 4] for the blocks [n] of one (seed, stream, step, sample)."""
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    c0 = np.asarray(blocks, dtype=np.uint64)
    c1, c2, c3 = (np.full_like(c0, value) for value in (sample, step, stream))
    for _ in range(10):
        product0, product1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0 = (product1 >> SHIFT) ^ c1 ^ np.uint64(key0)
        c2 = (product0 >> SHIFT) ^ c3 ^ np.uint64(key1)
        c1, c3 = product1 & MASK, product0 & MASK
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3), axis=-1).astype(np.uint32)


def hash_name(name):
    value = 2166136261
    for byte in name.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def uniform(bits):
    """float64 in (0, 1); every value is exact in float32."""
    return ((bits >> 9).astype(np.float64) + 0.5) / 8388608


def normals(count, seed, stream, step, sample):
    """float32 [count], with the roundings of ddpm_normal4 where they are defined."""
    u = uniform(philox(seed, np.arange((count + 3) // 4), sample, step, stream)).astype(np.float32)
    radius = np.sqrt(np.float32(-2) * np.log(u[:, 0::2]))
    angle = np.float32(2 * math.pi) * u[:, 1::2]
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1).reshape(-1)[:count]


def normal_picture(channels, height, width, seed, stream, step, sample):
    """float64 [C, H, W]; the elements are drawn in the order H, W, C."""
    flat = normals(channels * height * width, seed, stream, step, sample)
    return torch.from_numpy(flat.reshape(height, width, channels).transpose(2, 0, 1).astype(float))


def values(name, shape):
    """u(name, i) as float64 in PyTorch's row-major order."""
    count = math.prod(shape)
    bits = philox(SEED, np.arange((count + 3) // 4), hash_name(name), 0, STREAM_WEIGHTS)
    return torch.from_numpy(2 * uniform(bits.reshape(-1)[:count]) - 1).reshape(tuple(shape))


def rounded(x):
    """float64 numbers that float32 holds exactly: what the C side starts from."""
    return x.float().double()


def parameter_rule(network):
    """Per parameter (kind, fan_in): "uniform" for conv and linear, "norm_weight", "norm_bias"."""
    rules = {}
    for prefix, module in network.named_modules():
        for leaf, _ in module.named_parameters(recurse=False):
            name = f"{prefix}.{leaf}"
            if isinstance(module, torch.nn.GroupNorm):
                rules[name] = (f"norm_{leaf}", 0)
            else:
                rules[name] = ("uniform", module.weight[0].numel())
    return rules


@torch.no_grad()
def fill_weights(network):
    """uniform: u / sqrt(fan_in); norm_weight: 1 + 0.1 u; norm_bias: 0.1 u."""
    rules = parameter_rule(network)
    for name, parameter in network.named_parameters():
        kind, fan_in = rules[name]
        u = values(name, parameter.shape)
        w = u / math.sqrt(fan_in) if kind == "uniform" else 0.1 * u + (kind == "norm_weight")
        parameter.copy_(rounded(w))


def check_known_answers():
    """Random123's kat_vectors, and FNV-1a's published values."""
    zero = philox(0, [0], 0, 0, 0)[0].tolist()
    assert zero == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], zero
    ones = philox(2**64 - 1, [2**32 - 1], 2**32 - 1, 2**32 - 1, 2**32 - 1)[0].tolist()
    assert ones == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD], ones
    assert hash_name("") == 0x811C9DC5 and hash_name("a") == 0xE40C292C
