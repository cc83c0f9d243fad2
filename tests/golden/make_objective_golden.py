"""Make objectives.safetensors: twenty training steps for every objective and weight of the loss.

    python tests/golden/make_objective_golden.py --out tests/golden/data

The loss is stated as the papers state it, not as ddpm computes it: the picture that the network's
output implies is computed, and its error is weighted. README.md describes the
file's tensors.
"""

import argparse
import itertools
import math
import pathlib

import numpy as np
import torch

import article
import formula
import make_golden

VERSIONS = {"torch": "2.15.0"}
STEPS, TIMESTEPS, GAMMA, SIGMA_DATA, LR = 20, 1000, 5.0, 0.5, 3e-4
SEED, STREAM_TIMESTEP = 9, 4  # of the levels that ddpm draws itself
CHOSEN = ("init_conv.weight", "time_mlp.1.weight", "mid_block1.block.1.weight", "final_conv.weight")

OBJECTIVES = ("noise", "x0", "v", "flow", "edm")
WEIGHTS = ("none", "min-snr", "soft-min-snr")


def run(name, objective, weight="none", **options):
    return dict(name=name, objective=objective, weight=weight, options=options)


RUNS = [run(f"{o}.{w}", o, w) for o, w in itertools.product(OBJECTIVES, WEIGHTS)]
RUNS += [
    run("v.zero", "v", zero_terminal_snr=True),
    run("x0.zero.min-snr", "x0", "min-snr", zero_terminal_snr=True),
    run("v.shift", "v", shift=2.0),
    run("flow.shift", "flow", shift=2.0),
]


def zero_terminal(bars):
    """Lin et al. 2024, algorithm 1."""
    roots = bars.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    roots = (roots - last) * first / (first - last)
    return roots**2


def schedule(options):
    """ᾱ of the linear schedule. A shift of S is the schedule for pictures S times as large: SNR/S²."""
    bars = torch.cumprod(1 - article.linear_beta_schedule(TIMESTEPS), dim=0)
    if options.get("zero_terminal_snr"):
        bars = zero_terminal(bars)
    snr = bars / (1 - bars) / options.get("shift", 1.0) ** 2
    return snr / (1 + snr)


def drawn_times(step, batch, shift):
    """flow: the t that ddpm draws, from (seed, step, place); the shift is that of Esser et al. 2024,
    equation 23."""
    bits = [formula.philox(SEED, [0], place, step, STREAM_TIMESTEP)[0, 0] for place in range(batch)]
    t = formula.uniform(np.array(bits))
    return torch.from_numpy(shift * t / (1 + (shift - 1) * t))


def levels_of(settings, step, batch):
    """What the step is given: timesteps of a schedule, flow's t or edm's sigma; float64 [B]."""
    index = torch.tensor([(step * 37 + place * 251 + 11) % 1000 for place in range(batch)])
    objective, options = settings["objective"], settings["options"]
    if objective == "flow":
        if "shift" in options:
            return drawn_times(step, batch, options["shift"])
        return (index.double() + 0.5) / 1000
    if objective == "edm":
        return torch.exp(-1.2 + 2.4 * (index.double() / 500 - 1))
    if options.get("zero_terminal_snr") and step % 5 == 0:
        index[0] = TIMESTEPS - 1
    return index.double()


def weigh(weight, snr):
    """Of the error of x_0. Hang et al. 2023; the soft form is that of Crowson et al. 2024."""
    return snr.clamp(max=GAMMA) if weight == "min-snr" else GAMMA * snr / (GAMMA + snr)


def mean_of_pictures(error):
    return (error**2).mean(dim=(1, 2, 3))


def told(time, dtype):
    """The network gets its time as a float32."""
    return time.float().to(dtype)


class Schedule:
    """alpha² + sigma² = 1. Ho et al. 2020, equations 4 and 14; Salimans & Ho 2022, appendix D."""

    def __init__(self, settings, dtype):
        self.objective, self.weight = settings["objective"], settings["weight"]
        self.bars, self.dtype = schedule(settings["options"]), dtype

    def loss(self, network, x0, eps, t):
        bars = self.bars[t.long()].reshape(-1, 1, 1, 1)
        alpha, sigma = bars.sqrt().to(self.dtype), (1 - bars).sqrt().to(self.dtype)
        x = alpha * x0 + sigma * eps
        answer = network(x, told(t, self.dtype))
        target = {"noise": lambda: eps, "x0": lambda: x0, "v": lambda: alpha * eps - sigma * x0}
        if self.weight == "none":
            return mean_of_pictures(answer - target[self.objective]()).mean()
        picture = {
            "noise": lambda: (x - sigma * answer) / alpha,
            "x0": lambda: answer,
            "v": lambda: alpha * x - sigma * answer,
        }[self.objective]()
        snr = (bars / (1 - bars)).reshape(-1).to(self.dtype)
        return (weigh(self.weight, snr) * mean_of_pictures(picture - x0)).mean()


class Flow:
    """Liu et al. 2022, equation 1, with t = 1 at the noise."""

    def __init__(self, settings, dtype):
        self.weight, self.dtype = settings["weight"], dtype

    def loss(self, network, x0, eps, times):
        t = times.reshape(-1, 1, 1, 1).to(self.dtype)
        x = (1 - t) * x0 + t * eps
        velocity = network(x, told(TIMESTEPS * times, self.dtype))
        if self.weight == "none":
            return mean_of_pictures((eps - x0) - velocity).mean()
        picture = x - t * velocity  # back along the straight line
        snr = ((1 - times) ** 2 / times**2).to(self.dtype)
        return (weigh(self.weight, snr) * mean_of_pictures(picture - x0)).mean()


class Edm:
    """Karras et al. 2022, table 1 and equation 7."""

    def __init__(self, settings, dtype):
        self.weight, self.dtype = settings["weight"], dtype

    def loss(self, network, x0, eps, sigmas):
        sigma = sigmas.reshape(-1, 1, 1, 1).to(self.dtype)
        total = sigma**2 + SIGMA_DATA**2
        c_skip, c_out, c_in = SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total.sqrt(), total**-0.5
        x = x0 + sigma * eps
        noise = told(sigmas.log() / 4, self.dtype)
        picture = c_skip * x + c_out * network(c_in * x, noise)
        own = (total / (sigma * SIGMA_DATA) ** 2).reshape(-1)  # λ(σ)
        snr = (sigmas**-2).to(self.dtype)
        weight = own if self.weight == "none" else weigh(self.weight, snr)
        return (weight * mean_of_pictures(picture - x0)).mean()


LOSSES = dict(noise=Schedule, x0=Schedule, v=Schedule, flow=Flow, edm=Edm)


def train(config, settings, dtype):
    network = make_golden.build(config).to(dtype)
    optimizer = article.make_optimizer(network, LR)
    objective = LOSSES[settings["objective"]](settings, dtype)
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    losses, norms, levels, gradients = [], [], [], None
    for step in range(STEPS):
        x0 = formula.values(f"x0.{step}", shape).to(dtype)
        eps = formula.rounded(1.7 * formula.values(f"eps.{step}", shape)).to(dtype)
        levels.append(levels_of(settings, step, shape[0]))
        optimizer.zero_grad()
        loss = objective.loss(network, x0, eps, levels[-1])
        loss.backward()
        gradients = gradients or {n: p.grad.clone() for n, p in network.named_parameters()}
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), math.inf).item())
        optimizer.step()
        losses.append(loss.item())
    weights = {n: p.detach() for n, p in network.named_parameters()}
    return torch.tensor(losses), torch.tensor(norms), torch.stack(levels), gradients, weights


def summary(values):
    """[parameters, 2]: norm and probe of each, as make_golden.keep has them."""
    probes = {n: (x * formula.values("probe:" + n, x.shape)).sum() for n, x in values.items()}
    return torch.tensor([[x.norm().item(), probes[n].item()] for n, x in values.items()]).float()


def make_run(config, settings, train=train):
    """The tensors of one run, and how far PyTorch's float32 is from them."""
    losses, norms, levels, gradients, weights = train(config, settings, torch.float64)
    losses32, norms32, _, gradients32, weights32 = train(config, settings, torch.float32)
    name = settings["name"]
    tensors = {
        f"{name}.levels": levels,
        f"{name}.losses": losses.float(),
        f"{name}.grad_norms": norms.float(),
        f"{name}.gradient_summary": summary(gradients),
        f"{name}.weight_summary": summary(weights),
    }
    for parameter in CHOSEN:
        make_golden.keep(tensors, f"{name}.gradient", parameter, gradients[parameter], full=False)
        make_golden.keep(tensors, f"{name}.weight", parameter, weights[parameter], full=False)
    worst = lambda got, want: max(make_golden.relative(got[n], want[n]) for n in want)
    errors = dict(
        float32_loss=((losses32 - losses).abs() / losses).max().item(),
        float32_norm=((norms32 - norms).abs() / norms).max().item(),
        float32_gradient=worst(gradients32, gradients),
        float32_weight=worst(weights32, weights),
    )
    print(name, {key: f"{value:.1e}" for key, value in errors.items()})
    return tensors, errors


def lucidrains_weights():
    """loss_weight of denoising_diffusion_pytorch.GaussianDiffusion (2.3.4, min_snr_loss_weight) by
    its formulas, from our ᾱ: its cosine schedule clips the last β elsewhere."""
    tensors = {}
    for name, make in (("linear", article.linear_beta_schedule), ("cosine", article.cosine_beta_schedule)):
        bars = torch.cumprod(1 - make(TIMESTEPS), dim=0)
        snr = bars / (1 - bars)
        clipped_snr = snr.clamp(max=GAMMA)
        tensors[f"weights.{name}.noise"] = (clipped_snr / snr).float()
        tensors[f"weights.{name}.x0"] = clipped_snr.float()
        tensors[f"weights.{name}.v"] = (clipped_snr / (snr + 1)).float()
    return tensors


def main():
    parser = argparse.ArgumentParser(description="Make the golden file of the objectives.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    got = torch.__version__.split("+")[0]
    if got != VERSIONS["torch"]:
        raise SystemExit(f"got torch {got}, want {VERSIONS['torch']}")
    torch.set_num_threads(1)
    formula.check_known_answers()
    _, config = make_golden.case("two", make_golden.TWO, 8, [1, 2], 3, 4, 16, 16)
    tensors, rows = lucidrains_weights(), []
    for settings in RUNS:
        kept, errors = make_run(config, settings)
        tensors |= kept
        rows.append(settings | errors)
    training = dict(steps=STEPS, lr=LR, timesteps=TIMESTEPS, schedule="linear", seed=SEED)
    training |= dict(min_snr_gamma=GAMMA, sigma_data=SIGMA_DATA)
    names = [name for name, _ in make_golden.build(config).named_parameters()]
    make_golden.write(
        folder,
        "objectives",
        tensors,
        config=config,
        training=training,
        parameters=names,
        chosen=CHOSEN,
        runs=rows,
    )


if __name__ == "__main__":
    main()
