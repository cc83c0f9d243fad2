"""Make uncertainty.safetensors: twenty training steps of every objective with learned weights.

    python tests/golden/make_uncertainty_golden.py --out tests/golden/data

The loss of a picture is L/exp(u) + u (Karras et al. 2024, section 2.2, after Kendall et al. 2018),
and u is a linear layer on Fourier features of the level ln(sigma/alpha). What is reported is the
mean of L. README.md describes the file's tensors.
"""

import argparse
import math
import pathlib

import torch

import article
import formula
import make_golden
import make_objective_golden as objectives

STEPS, TIMESTEPS, LR = objectives.STEPS, objectives.TIMESTEPS, objectives.LR
FEATURES, LOWEST = 32, 16


class Uncertainty(torch.nn.Module):
    """Half of the features are sines, half cosines; their periods in ln(sigma/alpha) are 2 to 32."""

    def __init__(self):
        super().__init__()
        self.uncertainty = torch.nn.Linear(FEATURES, 1)
        half = FEATURES // 2
        self.frequencies = LOWEST ** (-torch.arange(half).double() / (half - 1))

    def forward(self, logs):
        dtype = self.uncertainty.weight.dtype
        phases = (math.pi * logs.clamp(-12, 12)).float().double()  # told as a float32
        phases = phases[:, None] * self.frequencies
        return self.uncertainty(torch.cat([phases.sin(), phases.cos()], dim=1).to(dtype)).squeeze(1)


def plain(settings):
    """Schedule.loss and its like give the batch's mean; of one picture that is its own loss."""
    return settings | dict(weight="none")


def log_ratio(settings, levels):
    """ln(sigma/alpha) of the step's levels."""
    if settings["objective"] == "flow":
        return (levels / (1 - levels)).log()
    if settings["objective"] == "edm":
        return levels.log()
    bars = objectives.schedule(settings["options"])[levels.long()]
    return ((1 - bars) / bars).log() / 2


def train(config, settings, dtype):
    network = make_golden.build(config).to(dtype)
    weights = Uncertainty()
    weights.double()
    formula.fill_weights(weights)
    weights = weights.to(dtype)
    both = torch.nn.ModuleList([network, weights])
    optimizer = article.make_optimizer(both, LR)
    objective = objectives.LOSSES[settings["objective"]](plain(settings), dtype)
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    named = dict(network.named_parameters()) | dict(weights.named_parameters())
    losses, norms, all_levels, gradients = [], [], [], None
    for step in range(STEPS):
        x0 = formula.values(f"x0.{step}", shape).to(dtype)
        eps = formula.rounded(1.7 * formula.values(f"eps.{step}", shape)).to(dtype)
        levels = objectives.levels_of(settings, step, shape[0])
        optimizer.zero_grad()
        each = torch.stack([objective.loss(network, x0[[b]], eps[[b]], levels[[b]]) for b in range(shape[0])])
        u = weights(log_ratio(settings, levels))
        (each / u.exp() + u).mean().backward()
        gradients = gradients or {n: p.grad.clone() for n, p in named.items()}
        norms.append(torch.nn.utils.clip_grad_norm_(both.parameters(), math.inf).item())
        optimizer.step()
        losses.append(each.mean().item())
        all_levels.append(levels)
    trained = {n: p.detach() for n, p in named.items()}
    return torch.tensor(losses), torch.tensor(norms), torch.stack(all_levels), gradients, trained


def main():
    parser = argparse.ArgumentParser(description="Make the golden file of learned weights.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    torch.set_num_threads(1)
    formula.check_known_answers()
    _, config = make_golden.case("two", make_golden.TWO, 8, [1, 2], 3, 4, 16, 16)
    tensors, rows = {}, []
    for objective in objectives.OBJECTIVES:
        settings = objectives.run(objective, objective, "uncertainty")
        kept, errors = objectives.make_run(config, settings, train)
        tensors |= kept
        rows.append(settings | errors)
    training = dict(steps=STEPS, lr=LR, timesteps=TIMESTEPS, schedule="linear", seed=objectives.SEED)
    training |= dict(min_snr_gamma=objectives.GAMMA, sigma_data=objectives.SIGMA_DATA)
    names = [name for name, _ in make_golden.build(config).named_parameters()]
    names += [name for name, _ in Uncertainty().named_parameters()]
    chosen = objectives.CHOSEN
    make_golden.write(
        folder, "uncertainty", tensors, config=config, training=training, parameters=names,
        chosen=chosen, runs=rows,
    )


if __name__ == "__main__":
    main()
