"""Make recipes_*.safetensors: training with the optimizers and moving averages of recipes.

    python tests/golden/make_recipes_golden.py --out tests/golden/data

AdamW is PyTorch's; so is Muon's form of momentum (torch.optim.Muon), here in the precision of the
run, where PyTorch iterates in bf16. The power-function averages are those of EDM2's code, whose
exponents are roots of a cubic. README.md describes the files' tensors.
"""

import argparse
import math
import pathlib

import numpy
import torch

import article
import formula
import make_golden
from make_golden import ATT, TWO, case, keep, relative, rounded, values


def exponent(length):
    """gamma of a relative length, as EDM2's code finds it."""
    t = length**-2
    return numpy.roots([1, 7, 16 - t, 12 - t]).real.max()


class PowerEMA:
    def __init__(self, network, length, every):
        self.network, self.gamma, self.every = network, exponent(length), every
        self.weights = {n: p.detach().clone() for n, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, done):
        if done % self.every:
            return
        decay = max(0, 1 - self.every / (done + 1)) ** (self.gamma + 1)
        for name, p in self.network.named_parameters():
            self.weights[name].lerp_(p, 1 - decay)


def orthogonal(g):
    """Newton-Schulz: the singular values of g become about 1."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if g.shape[0] > g.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Matrices are weights flattened to [out, rest]."""

    def __init__(self, parameters, lr, weight_decay, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                g = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                scale = 0.2 * math.sqrt(max(g.shape))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * scale * orthogonal(g).reshape(p.shape))


def check_muon():
    """The same as PyTorch's, up to its rounding to bf16."""
    ours = torch.nn.Parameter(values("ours", (24, 60)).float())
    theirs = torch.nn.Parameter(ours.detach().clone())
    options = dict(lr=0.02, weight_decay=0.1)
    optimizers = (
        Muon([ours], **options),
        torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **options),
    )
    before = ours.detach().clone()
    for step in range(5):
        ours.grad = values(f"g.{step}", (24, 60)).float()
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    error = relative(ours.detach() - before, (theirs.detach() - before).double())
    if error > 0.02:
        raise SystemExit(f"our Muon is not PyTorch's: {error}")


def optimizers_of(network, run):
    """Depthwise convolutions mix no channels, so Muon does not treat their rows as a matrix."""
    named = list(network.named_parameters())
    vectors = [p for _, p in named if p.ndim < 2]
    depthwise = {
        f"{n}.weight"
        for n, m in network.named_modules()
        if isinstance(m, torch.nn.Conv2d) and m.groups > 1
    }
    muon = [p for n, p in named if p.ndim > 1 and n not in depthwise and run["optimizer"] == "muon"]
    rest = [p for _, p in named if p.ndim > 1 and not any(p is q for q in muon)]
    groups = [
        dict(params=rest, weight_decay=run["weight_decay"]),
        dict(params=vectors, weight_decay=0 if run["decay"] == "matrices" else run["weight_decay"]),
    ]
    adamw = torch.optim.AdamW(groups, lr=run["lr"], betas=(run["beta1"], run["beta2"]), eps=1e-8)
    if not muon:
        return [adamw]
    return [adamw, Muon(muon, run["lr"], run["weight_decay"])]


def learning_rate(run, done):
    if done < run["warmup"]:
        return run["lr"] * (done + 1) / run["warmup"]
    progress = (done - run["warmup"]) / (run["steps"] - run["warmup"])
    if run["lr_schedule"] == "linear":
        return run["lr"] * (1 - progress)
    return run["lr"] * (1 + math.cos(math.pi * progress)) / 2


def train(config, run, dtype):
    network = make_golden.build(config).to(dtype)
    diffusion = article.DiffusionModel(network)
    optimizers = optimizers_of(network, run)
    averages = [PowerEMA(network, run[key], run["ema_every"]) for key in ("ema_length", "ema_second")]
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    t = torch.tensor([[(k * 37 + j * 251 + 11) % 1000 for j in range(shape[0])] for k in range(run["steps"])])
    losses, norms = [], []
    for step in range(run["steps"]):
        x0 = values(f"x0.{step}", shape).to(dtype)
        eps = rounded(1.7 * values(f"eps.{step}", shape)).to(dtype)
        network.zero_grad()
        loss = diffusion.p_loss(x0, t[step], eps, "l2")
        loss.backward()
        limit = run["clip_norm"] or math.inf
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), limit).item())
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(run, step)
            optimizer.step()
        for average in averages:
            average.update(step)
        losses.append(loss.item())
    weights = {n: p.detach() for n, p in network.named_parameters()}
    return torch.tensor(losses), torch.tensor(norms), t, weights, [a.weights for a in averages]


def make_training(folder, name, network, **more):
    _, config = case(name, network, 8, [1, 2], 3, 4, 16, 16)
    run = dict(optimizer="adamw", steps=20, lr=1e-3, warmup=4, lr_schedule="linear", beta1=0.8)
    run |= dict(beta2=0.95, weight_decay=0.5, decay="matrices", clip_norm=0, ema_every=1)
    run |= dict(ema_length=0.1, ema_second=0.05)
    run |= more
    losses, norms, t, weights, averages = train(config, run, torch.float64)
    losses32, _, _, weights32, _ = train(config, run, torch.float32)
    tensors = {"losses": losses.float(), "grad_norms": norms.float(), "t": t}
    for parameter in weights:
        keep(tensors, "weight", parameter, weights[parameter], full=False)
        keep(tensors, "ema", parameter, averages[0][parameter], full=False)
        keep(tensors, "second", parameter, averages[1][parameter], full=False)
    make_golden.write(
        folder,
        f"recipes_{name}",
        tensors,
        config=config,
        run=run,
        float32_loss_error=((losses32 - losses).abs() / losses).max().item(),
        float32_worst_weight_error=max(relative(weights32[n], weights[n]) for n in weights),
    )


def main():
    parser = argparse.ArgumentParser(description="Make the golden files of recipes.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    torch.set_num_threads(1)
    formula.check_known_answers()
    check_muon()
    make_training(folder, "adamw", TWO)
    make_training(folder, "muon", TWO, optimizer="muon", clip_norm=0.5, weight_decay=0.1,
                  lr_schedule="cosine", ema_every=2, ema_length=0.2, ema_second=0.03)
    make_training(folder, "muon_att", ATT, optimizer="muon", decay="all")


if __name__ == "__main__":
    main()
