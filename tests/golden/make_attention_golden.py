"""Make case_*_look.safetensors: networks with self-attention at the lowest resolution.

    python tests/golden/make_attention_golden.py --out tests/golden/data

The article's networks, with a module between the two blocks in the middle whose attention is
PyTorch's. README.md describes the files' tensors.
"""

from torch import nn
from torch.nn import functional as F

import formula
import make_golden
from make_golden import TWO, case


class SelfAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.heads = channels // 64 if channels % 64 == 0 else 1

    def forward(self, x):
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(-1, -2).reshape(b, c, h, w))


def build(config):
    network = make_golden.build(config)
    attention = SelfAttention(config["dim"] * config["dim_mults"][-1]).double()
    network.mid_attention = attention
    network.mid_block1.register_forward_hook(lambda block, inputs, y: attention(y))
    formula.fill_weights(network)
    return network


if __name__ == "__main__":
    make_golden.make_variants(
        "Make the golden files of self-attention.",
        build,
        case("two_8_look", TWO, 8, [1, 3], 3, 2, 8, 12, attention=True),
        case("two_32_look", TWO, 32, [1, 4], 3, 1, 8, 8, attention=True),
    )
