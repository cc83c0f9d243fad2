"""Make consistency.safetensors: twenty steps of Easy Consistency Tuning for every objective.

    python tests/golden/make_consistency_golden.py --out tests/golden/data

The loss is stated as Geng et al. 2024 (2406.14548) state it, on the noise level sigma of x_0 + sigma·ε:
a pair t > r, the network's picture at both, the pseudo-Huber distance of Song & Dhariwal 2024. An
objective's picture is that of its paper at the level with this sigma/alpha. README.md describes the
file's tensors.
"""

import argparse
import math
import pathlib

import torch

import article
import formula
import make_golden
import make_objective_golden as objectives

STEPS, RUN_STEPS = 20, 60  # twenty steps of a run of sixty: stages 1 to 3
STAGES, WIDENING = 8, 8.0
SIGMA_DATA, TIMESTEPS = objectives.SIGMA_DATA, objectives.TIMESTEPS
OBJECTIVES = ("noise", "x0", "v", "flow", "edm")


def sigmas_of(objective, step, batch):
    """t of each picture, 0.03 to 9; for some, r is the picture itself. For x0 0.13 to 1.6: its output is the
    picture, and where weights are large or both outputs are nearly equal, most of their difference is bf16's
    rounding."""
    index = torch.tensor([(step * 37 + place * 251 + 11) % 1000 for place in range(batch)]).double()
    low, high = (-2, 0.5) if objective == "x0" else (-3.5, 2.2)
    return torch.exp(low + (high - low) * index / 1000)


def clearer(t, stage):
    """r of ECT's section 3.2: the gap is n(t)/2^stage of t; 0 if nothing is left of it."""
    return (t * (1 - (1 + WIDENING * torch.sigmoid(-t)) / 2**stage)).clamp(min=0)


def cell(values):
    return values.reshape(-1, 1, 1, 1)


class Schedule:
    """alpha² + sigma² = 1. Between two timesteps ln(sigma/alpha) is linear."""

    def __init__(self, objective, dtype):
        bars = torch.cumprod(1 - article.linear_beta_schedule(TIMESTEPS), dim=0)
        self.logs = ((1 - bars) / bars).log() / 2
        self.objective, self.dtype = objective, dtype
        self.least = self.logs[0].exp().item()

    def time(self, ratio):
        wanted = ratio.log()
        below = (torch.searchsorted(self.logs, wanted, right=True) - 1).clamp(0, TIMESTEPS - 2)
        low, high = self.logs[below], self.logs[below + 1]
        return below + (wanted - low) / (high - low)

    def picture(self, network, x0, eps, ratio):
        alpha = cell(1 / (1 + ratio**2).sqrt()).to(self.dtype)
        sigma = cell(ratio / (1 + ratio**2).sqrt()).to(self.dtype)
        x = alpha * x0 + sigma * eps
        answer = network(x, objectives.told(self.time(ratio), self.dtype))
        if self.objective == "x0":
            return answer
        return alpha * x - sigma * answer if self.objective == "v" else (x - sigma * answer) / alpha


class Flow:
    least = 0.001 / 0.999

    def __init__(self, objective, dtype):
        self.dtype = dtype

    def picture(self, network, x0, eps, ratio):
        times = ratio / (1 + ratio)
        t = cell(times).to(self.dtype)
        x = (1 - t) * x0 + t * eps
        return x - t * network(x, objectives.told(TIMESTEPS * times, self.dtype))


class Edm:
    least = 0.002

    def __init__(self, objective, dtype):
        self.dtype = dtype

    def picture(self, network, x0, eps, ratio):
        sigma = cell(ratio).to(self.dtype)
        total = sigma**2 + SIGMA_DATA**2
        x = x0 + sigma * eps
        answer = network(x / total.sqrt(), objectives.told(ratio.log() / 4, self.dtype))
        return SIGMA_DATA**2 / total * x + sigma * SIGMA_DATA / total.sqrt() * answer


def model_of(objective, dtype):
    return {"flow": Flow, "edm": Edm}.get(objective, Schedule)(objective, dtype)


def distance(a, b):
    """Pseudo-Huber, by Song & Dhariwal 2024: sqrt(|a-b|² + c²) - c with c = 0.00054·sqrt(d), here
    divided by sqrt(d), so that pictures of all sizes weigh the same."""
    values = a[0].numel()
    c = 0.00054 * math.sqrt(values)
    squares = ((a - b) ** 2).sum(dim=(1, 2, 3))
    return ((squares + c**2).sqrt() - c) / math.sqrt(values)


def consistency_loss(network, model, x0, eps, t, stage):
    r = clearer(t, stage)
    with torch.no_grad():
        near = model.picture(network, x0, eps, r.clamp(min=model.least)).clamp(-1, 1)
    whole = r <= model.least
    near = torch.where(cell(whole), x0, near)
    gap = (t - torch.where(whole, torch.zeros_like(r), r)).to(x0.dtype)
    return (distance(model.picture(network, x0, eps, t), near) / gap).mean()


def train(config, objective, dtype):
    network = make_golden.build(config).to(dtype)
    optimizer = article.make_optimizer(network, objectives.LR)
    model = model_of(objective, dtype)
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    losses, norms, levels, gradients = [], [], [], None
    for step in range(STEPS):
        x0 = formula.values(f"x0.{step}", shape).to(dtype)
        eps = formula.rounded(1.7 * formula.values(f"eps.{step}", shape)).to(dtype)
        levels.append(sigmas_of(objective, step, shape[0]))
        optimizer.zero_grad()
        stage = 1 + STAGES * step // RUN_STEPS
        loss = consistency_loss(network, model, x0, eps, levels[-1], stage)
        loss.backward()
        gradients = gradients or {n: p.grad.clone() for n, p in network.named_parameters()}
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), math.inf).item())
        optimizer.step()
        losses.append(loss.item())
    weights = {n: p.detach() for n, p in network.named_parameters()}
    return torch.tensor(losses), torch.tensor(norms), torch.stack(levels), gradients, weights


def main():
    parser = argparse.ArgumentParser(description="Make the golden file of distilling.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    got = torch.__version__.split("+")[0]
    if got != objectives.VERSIONS["torch"]:
        raise SystemExit(f"got torch {got}, want {objectives.VERSIONS['torch']}")
    torch.set_num_threads(1)
    formula.check_known_answers()
    _, config = make_golden.case("two", make_golden.TWO, 8, [1, 2], 3, 4, 16, 16)
    tensors, rows = {}, []
    for objective in OBJECTIVES:
        settings = objectives.run(f"{objective}.consistency", objective, drawing_steps=2)
        made = lambda config, settings, dtype: train(config, settings["objective"], dtype)
        kept, errors = objectives.make_run(config, settings, made)
        tensors |= kept
        rows.append(settings | errors)
    training = dict(steps=STEPS, run_steps=RUN_STEPS, lr=objectives.LR, timesteps=TIMESTEPS)
    training |= dict(schedule="linear", seed=objectives.SEED, min_snr_gamma=objectives.GAMMA)
    training |= dict(sigma_data=SIGMA_DATA)
    names = [name for name, _ in make_golden.build(config).named_parameters()]
    make_golden.write(
        folder,
        "consistency",
        tensors,
        config=config,
        training=training,
        parameters=names,
        chosen=objectives.CHOSEN,
        runs=rows,
    )


if __name__ == "__main__":
    main()
