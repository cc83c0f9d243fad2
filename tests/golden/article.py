"""The article's networks and diffusion process in PyTorch: the oracle of the golden numbers.

Module names (so the names in state_dict) and shapes are those of the article "Implementing a
denoising diffusion model with PyTorch" (Mickael Boillaud); docs/model.md states the same in words.
Pictures are [B, C, H, W] in [-1, 1], timesteps int64 [B].

Everything follows the precision of the weights: after `network.double()` the time embedding is
computed in float64 too.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class SinusoidalPosEmb(nn.Module):
    """[B] -> [B, dim]: [sin(t f), cos(t f)], f_i = theta^(-i / (dim/2 - 1)), in the dtype of t."""

    def __init__(self, dim, theta=10000):
        super().__init__()
        if dim < 4 or dim % 2:
            raise ValueError(f"got dim {dim}, want an even number from 4 up")
        self.half, self.theta = dim // 2, theta

    def forward(self, t):
        step = -math.log(self.theta) / (self.half - 1)
        i = torch.arange(self.half, device=t.device, dtype=t.dtype)
        angle = t[:, None] * torch.exp(i * step)
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


class ConvNextBlock(nn.Module):
    """norm=False omits only the first of the two group norms, as in the article."""

    def __init__(self, in_channels, out_channels, time_dim, mult=2, norm=True):
        super().__init__()
        hidden = out_channels * mult
        self.mlp = nn.Sequential(nn.GELU(), nn.Linear(time_dim, in_channels))
        self.in_conv = nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels)
        self.block = nn.Sequential(
            nn.GroupNorm(1, in_channels) if norm else nn.Identity(),
            nn.Conv2d(in_channels, hidden, 3, padding=1),
            nn.GELU(),
            nn.GroupNorm(1, hidden),
            nn.Conv2d(hidden, out_channels, 3, padding=1),
        )
        same = in_channels == out_channels
        self.residual_conv = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x, time):
        h = self.in_conv(x) + self.mlp(time)[:, :, None, None]
        return self.block(h) + self.residual_conv(x)


class DownSample(nn.Module):
    """2x2 pixels to channels (channel = c*4 + p1*2 + p2), then 1x1."""

    def __init__(self, dim, dim_out):
        super().__init__()
        self.net = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(dim * 4, dim_out, 1))

    def forward(self, x):
        return self.net(x)


class Upsample(nn.Module):
    def __init__(self, dim, dim_out):
        super().__init__()
        self.net = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(dim, dim_out, 3, padding=1)
        )

    def forward(self, x):
        return self.net(x)


class BlockAttention(nn.Module):
    def __init__(self, gate_channels, residual_channels):
        super().__init__()
        self.gate_conv = nn.Conv2d(gate_channels, gate_channels, 1)
        self.residual_conv = nn.Conv2d(residual_channels, gate_channels, 1)
        self.in_conv = nn.Conv2d(gate_channels, 1, 1)

    def forward(self, x, g):
        return torch.sigmoid(self.in_conv(F.relu(self.gate_conv(g) + self.residual_conv(x)))) * x


class UNet(nn.Module):
    """What the three networks share. A subclass says how many skips a level has, and whether they are gated.

    The article writes final_res_block = block(2 dim, dim), which can only run when init_dim = dim
    because its input is concat(x, r) with 2 init_dim channels. Here it is block(2 init_dim, dim):
    the same network for init_dim = dim, and one that runs for the others.
    """

    skips_per_level = 2
    attention = False

    def __init__(
        self,
        dim,
        init_dim=None,
        out_dim=None,
        dim_mults=(1, 2, 4, 8),
        channels=3,
        theta=10000,
        mult=2,
        norm=True,
    ):
        super().__init__()
        self.channels = channels
        init_dim = dim if init_dim is None else init_dim
        self.out_dim = channels if out_dim is None else out_dim
        time_dim = dim * 4
        dims = [init_dim, *(dim * m for m in dim_mults)]
        levels = list(zip(dims[:-1], dims[1:]))

        def block(inputs, outputs):
            return ConvNextBlock(inputs, outputs, time_dim, mult, norm)

        self.init_conv = nn.Conv2d(channels, init_dim, 7, padding=3)
        self.time_mlp = nn.Sequential(
            SinusoidalPosEmb(dim, theta),
            nn.Linear(dim, time_dim),
            nn.GELU(),
            nn.Linear(time_dim, time_dim),
        )
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for i, (a, b) in enumerate(levels):
            last = i == len(levels) - 1
            shrink = nn.Conv2d(a, b, 3, padding=1) if last else DownSample(a, b)
            self.downs.append(nn.ModuleList([block(a, a), block(a, a), shrink]))
        self.mid_block1 = block(dims[-1], dims[-1])
        self.mid_block2 = block(dims[-1], dims[-1])
        for i, (a, b) in enumerate(reversed(levels)):
            last = i == len(levels) - 1
            second = block(a + b, b) if self.skips_per_level == 2 else block(b, b)
            grow = nn.Conv2d(b, a, 3, padding=1) if last else Upsample(b, a)
            gate = [BlockAttention(b, a)] if self.attention else []
            self.ups.append(nn.ModuleList([*gate, block(a + b, b), second, grow]))
        self.final_res_block = block(2 * init_dim, dim)
        self.final_conv = nn.Conv2d(dim, self.out_dim, 1)

    def forward(self, x, time):
        x = self.init_conv(x)
        r = x
        t = self.time_mlp(time.to(self.final_conv.weight.dtype))
        skips = []
        for block1, block2, shrink in self.downs:
            x = block1(x, t)
            if self.skips_per_level == 2:
                skips.append(x)
            x = block2(x, t)
            skips.append(x)
            x = shrink(x)
        x = self.mid_block2(self.mid_block1(x, t), t)
        for *gate, block1, block2, grow in self.ups:
            x = block1(self._with_skip(gate, x, skips.pop()), t)
            if self.skips_per_level == 2:
                x = self._with_skip(gate, x, skips.pop())
            x = grow(block2(x, t))
        x = self.final_res_block(torch.cat((x, r), dim=1), t)
        return self.final_conv(x)

    @staticmethod
    def _with_skip(gate, x, skip):
        return torch.cat((x, gate[0](skip, x) if gate else skip), dim=1)


class OneResUNet(UNet):
    skips_per_level = 1


class TwoResUNet(UNet):
    pass


class AttentionUNet(UNet):
    attention = True


NETWORKS = {c.__name__: c for c in (OneResUNet, TwoResUNet, AttentionUNet)}

PARAMETER_COUNTS = {  # channels 3, dim_mults 1,2,4,8
    ("OneResUNet", 32): 14_782_691,
    ("TwoResUNet", 32): 15_753_155,
    ("AttentionUNet", 32): 15_885_671,
    ("OneResUNet", 64): 58_845_635,
    ("TwoResUNet", 64): 62_699_395,
    ("AttentionUNet", 64): 63_226_567,
}


def check_parameter_counts():
    for (name, dim), want in PARAMETER_COUNTS.items():
        with torch.device("meta"):
            got = sum(p.numel() for p in NETWORKS[name](dim).parameters())
        if got != want:
            raise AssertionError(f"{name}({dim}): got {got} parameters, want {want}")


def linear_beta_schedule(timesteps):
    s = 1000 / timesteps
    return torch.linspace(s * 1e-4, s * 0.02, timesteps, dtype=torch.float64)


def cosine_beta_schedule(timesteps, s=0.008):
    i = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((i + s) / (1 + s) * math.pi / 2) ** 2
    bar = f / f[0]
    return torch.clip(1 - bar[1:] / bar[:-1], 1e-4, 0.9999)


def sigmoid_beta_schedule(timesteps, start=-3, end=3, tau=1):
    i = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    v0 = torch.tensor(start / tau, dtype=torch.float64).sigmoid()
    v1 = torch.tensor(end / tau, dtype=torch.float64).sigmoid()
    f = (v1 - ((i * (end - start) + start) / tau).sigmoid()) / (v1 - v0)
    bar = f / f[0]
    return torch.clip(1 - bar[1:] / bar[:-1], 0, 0.999)


SCHEDULES = {
    "linear": linear_beta_schedule,
    "cosine": cosine_beta_schedule,
    "sigmoid": sigmoid_beta_schedule,
}


def diffusion_tables(schedule="linear", timesteps=1000, **kwargs):
    """The article's seven tables [T], and the posterior mean's two coefficients.

    Computed in float64, returned as float32. Betas outside (0,1) are an error.
    """
    betas = SCHEDULES[schedule](timesteps, **kwargs)
    if not ((betas > 0) & (betas < 1)).all():
        raise ValueError(f"{schedule}, T = {timesteps}, {kwargs}: betas are not all in (0,1)")
    alphas = 1 - betas
    bar = torch.cumprod(alphas, dim=0)
    before = F.pad(bar[:-1], (1, 0), value=1.0)
    tables = {
        "betas": betas,
        "alphas_cumprod": bar,
        "alphas_cumprod_prev": before,
        "sqrt_recip_alphas": torch.sqrt(1 / alphas),
        "sqrt_alphas_cumprod": torch.sqrt(bar),
        "sqrt_one_minus_alphas_cumprod": torch.sqrt(1 - bar),
        "posterior_variance": betas * (1 - before) / (1 - bar),
        "posterior_mean_x0": betas * torch.sqrt(before) / (1 - bar),
        "posterior_mean_xt": torch.sqrt(alphas) * (1 - before) / (1 - bar),
    }
    return {name: table.to(torch.float32) for name, table in tables.items()}


class DiffusionModel(nn.Module):
    def __init__(self, model, schedule="linear", timesteps=1000, **kwargs):
        super().__init__()
        self.model, self.num_timesteps = model, timesteps
        for name, table in diffusion_tables(schedule, timesteps, **kwargs).items():
            self.register_buffer(name, table)

    def at(self, name, t, x):
        """The table's values at t [B], as x's dtype, shaped to broadcast over x [B, ...]."""
        return getattr(self, name)[t].to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))

    def q_sample(self, x0, t, noise):
        signal = self.at("sqrt_alphas_cumprod", t, x0)
        return signal * x0 + self.at("sqrt_one_minus_alphas_cumprod", t, x0) * noise

    def p_loss(self, x0, t, noise, loss="l2"):
        predicted = self.model(self.q_sample(x0, t, noise), t)
        if loss not in ("l1", "l2"):
            raise ValueError(f"got loss {loss}, want l1 or l2")
        return (F.mse_loss if loss == "l2" else F.l1_loss)(predicted, noise)

    @torch.no_grad()
    def p_sample(self, x, step, z, clip):
        """x_t -> x_{t-1} for the whole batch at t = step; z is not used at step 0."""
        t = torch.full((x.shape[0],), step, dtype=torch.long, device=x.device)
        predicted = self.model(x, t)
        noise_scale = self.at("sqrt_one_minus_alphas_cumprod", t, x)
        if clip:
            x0 = (x - noise_scale * predicted) / self.at("sqrt_alphas_cumprod", t, x)
            x0 = x0.clamp(-1, 1)
            mean = self.at("posterior_mean_x0", t, x) * x0 + self.at("posterior_mean_xt", t, x) * x
        else:
            mean = x - self.at("betas", t, x) * predicted / noise_scale
            mean = self.at("sqrt_recip_alphas", t, x) * mean
        if step == 0:
            return mean
        return mean + torch.sqrt(self.at("posterior_variance", t, x)) * z


class EMA:
    """A second copy of the weights. update() follows every optimizer step; c = earlier calls."""

    def __init__(self, model, beta=0.995, update_every=10, update_after=100, power=2 / 3):
        self.model, self.beta, self.power = model, beta, power
        self.update_every, self.update_after = update_every, update_after
        self.count = 0
        self.weights = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self):
        c = self.count
        self.count += 1
        if c % self.update_every:
            return
        decay = 0.0
        if c > self.update_after:
            decay = min(self.beta, 1 - (1 + c - self.update_after) ** -self.power)
        for name, p in self.model.named_parameters():
            self.weights[name].mul_(decay).add_(p, alpha=1 - decay)


def make_optimizer(model, lr=1e-4):
    return torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01
    )


if __name__ == "__main__":
    check_parameter_counts()
    print("parameter counts agree")
