"""Make the golden files: what PyTorch computes, in float64, for networks, tables, training, chains.

    python tests/golden/make_golden.py --out tests/golden/data

README.md beside this file describes every file's tensors. Weights, pictures and noise are not
stored: they follow from formula.py.
"""

import argparse
import json
import math
import pathlib

import torch
from safetensors.torch import save_file

import article
import formula
from formula import rounded, values

SAMPLE_LIMIT = 64  # elements kept of a sampled parameter
FULL_LIMIT = 40_000  # a file whose network has at most this many parameters keeps every element


def case(name, network, dim, mults, channels, batch, height, width, **more):
    config = dict(
        network=network, dim=dim, init_dim=dim, out_dim=channels, dim_mults=mults, channels=channels
    )
    config |= dict(theta=10000, mult=2, norm=True, batch=batch, height=height, width=width)
    return name, config | more


ONE, TWO, ATT = "OneResUNet", "TwoResUNet", "AttentionUNet"
CASES = [
    case("one_8_1", ONE, 8, [1], 1, 3, 8, 12),
    case("one_12_2", ONE, 12, [1, 2], 3, 2, 16, 8),
    case("one_8_3", ONE, 8, [1, 2, 4], 3, 1, 8, 12),
    case("one_12_4", ONE, 12, [1, 2, 2, 3], 1, 2, 16, 8),
    case("two_12_1", TWO, 12, [1], 3, 3, 5, 7),
    case("two_8_2", TWO, 8, [1, 3], 1, 2, 12, 10),
    case("two_12_3", TWO, 12, [1, 2, 4], 3, 1, 12, 8),
    case("two_8_4", TWO, 8, [1, 2, 4, 8], 3, 3, 16, 24),
    case("att_8_1", ATT, 8, [1], 1, 3, 9, 6),
    case("att_12_2", ATT, 12, [1, 2], 3, 2, 8, 12),
    case("att_8_3", ATT, 8, [1, 2, 4], 4, 3, 16, 8),
    case("att_12_4", ATT, 12, [1, 2, 4, 8], 3, 1, 16, 8),
    case("two_8_widths", TWO, 8, [1, 2], 3, 2, 8, 6, init_dim=12, out_dim=6),
    case("two_8_nonorm", TWO, 8, [1, 2], 3, 2, 6, 8, norm=False),
    case("one_8_mult", ONE, 8, [2, 1], 3, 2, 8, 6, mult=3, theta=100),
    case("att_12_widths", ATT, 12, [1, 2], 3, 3, 4, 10, init_dim=8, out_dim=1),
]
TIMES = [0, 999, 500, 17, 250, 3]

TABLES = [
    ("linear_1000", "linear", 1000, {}),
    ("linear_100", "linear", 100, {}),
    ("linear_21", "linear", 21, {}),  # at T = 20 the last beta is 1
    ("cosine_1000", "cosine", 1000, {}),
    ("cosine_100", "cosine", 100, {}),
    ("cosine_100_s", "cosine", 100, {"s": 0.05}),
    ("sigmoid_1000", "sigmoid", 1000, {}),
    ("sigmoid_100", "sigmoid", 100, {}),
    ("sigmoid_100_kw", "sigmoid", 100, {"start": -2, "end": 4, "tau": 0.7}),
]


def build(config):
    keys = ("dim", "init_dim", "out_dim", "dim_mults", "channels", "theta", "mult", "norm")
    network = article.NETWORKS[config["network"]](**{key: config[key] for key in keys}).double()
    formula.fill_weights(network)
    return network


def stride_of(count):
    """1 up to 64 elements, else from ceil(count/64) up the first without factors 2, 3, 5, 7."""
    stride = math.ceil(count / SAMPLE_LIMIT)
    while stride > 1 and math.gcd(stride, 2 * 3 * 5 * 7) > 1:
        stride += 1
    return stride


def keep(tensors, kind, name, x, full):
    """kind.NAME = elements 0, s, 2s, … ; kind_stat.NAME = [norm, probe, s, shape…]."""
    stride = 1 if full else stride_of(x.numel())
    probe = (x * values("probe:" + name, x.shape)).sum().item()
    stat = [x.norm().item(), probe, stride, *x.shape]
    tensors[f"{kind}.{name}"] = x.reshape(-1)[::stride].float().clone()
    tensors[f"{kind}_stat.{name}"] = torch.tensor(stat, dtype=torch.float32)


def relative(got, want):
    return ((got.double() - want).norm() / want.norm().clamp_min(1e-300)).item()


def write(folder, name, tensors, **metadata):
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    # One key, because the writer orders several keys differently each time.
    save_file(tensors, folder / f"{name}.safetensors", metadata={"golden": json.dumps(metadata)})
    kib = (folder / f"{name}.safetensors").stat().st_size // 1024
    print(f"{name}: {kib} KiB", {k: v for k, v in metadata.items() if k.startswith("float32")})


def run_case(config, t, dtype, network_of):
    network = network_of(config).to(dtype)
    b, h, w = config["batch"], config["height"], config["width"]
    x = values("x", (b, config["channels"], h, w)).to(dtype)
    eps = rounded(1.7 * values("eps", (b, config["out_dim"], h, w))).to(dtype)
    y = network(x, t)
    loss = torch.mean((y - eps) ** 2)
    loss.backward()
    return y.detach(), loss.detach(), {n: p.grad for n, p in network.named_parameters()}


def make_case(folder, name, config, network_of=build):
    t = torch.tensor(TIMES[: config["batch"]])
    y, loss, gradients = run_case(config, t, torch.float64, network_of)
    y32, _, gradients32 = run_case(config, t, torch.float32, network_of)
    full = sum(g.numel() for g in gradients.values()) <= FULL_LIMIT
    tensors = {"t": t, "y": y.float(), "loss": loss.float().reshape(1)}
    for parameter, gradient in gradients.items():
        keep(tensors, "grad", parameter, gradient, full)
    worst = max(relative(gradients32[n], g) for n, g in gradients.items())
    write(
        folder,
        f"case_{name}",
        tensors,
        config=config,
        float32_output_error=relative(y32, y),
        float32_worst_gradient_error=worst,
    )


def make_variants(description, network_of, *cases):
    """The main program of a script whose network_of(config) changes the article's networks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    torch.set_num_threads(1)
    formula.check_known_answers()
    for name, config in cases:
        make_case(folder, name, config, network_of)


def make_schedules(folder):
    tensors, rows = {}, []
    for name, schedule, steps, kwargs in TABLES:
        for table, x in article.diffusion_tables(schedule, steps, **kwargs).items():
            tensors[f"{name}.{table}"] = x
        rows.append({"name": name, "schedule": schedule, "timesteps": steps, "kwargs": kwargs})
    write(folder, "schedules", tensors, tables=rows)


def train(config, run, dtype):
    """One run of `steps` optimizer steps; micro-batch k uses x0.k, eps.k and row k of t."""
    network = build(config).to(dtype)
    diffusion = article.DiffusionModel(network)
    optimizer = article.make_optimizer(network, run["lr"])
    ema = article.EMA(network, update_every=run["ema_every"], update_after=run["ema_after"])
    shape = (config["batch"], config["channels"], config["height"], config["width"])
    t = torch.tensor([[(k * 37 + j * 251 + 11) % 1000 for j in range(shape[0])] for k in range(40)])
    losses, norms, micro = [], [], 0
    for _ in range(run["steps"]):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(run["accumulate"]):
            x0 = values(f"x0.{micro}", shape).to(dtype)
            eps = rounded(1.7 * values(f"eps.{micro}", shape)).to(dtype)
            loss = diffusion.p_loss(x0, t[micro], eps, run["loss"]) / run["accumulate"]
            loss.backward()
            total += loss.item()
            micro += 1
        limit = run["clip_norm"] or math.inf
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), limit).item())
        optimizer.step()
        ema.update()
        losses.append(total)
    weights = {n: p.detach() for n, p in network.named_parameters()}
    return torch.tensor(losses), torch.tensor(norms), t[:micro], weights, ema.weights


def make_training(folder, name, network, **more):
    _, config = case(name, network, 8, [1, 2], 3, 4, 16, 16)
    run = dict(steps=20, lr=1e-3, loss="l2", accumulate=1, clip_norm=0, ema_every=10, ema_after=100)
    run |= more
    losses, norms, t, weights, ema = train(config, run, torch.float64)
    losses32, _, _, weights32, ema32 = train(config, run, torch.float32)
    tensors = {"losses": losses.float(), "grad_norms": norms.float(), "t": t}
    for parameter in weights:
        keep(tensors, "weight", parameter, weights[parameter], full=False)
        keep(tensors, "ema", parameter, ema[parameter], full=False)
    write(
        folder,
        f"training_{name}",
        tensors,
        config=config,
        run=run,
        float32_loss_error=((losses32 - losses).abs() / losses).max().item(),
        float32_worst_weight_error=max(relative(weights32[n], weights[n]) for n in weights),
        float32_worst_ema_error=max(relative(ema32[n], ema[n]) for n in weights),
    )


def make_ema(folder):
    """The EMA rule alone, with its defaults, over 400 steps of 16 made-up weights."""
    model = torch.nn.Linear(16, 1, bias=False).double()
    ema = article.EMA(model)
    tensors = {}
    for c in range(400):
        with torch.no_grad():
            model.weight.copy_(values(f"w.{c}", (1, 16)))
        ema.update()
        if c in (0, 5, 10, 95, 100, 101, 110, 120, 199, 200, 399):
            tensors[f"after.{c}"] = ema.weights["weight"].float().reshape(-1).clone()
    write(folder, "ema", tensors)


CHAIN_STEPS = (999, 900, 500, 99, 10, 1, 0)
CHAIN_SEED = 7


def chain(config, run, dtype):
    """{t: x after the reverse step at t}"""
    shape = (config["channels"], config["height"], config["width"])

    def normal(stream, step):
        batch = range(config["batch"])
        pictures = [formula.normal_picture(*shape, CHAIN_SEED, stream, step, k) for k in batch]
        return torch.stack(pictures).to(dtype)

    network = build(config).to(dtype)
    diffusion = article.DiffusionModel(network, run["schedule"], run["timesteps"])
    x = normal(formula.STREAM_SAMPLE_INIT, 0)
    kept = {"T": x}
    for t in reversed(range(diffusion.num_timesteps)):
        x = diffusion.p_sample(x, t, normal(formula.STREAM_SAMPLE_STEP, t), run["clip"])
        if t in CHAIN_STEPS:
            kept[t] = x
    if not torch.isfinite(x).all():
        raise AssertionError("the chain is not finite")
    return kept


def make_chain(folder, name, config, clip, schedule="linear", timesteps=1000):
    run = dict(clip=clip, schedule=schedule, timesteps=timesteps, seed=CHAIN_SEED)
    kept, kept32 = chain(config, run, torch.float64), chain(config, run, torch.float32)
    write(
        folder,
        f"chain_{name}",
        {f"x.{step}": x.float() for step, x in kept.items()},
        config=config,
        run=run,
        float32_error={step: relative(kept32[step], x) for step, x in kept.items()},
    )


def make_init(folder):
    network = article.TwoResUNet(16)
    rules = formula.parameter_rule(network)
    rows = {}
    for name, parameter in network.named_parameters():
        kind, fan_in = rules[name]
        if kind == "uniform":
            bound = 1 / math.sqrt(fan_in)
            row = dict(distribution="uniform", bound=bound, mean=0.0, std=bound / math.sqrt(3))
        else:
            mean = float(kind == "norm_weight")
            row = dict(distribution="constant", bound=0.0, mean=mean, std=0.0)
        largest = (parameter.detach() - row["mean"]).abs().max().item()
        if largest > row["bound"] * (1 + 1e-6):
            raise AssertionError(f"{name}: PyTorch draws {largest}, beyond {row['bound']}")
        rows[name] = {"shape": list(parameter.shape)} | row
    config = {"network": TWO, "dim": 16, "dim_mults": [1, 2, 4, 8], "channels": 3}
    text = json.dumps({"config": config, "parameters": rows}, indent=1)
    (folder / "init.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description="Make the golden files.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    formula.check_known_answers()
    article.check_parameter_counts()
    for name, config in CASES:
        make_case(folder, name, config)
    make_schedules(folder)
    make_ema(folder)
    make_init(folder)
    make_training(folder, "two", TWO)
    make_training(folder, "att", ATT)
    make_training(folder, "two_ema", TWO, ema_every=2, ema_after=4)
    make_training(folder, "two_clip", TWO, steps=5, clip_norm=0.5)
    make_training(folder, "two_accumulate", TWO, steps=5, accumulate=2)
    make_training(folder, "two_l1", TWO, steps=5, loss="l1")
    _, square = case("square", TWO, 8, [1, 2], 3, 2, 8, 8)
    _, oblong = case("oblong", ATT, 8, [1, 2], 3, 3, 4, 6)
    make_chain(folder, "clip", square, True)
    make_chain(folder, "noclip", square, False)
    make_chain(folder, "cosine", oblong, True, "cosine", 100)


if __name__ == "__main__":
    main()
