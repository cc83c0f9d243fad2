"""Make likelihood.safetensors: bits per dimension of pictures, by the papers' formulas.

    python tests/golden/make_likelihood_golden.py --out tests/golden/data

The bound is written with both means of its KL divergences, and a decoder by the normal distribution
function itself. The flow is one function of the state, and its divergence is taken by autograd of that
whole function; ddpm differentiates the network alone. README.md describes the file's tensors.
"""

import argparse
import math
import pathlib

import numpy as np
import torch

import article
import formula
import make_golden
from make_golden import ATT, TWO, case

VERSIONS = {"torch": "2.15.0"}
STREAM, LEVEL, BYTE, PROBE = 13, 1 << 28, 2 << 28, 3 << 28
SEED, SIGMA_DATA, SIGMA_MIN, SIGMA_MAX = 11, 0.5, 0.002, 80.0
LN2 = math.log(2)


def row(name, network, objective, method, **more):
    options = dict(schedule="linear", timesteps=1000, levels=1000, steps=4, probes=1, clip=False, learned=False)
    options |= more
    _, config = case(name, network, 8, [1, 2], 3, 2, 8, 8, out_dim=6 if options["learned"] else 3)
    return dict(name=name, objective=objective, method=method, config=config) | options


ROWS = [
    row("noise", TWO, "noise", "bound", clip=True),
    row("open", TWO, "noise", "bound", levels=60),
    row("x0", ATT, "x0", "bound", schedule="sigmoid", timesteps=200, levels=200),
    row("v", ATT, "v", "bound", schedule="cosine", timesteps=100, levels=100, clip=True),
    row("learned", TWO, "noise", "bound", clip=True, learned=True),
    row("learned.some", ATT, "noise", "bound", schedule="cosine", timesteps=100, levels=30, learned=True),
    row("flow", TWO, "flow", "flow"),
    row("edm", ATT, "edm", "flow", probes=3),
    row("v.flow", TWO, "v", "flow", schedule="cosine", timesteps=100),
    row("learned.flow", TWO, "noise", "flow", learned=True, probes=2),
]


def pictures(config):
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    return torch.floor((formula.values("bytes", shape) + 1) * 128)


def in_order(flat, config):
    """Numbers in the order H, W, C as [C, H, W]."""
    c, h, w = (config[key] for key in ("channels", "height", "width"))
    return torch.from_numpy(flat[: c * h * w].reshape(h, w, c).transpose(2, 0, 1).astype(float))


def bits_of(config, step, picture):
    count = config["channels"] * config["height"] * config["width"]
    lanes = formula.philox(SEED, np.arange((count + 3) // 4), picture, step, STREAM)
    return lanes.reshape(-1)


def noise_of(config, step, picture):
    c, h, w = (config[key] for key in ("channels", "height", "width"))
    return formula.normal_picture(c, h, w, SEED, STREAM, step, picture)


class Schedule:
    def __init__(self, r):
        self.betas = article.SCHEDULES[r["schedule"]](r["timesteps"])
        self.bars = torch.cumprod(1 - self.betas, dim=0)
        self.log_ratio = (torch.log1p(-self.bars) - torch.log(self.bars)) / 2


def strata(timesteps, wanted):
    """t = 0 alone, the others ending at squares of even parts, each at least one wide."""
    count = min(wanted, timesteps)
    found, after = [(0, 0)], 1
    for k in range(1, count):
        end = 1 + int((k / (count - 1)) * (k / (count - 1)) * (timesteps - 1))
        end = min(max(end, after + 1), timesteps - (count - 1 - k))
        end = timesteps if k == count - 1 else end
        found.append((after, end - 1))
        after = end
    return found


def denoise(objective, network, x, alpha, sigma, time):
    """x̂_0, and the network's prediction of a variance."""
    c_in = 1 / math.sqrt(sigma**2 + SIGMA_DATA**2) if objective == "edm" else 1
    answer = network(c_in * x, torch.full((len(x),), time, dtype=x.dtype))
    out, v = answer[:, : x.shape[1]], answer[:, x.shape[1] :]
    if objective == "noise":
        return (x - sigma * out) / alpha, v
    if objective == "x0":
        return out, v
    if objective == "v":
        return alpha * x - sigma * out, v
    if objective == "flow":
        return x - sigma * out, v
    total = sigma**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total * x + sigma * SIGMA_DATA / math.sqrt(total) * out, v


def decoder_nats(x0, mean, log_variance):
    scale = torch.exp(-log_variance / 2)
    low, high = scale * (x0 - mean - 1 / 255), scale * (x0 - mean + 1 / 255)
    low, high = torch.where(low > 0, -high, low), torch.where(low > 0, -low, high)
    log_high = torch.special.log_ndtr(high)
    inside = log_high + torch.log(-torch.expm1(torch.special.log_ndtr(low) - log_high))
    black = torch.special.log_ndtr(scale * (x0 - mean + 1 / 255))
    white = torch.special.log_ndtr(-scale * (x0 - mean - 1 / 255))
    return -torch.where(x0 < -0.999, black, torch.where(x0 > 0.999, white, inside))


def term_bits(r, s, network, x0, noise, t):
    """A timestep's share for one picture, both [1, C, H, W]."""
    beta, bar = s.betas[t], s.bars[t]
    before = s.bars[t - 1] if t else torch.tensor(1.0, dtype=torch.float64)
    alpha, sigma = bar.sqrt(), (1 - bar).sqrt()
    x = alpha * x0 + sigma * noise
    predicted, v = denoise(r["objective"], network, x, alpha.item(), sigma.item(), float(t))
    if r["clip"]:
        predicted = predicted.clamp(-1, 1)

    def posterior_mean(picture):
        return (before.sqrt() * beta * picture + (1 - beta).sqrt() * (1 - before) * x) / (1 - bar)

    low = max(t, 1)
    lowest = torch.log(s.betas[low] * (1 - s.bars[low - 1]) / (1 - s.bars[low]))
    fraction = (v + 1) / 2 if r["learned"] else torch.zeros_like(x)
    log_variance = fraction * torch.log(beta) + (1 - fraction) * lowest
    mean = posterior_mean(predicted)
    if t == 0:
        nats = decoder_nats(x0, mean, log_variance)
    else:
        distance = (posterior_mean(x0) - mean) ** 2
        nats = (log_variance - lowest - 1 + torch.exp(lowest - log_variance) + distance / torch.exp(log_variance)) / 2
    return nats.mean().item() / LN2


@torch.no_grad()
def bound(r, network):
    s, config = Schedule(r), r["config"]
    pieces = strata(r["timesteps"], r["levels"])
    x0, last = pictures(config) / 127.5 - 1, s.bars[-1].item()
    levels, totals = np.zeros(len(pieces)), []
    for k in range(config["batch"]):
        prior = ((last * x0[k] ** 2 - last - math.log1p(-last)) / 2).mean().item() / LN2
        terms = []
        for number, (first, end) in enumerate(pieces):
            width = end - first + 1
            draw = int(formula.philox(SEED, [0], k, LEVEL | number, STREAM)[0, 0])
            t = first + (draw * width >> 32)
            noise = noise_of(config, t, k)
            terms.append(width * term_bits(r, s, network, x0[k : k + 1], noise[None], t))
        levels += np.array(terms) / config["batch"]
        totals.append(prior + sum(terms))
    return torch.from_numpy(levels), torch.tensor(totals, dtype=torch.float64)


class Flow:
    """dz/dw of docs/evaluation.md, and where it starts and ends."""

    def __init__(self, r, network):
        self.r, self.network = r, network
        self.first = 1.0
        if r["objective"] == "flow":
            self.begin, self.end, self.first, self.deviation = 0.001, 1.0, 0.999, 1.0
        elif r["objective"] == "edm":
            self.begin, self.end, self.deviation = math.log(SIGMA_MIN), math.log(SIGMA_MAX), SIGMA_MAX
        else:
            self.table = Schedule(r).log_ratio.numpy()
            self.begin, self.end, self.deviation = self.table[0], self.table[-1], 1.0

    def level(self, w):
        """α, σ and the network's time; z = x/α except for flow."""
        if self.r["objective"] == "flow":
            return 1 - w, w, self.r["timesteps"] * w
        if self.r["objective"] == "edm":
            return 1.0, math.exp(w), w / 4
        alpha = 1 / math.sqrt(1 + math.exp(2 * w))
        return alpha, math.exp(w) * alpha, float(np.interp(w, self.table, np.arange(len(self.table))))

    def scale(self, w):
        return 1.0 if self.r["objective"] == "flow" else self.level(w)[0]

    def slope(self, w, z):
        alpha, sigma, time = self.level(w)
        predicted, _ = denoise(self.r["objective"], self.network, self.scale(w) * z, alpha, sigma, time)
        return (z - predicted) / (w if self.r["objective"] == "flow" else 1)

    def slope_and_divergence(self, w, z, probes):
        z = z.detach().requires_grad_()
        slope = self.slope(w, z)
        divergence = 0
        for probe in probes:
            (pulled,) = torch.autograd.grad(slope, z, probe, retain_graph=True)
            divergence = divergence + (pulled * probe).sum((1, 2, 3)) / len(probes)
        return slope.detach(), divergence


def probes_of(r):
    config = r["config"]

    def signs(step, picture):
        return torch.where(in_order(bits_of(config, step, picture) >> 31, config) > 0, 1.0, -1.0).double()

    return [torch.stack([signs(PROBE | k, b) for b in range(config["batch"])]) for k in range(r["probes"])]


def probability_flow(r, network):
    config, flow, probes = r["config"], Flow(r, network), probes_of(r)
    place = [in_order(formula.uniform(bits_of(config, BYTE, b)), config) for b in range(config["batch"])]
    z = flow.first * ((pictures(config) + torch.stack(place) - 0.5) / 127.5 - 1)
    values, integral = z[0].numel(), torch.zeros(len(z), dtype=torch.float64)
    h = (flow.end - flow.begin) / r["steps"]
    for i in range(r["steps"]):
        w = flow.begin + i * h
        k1, d1 = flow.slope_and_divergence(w, z, probes)
        k2, d2 = flow.slope_and_divergence(w + h / 2, z + h / 2 * k1, probes)
        k3, d3 = flow.slope_and_divergence(w + h / 2, z + h / 2 * k2, probes)
        k4, d4 = flow.slope_and_divergence(w + h, z + h * k3, probes)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        integral = integral + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    scale = flow.scale(flow.end)
    prior = torch.distributions.Normal(0.0, flow.deviation).log_prob(scale * z).sum((1, 2, 3))
    density = prior + values * (math.log(scale) + math.log(flow.first)) + integral
    return -density / values / LN2 + math.log2(127.5)


def pull(network, config, time):
    """vᵀ·∂network(x)/∂x of every picture's first probe."""
    x = formula.rounded(formula.values("x", (config["batch"], config["channels"], config["height"], config["width"])))
    x.requires_grad_()
    probe = probes_of(dict(config=config, probes=1))[0]
    answer = network(x, torch.full((len(x),), time, dtype=x.dtype))[:, : x.shape[1]]
    (pulled,) = torch.autograd.grad(answer, x, probe)
    return pulled


def measure(r, tensors):
    network = make_golden.build(r["config"])
    if r["method"] == "bound":
        levels, totals = bound(r, network)
        tensors[f"{r['name']}.levels"] = levels.float()
    else:
        totals = probability_flow(r, network)
        tensors[f"{r['name']}.pulled"] = pull(network, r["config"], 250.5).float()
    tensors[f"{r['name']}.pictures"] = totals.float()
    print(r["name"], totals.tolist())


def main():
    parser = argparse.ArgumentParser(description="Make the golden file of likelihoods.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    got = torch.__version__.split("+")[0]
    if got != VERSIONS["torch"]:
        raise SystemExit(f"got torch {got}, want {VERSIONS['torch']}")
    torch.set_num_threads(1)
    formula.check_known_answers()
    tensors = {}
    for r in ROWS:
        measure(r, tensors)
    run = dict(seed=SEED, sigma_data=SIGMA_DATA, pulled_at=250.5)
    make_golden.write(folder, "likelihood", tensors, run=run, rows=ROWS)


if __name__ == "__main__":
    main()
