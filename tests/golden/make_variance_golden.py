"""Make variance_*.safetensors: training and drawing with a learned variance (Nichol & Dhariwal 2021).

    python tests/golden/make_variance_golden.py --out tests/golden/data

The loss is the paper's L_hybrid as its authors' code has it (RESCALED_MSE, LEARNED_RANGE), written down
here with both means; ddpm uses only their difference. The chains come from diffusers' DDPMScheduler. README.md
describes the files' tensors.
"""

import argparse
import math
import pathlib

import diffusers
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.schedulers import scheduling_ddpm

import article
import formula
import make_golden
import make_sampler_golden
from make_golden import case, keep, relative, rounded, values


class Schedule:
    """In float64: the tables of q(x_{t-1} | x_t, x_0)."""

    def __init__(self, schedule, timesteps):
        self.betas = article.SCHEDULES[schedule](timesteps)
        self.bars = torch.cumprod(1 - self.betas, dim=0)
        before = F.pad(self.bars[:-1], (1, 0), value=1.0)
        variance = self.betas * (1 - before) / (1 - self.bars)
        self.log_variance = torch.log(torch.cat((variance[1:2], variance[1:])))
        self.mean_x0 = self.betas * before.sqrt() / (1 - self.bars)
        self.mean_xt = (1 - self.betas).sqrt() * (1 - before) / (1 - self.bars)

    def posterior_mean(self, x0, xt, t):
        return at(self.mean_x0, t) * x0 + at(self.mean_xt, t) * xt


def at(table, t):
    return table[t].reshape(-1, 1, 1, 1)


def normal_kl(mean1, log1, mean2, log2):
    return (-1 + log2 - log1 + torch.exp(log1 - log2) + (mean1 - mean2) ** 2 * torch.exp(-log2)) / 2


def cdf(u):
    return (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))) / 2


def decoder_nll(x, mean, log_variance):
    """-ln of the probability of an 8-bit value in [-1,1]; the outermost bins are open."""
    scale = torch.exp(-log_variance / 2)
    above = cdf(scale * (x - mean + 1 / 255))
    below = cdf(scale * (x - mean - 1 / 255))
    inside = torch.log((above - below).clamp_min(1e-12))
    black, white = torch.log(above.clamp_min(1e-12)), torch.log((1 - below).clamp_min(1e-12))
    return -torch.where(x < -0.999, black, torch.where(x > 0.999, white, inside))


def variational_bound(s, answer, x0, xt, t):
    """Bits per dimension of each picture."""
    predicted, v = answer.chunk(2, dim=1)
    lowest, highest = at(s.log_variance, t), at(torch.log(s.betas), t)
    log_variance = (v + 1) / 2 * highest + (1 - (v + 1) / 2) * lowest
    bar = at(s.bars, t)
    predicted_x0 = torch.sqrt(1 / bar) * xt - torch.sqrt(1 / bar - 1) * predicted
    mean = s.posterior_mean(predicted_x0, xt, t)
    kl = normal_kl(s.posterior_mean(x0, xt, t), lowest, mean, log_variance)
    nll = decoder_nll(x0, mean, log_variance)
    return torch.where(t == 0, nll.mean((1, 2, 3)), kl.mean((1, 2, 3))) / math.log(2)


def hybrid_loss(s, answer, x0, eps, xt, t, weighting):
    predicted, v = answer.chunk(2, dim=1)
    simple = ((predicted - eps) ** 2).mean((1, 2, 3))
    if weighting == "min-snr":  # of the simple loss alone
        snr = s.bars[t] / (1 - s.bars[t])
        simple = simple * snr.clamp_max(5) / snr
    frozen = torch.cat((predicted.detach(), v), dim=1)
    bound = variational_bound(s, frozen, x0, xt, t)
    return (simple + bound * len(s.betas) / 1000).mean()


def picture(name, shape):
    """Some values at the very ends, as in pictures."""
    return rounded(1.1 * values(name, shape)).clamp(-1, 1)


def train(config, run, dtype):
    network = make_golden.build(config).to(dtype)
    optimizer = article.make_optimizer(network, run["lr"])
    ema = article.EMA(network, update_every=run["ema_every"], update_after=run["ema_after"])
    s = Schedule(run["schedule"], run["timesteps"])
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    count = run["steps"] * run["accumulate"]
    t = torch.tensor([[(k * 37 + j * 251) % run["timesteps"] for j in range(4)] for k in range(count)])
    t[1::3, 2] = 0
    losses, norms, micro, first = [], [], 0, None
    for name in vars(s):
        setattr(s, name, getattr(s, name).to(dtype))
    for _ in range(run["steps"]):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(run["accumulate"]):
            x0 = picture(f"x0.{micro}", shape).to(dtype)
            eps = rounded(1.7 * values(f"eps.{micro}", shape)).to(dtype)
            bar = at(s.bars, t[micro])
            xt = bar.sqrt() * x0 + (1 - bar).sqrt() * eps
            answer = network(xt, t[micro])
            loss = hybrid_loss(s, answer, x0, eps, xt, t[micro], run["loss_weight"])
            loss = loss / run["accumulate"]
            loss.backward()
            total += loss.item()
            micro += 1
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), math.inf).item())
        first = first or {n: p.grad.clone() for n, p in network.named_parameters()}
        optimizer.step()
        ema.update()
        losses.append(total)
    weights = {n: p.detach() for n, p in network.named_parameters()}
    return torch.tensor(losses), torch.tensor(norms), t, first, weights, ema.weights


def make_training(folder, name, network, **more):
    _, config = case(name, network, 8, [1, 2], 3, 4, 16, 16, out_dim=6)
    run = dict(steps=20, lr=1e-3, accumulate=1, ema_every=2, ema_after=4)
    run |= dict(schedule="linear", timesteps=1000, loss_weight="none") | more
    losses, norms, t, gradients, weights, ema = train(config, run, torch.float64)
    losses32, _, _, gradients32, weights32, _ = train(config, run, torch.float32)
    tensors = {"losses": losses.float(), "grad_norms": norms.float(), "t": t}
    for parameter in weights:
        keep(tensors, "grad", parameter, gradients[parameter], full=False)
        keep(tensors, "weight", parameter, weights[parameter], full=False)
        keep(tensors, "ema", parameter, ema[parameter], full=False)
    make_golden.write(
        folder,
        f"variance_{name}",
        tensors,
        config=config,
        run=run,
        float32_loss_error=((losses32 - losses).abs() / losses).max().item(),
        float32_worst_gradient_error=max(relative(gradients32[n], gradients[n]) for n in weights),
        float32_worst_weight_error=max(relative(weights32[n], weights[n]) for n in weights),
    )


CHAINS = ((1000, True), (1000, False), (25, True), (25, False))
KEPT = {1000: (1, 100, 500, 900, 990, 1000), 25: (2, 13, 25)}


@torch.no_grad()
def chain(network, config, steps, clip):
    times = make_sampler_golden.PATH.times("linspace", steps, whole=True)
    drawing = make_sampler_golden.Drawing(network, config, steps, clip)
    scheduler = DDPMScheduler(
        make_sampler_golden.TIMESTEPS, clip_sample=clip, variance_type="learned_range"
    )
    make_sampler_golden.as_float64(scheduler).set_timesteps(timesteps=[int(t) for t in times])
    x, kept = drawing.x, {}
    for i, t in enumerate(scheduler.timesteps):
        scheduling_ddpm.randn_tensor = lambda *_, turn=i, **__: drawing.noise(turn)
        x = scheduler.step(drawing.epsilon(x, t.item()), t, x).prev_sample
        if i + 1 in KEPT[steps]:
            kept[i + 1] = x.float()
    if not torch.isfinite(x).all():
        raise AssertionError(f"the chain of {steps} steps is not finite")
    return kept


def make_chains(folder):
    _, config = case("square", make_golden.TWO, 8, [1, 2], 3, 2, 8, 8, out_dim=6)
    network = make_golden.build(config)
    with torch.no_grad():  # else v follows x, x follows v, and no chain stays finite
        network.final_conv.weight[3:] /= 16
        network.final_conv.bias[3:] /= 16
    rows, tensors = [], {}
    for steps, clip in CHAINS:
        name = f"{steps}.{'clip' if clip else 'open'}"
        kept = chain(network, config, steps, clip)
        tensors |= {f"{name}.{i}": x for i, x in kept.items()}
        rows.append(dict(name=name, steps=steps, clip=clip))
    run = dict(timesteps=make_sampler_golden.TIMESTEPS, seed=make_sampler_golden.SEED)
    make_golden.write(folder, "variance_chains", tensors, config=config, run=run, chains=rows)


def main():
    parser = argparse.ArgumentParser(description="Make the golden files of the learned variance.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    for module in (torch, diffusers):
        got, want = module.__version__.split("+")[0], make_sampler_golden.VERSIONS[module.__name__]
        if got != want:
            raise SystemExit(f"got {module.__name__} {got}, want {want}")
    torch.set_num_threads(1)
    formula.check_known_answers()
    make_training(folder, "two", make_golden.TWO)
    weighed = dict(schedule="cosine", timesteps=100, loss_weight="min-snr")
    make_training(folder, "att", make_golden.ATT, steps=5, accumulate=2, **weighed)
    make_chains(folder)


if __name__ == "__main__":
    main()
