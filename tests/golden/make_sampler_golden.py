"""Make samplers.safetensors: chains of few steps as diffusers' schedulers, or the papers, draw them.

    python tests/golden/make_sampler_golden.py --out tests/golden/data

Both sides are given the same levels and t, since diffusers' schedulers disagree among themselves
about spacing: the multistep schedulers' `sigmas` and `timesteps` are overwritten. README.md
describes the file's tensors.
"""

import argparse
import itertools
import math
import pathlib

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.schedulers import scheduling_ddpm

import article
import formula
import make_golden

VERSIONS = {"torch": "2.15.0", "diffusers": "0.42.1"}
SEED, TIMESTEPS = 7, 1000
STEPS = (5, 10, 20, 37)


def chain(name, sampler, spacing, **more):
    settings = dict(eta=0.0, order=0, churn=0.0, churn_min=0.0, churn_max=0.0, churn_noise=0.0)
    return dict(name=name, sampler=sampler, spacing=spacing) | settings | more


CHURN = dict(churn=10.0, churn_min=0.1, churn_max=50.0, churn_noise=1.007)
CHAINS = [
    chain("ancestral", "ancestral", "linspace"),
    chain("ddim", "ddim", "leading"),
    chain("ddim_eta", "ddim", "leading", eta=0.5),
    chain("heun", "heun", "trailing"),
    chain("heun_churn", "heun", "trailing", **CHURN),
    chain("dpmpp", "dpmpp", "karras"),
    chain("dpmpp_sde", "dpmpp-sde", "leading"),
    chain("unipc_2", "unipc", "trailing", order=2),
    chain("unipc_3", "unipc", "exponential", order=3),
]


class Path:
    """The linear schedule in float64, between its timesteps linear in ln(sigma/alpha)."""

    def __init__(self):
        self.bars = torch.cumprod(1 - article.linear_beta_schedule(TIMESTEPS), dim=0).numpy()
        self.logs = (np.log1p(-self.bars) - np.log(self.bars)) / 2

    def ratio(self, t):
        return math.exp(np.interp(t, np.arange(TIMESTEPS), self.logs))

    def time(self, ratio):
        return float(np.interp(math.log(ratio), self.logs, np.arange(TIMESTEPS)))

    def times(self, spacing, steps, whole):
        i, last = np.arange(steps), TIMESTEPS - 1
        if spacing in ("leading", "trailing"):
            long = np.arange(steps) * TIMESTEPS / steps
            times = long[::-1] if spacing == "leading" else last - long
        elif spacing == "linspace":
            times = last * (steps - 1 - i) / (steps - 1)
        else:
            power = {"karras": 7, "exponential": None}[spacing]
            high, low = self.ratio(last), self.ratio(0)
            if power:
                first, end = high ** (1 / power), low ** (1 / power)
                ratios = (first + i / (steps - 1) * (end - first)) ** power
            else:
                ratios = high * (low / high) ** (i / (steps - 1))
            times = np.array([float(last), *(self.time(r) for r in ratios[1:-1]), 0.0])
        return self.whole(times) if whole else [float(t) for t in times]

    @staticmethod
    def whole(times):
        result, before = [], TIMESTEPS
        for i, t in enumerate(times):
            before = max(min(math.floor(t + 0.5), before - 1), len(times) - 1 - i)
            result.append(float(before))
        return result


PATH = Path()


class Drawing:
    """One chain: the network, the noise of each turn by the number of turns left, and what is kept."""

    def __init__(self, network, config, turns, clip):
        self.network, self.clip, self.turns = network, clip, turns
        self.shape = (config["channels"], config["height"], config["width"])
        self.batch = range(config["batch"])
        self.x = self.normal(formula.STREAM_SAMPLE_INIT, 0)

    def normal(self, stream, step):
        pictures = [formula.normal_picture(*self.shape, SEED, stream, step, k) for k in self.batch]
        return torch.stack(pictures)

    def noise(self, turn):
        return self.normal(formula.STREAM_SAMPLE_STEP, self.turns - 1 - turn)

    def epsilon(self, x, t):
        """The network's output at t, which it gets as a float32."""
        time = torch.full((x.shape[0],), t).float().double()
        return self.network(x, time)

    def data(self, x, ratio, t):
        alpha = 1 / math.sqrt(1 + ratio**2)
        x0 = (x - ratio * alpha * self.epsilon(x, t)) / alpha
        return x0.clamp(-1, 1) if self.clip else x0


def as_float64(scheduler):
    """diffusers keeps its schedule in float32; these are the numbers it should have had."""
    scheduler.alphas_cumprod = torch.from_numpy(PATH.bars)
    return scheduler


def multistep(drawing, times, kind, **options):
    scheduler = kind(
        num_train_timesteps=TIMESTEPS,
        final_sigmas_type="zero",
        thresholding=drawing.clip,
        sample_max_value=1,
        **options,
    )
    scheduler.set_timesteps(len(times))
    scheduler.sigmas = torch.tensor([*(PATH.ratio(t) for t in times), 0.0], dtype=torch.float64)
    scheduler.timesteps = torch.tensor(times, dtype=torch.float64)
    scheduler.set_begin_index(0)
    x = drawing.x
    for i, t in enumerate(scheduler.timesteps):
        noise = {}
        if options.get("algorithm_type") == "sde-dpmsolver++":
            noise["variance_noise"] = drawing.noise(i)
        x = scheduler.step(drawing.epsilon(x, t.item()), t, x, **noise).prev_sample.double()
        yield x


def dpmpp(drawing, times, settings):
    sde = settings["sampler"] == "dpmpp-sde"
    kind = "sde-dpmsolver++" if sde else "dpmsolver++"
    return multistep(drawing, times, DPMSolverMultistepScheduler, algorithm_type=kind)


def unipc(drawing, times, settings):
    return multistep(drawing, times, UniPCMultistepScheduler, solver_order=settings["order"])


def ancestral(drawing, times, settings):
    scheduler = as_float64(DDPMScheduler(TIMESTEPS, clip_sample=drawing.clip))
    scheduler.set_timesteps(timesteps=[int(t) for t in times])
    x = drawing.x
    for i, t in enumerate(scheduler.timesteps):
        scheduling_ddpm.randn_tensor = lambda *_, turn=i, **__: drawing.noise(turn)
        x = scheduler.step(drawing.epsilon(x, t.item()), t, x).prev_sample
        yield x


def ddim(drawing, times, settings):
    if settings["spacing"] == "leading" and TIMESTEPS % len(times) == 0:
        return ddim_of_diffusers(drawing, times, settings["eta"])
    return ddim_of_the_paper(drawing, times, settings["eta"])


def ddim_of_diffusers(drawing, times, eta):
    scheduler = as_float64(DDIMScheduler(TIMESTEPS, clip_sample=drawing.clip))
    scheduler.set_timesteps(len(times))
    assert scheduler.timesteps.tolist() == times, "leading spacing is another one"
    x = drawing.x
    for i, t in enumerate(scheduler.timesteps):
        noise = dict(eta=eta, variance_noise=drawing.noise(i), use_clipped_model_output=True)
        x = scheduler.step(drawing.epsilon(x, t.item()), t, x, **noise).prev_sample
        yield x


def ddim_of_the_paper(drawing, times, eta):
    """Song et al. 2021, equations 12 and 16; their α is ᾱ."""
    x = drawing.x
    bars = [1 / (1 + PATH.ratio(t) ** 2) for t in times] + [1.0]
    for i, (t, bar, before) in enumerate(zip(times, bars[:-1], bars[1:])):
        x0 = drawing.data(x, PATH.ratio(t), t)
        epsilon = (x - math.sqrt(bar) * x0) / math.sqrt(1 - bar)
        sigma = eta * math.sqrt((1 - before) / (1 - bar)) * math.sqrt(1 - bar / before)
        x = math.sqrt(before) * x0 + math.sqrt(1 - before - sigma**2) * epsilon
        x = x + sigma * drawing.noise(i)
        yield x


def churned(ratio, settings, steps):
    """Algorithm 2, lines 4 and 5: the raised level, or the same; never beyond the schedule."""
    within = settings["churn_min"] <= ratio <= (settings["churn_max"] or math.inf)
    gamma = min(settings["churn"] / steps, math.sqrt(2) - 1) if within else 0
    return max(ratio, min(ratio * (1 + gamma), PATH.ratio(TIMESTEPS - 1)))


def heun(drawing, times, settings):
    """Karras et al. 2022, algorithm 2 (with no churn: 1). Their x is x/alpha, their t is sigma/alpha."""
    levels = [*(PATH.ratio(t) for t in times), 0.0]
    scale = lambda ratio: 1 / math.sqrt(1 + ratio**2)
    derivative = lambda x, t: (x - drawing.data(scale(t) * x, t, PATH.time(t))) / t
    x, turn = drawing.x / scale(levels[0]), 0
    for t, t_next in zip(levels[:-1], levels[1:]):
        t_hat = churned(t, settings, len(times))
        if t_hat > t:
            deviation = math.sqrt(t_hat**2 - t**2) * (settings["churn_noise"] or 1)
            x = x + deviation * drawing.noise(turn)
            turn += 1
        d = derivative(x, t_hat)
        x_next = x + (t_next - t_hat) * d
        turn += 1
        if t_next > 0:
            x_next = x + (t_next - t_hat) * (d / 2 + derivative(x_next, t_next) / 2)
            turn += 1
        x = x_next
        yield scale(t_next) * x
    assert turn == drawing.turns, (turn, drawing.turns)


SAMPLERS = dict(ancestral=ancestral, ddim=ddim, heun=heun, dpmpp=dpmpp, unipc=unipc)
SAMPLERS["dpmpp-sde"] = dpmpp


def count_turns(settings, times):
    if settings["sampler"] != "heun":
        return len(times)
    ratios = [PATH.ratio(t) for t in times]
    return 2 * len(times) - 1 + sum(churned(r, settings, len(times)) > r for r in ratios)


@torch.no_grad()
def draw(network, config, settings, steps, clip):
    """The chain's settings with its levels, and x after a first part, about half and all steps."""
    whole = settings["sampler"] == "ancestral"
    times = PATH.times(settings["spacing"], steps, whole)
    drawing = Drawing(network, config, count_turns(settings, times), clip)
    chain = list(SAMPLERS[settings["sampler"]](drawing, times, settings))
    if len(chain) != steps or not torch.isfinite(chain[-1]).all():
        raise AssertionError(f"{settings['name']}: {len(chain)} of {steps} steps, or not finite")
    name = f"{settings['name']}.{steps}.{'clip' if clip else 'open'}"
    kept = {f"{name}.{i}": chain[i - 1].float() for i in (2, (steps + 1) // 2, steps)}
    return settings | dict(name=name, clip=clip, times=times), kept


def main():
    parser = argparse.ArgumentParser(description="Make the golden file of the samplers.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    for module in (torch, diffusers):
        got, want = module.__version__.split("+")[0], VERSIONS[module.__name__]
        if got != want:
            raise SystemExit(f"got {module.__name__} {got}, want {want}")
    torch.set_num_threads(1)
    formula.check_known_answers()
    _, config = make_golden.case("square", make_golden.TWO, 8, [1, 2], 3, 2, 8, 8)
    network = make_golden.build(config)
    rows, tensors = [], {}
    for settings, steps, clip in itertools.product(CHAINS, STEPS, (True, False)):
        row, kept = draw(network, config, settings, steps, clip)
        rows.append(row)
        tensors |= kept
    run = dict(schedule="linear", timesteps=TIMESTEPS, seed=SEED)
    make_golden.write(folder, "samplers", tensors, config=config, run=run, chains=rows)


if __name__ == "__main__":
    main()
