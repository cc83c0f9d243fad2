"""Time PyTorch on the article's training step and sampling step.

    python bench/pytorch_bench.py --size 128 --batch 16                    every configuration
    python bench/pytorch_bench.py --configuration bf16-channels_last-eager  one of them

A configuration is PRECISION-LAYOUT-MODE: fp32 (on a GPU with tf32) or bf16 (autocast), contiguous or
channels_last, eager or compile (on a GPU max-autotune). Each runs in a process of its own, so that its
peak memory is its own. Pictures, timesteps and noise are ready in memory: no data loading is timed.
A training step is q_sample, forward, loss, backward, AdamW (fused) and the EMA rule; a sampling step
is the network and one reverse step with clipping. Compiling is part of the warm-up and may take
minutes.

Prints one JSON object: for each configuration the median seconds of a training step and of a
sampling step, the individual times, and the peak memory of each in bytes (resident set on the CPU,
allocated and reserved on a GPU); `fastest` names the best configuration of each.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"))
import article  # noqa: E402

CONFIGURATIONS = [
    f"{precision}-{layout}-{mode}"
    for precision in ("fp32", "bf16")
    for layout in ("contiguous", "channels_last")
    for mode in ("eager", "compile")
]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="TwoResUNet", choices=sorted(article.NETWORKS))
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dim-mults", default="1,2,4,8")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--part", choices=("train", "sample", "both"), default="both")
    parser.add_argument("--configuration", choices=CONFIGURATIONS)
    parser.add_argument("--skip-compile", action="store_true")
    return parser.parse_args()


class Bench:
    def __init__(self, options, configuration):
        precision, layout, mode = configuration.split("-")
        self.options, self.device = options, torch.device(options.device)
        self.bf16 = precision == "bf16"
        self.format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.on_gpu = self.device.type == "cuda"
        torch.manual_seed(0)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.set_float32_matmul_precision("high" if self.on_gpu else "highest")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        mults = tuple(int(m) for m in options.dim_mults.split(","))
        kind = article.NETWORKS[options.network]
        network = kind(options.dim, dim_mults=mults, channels=options.channels)
        self.network = network.to(self.device, memory_format=self.format)
        called = self.network
        if mode == "compile":
            called = torch.compile(called, mode="max-autotune" if self.on_gpu else "default")
        self.diffusion = article.DiffusionModel(called).to(self.device)
        shape = (options.batch, options.channels, options.size, options.size)
        self.x0, self.noise = (self.picture(shape) for _ in range(2))
        self.t = torch.randint(0, 1000, (options.batch,), device=self.device)

    def picture(self, shape):
        x = torch.randn(shape).clamp(-1, 1)
        return x.to(self.device).contiguous(memory_format=self.format)

    def autocast(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def train_step(self):
        def step():
            optimizer.zero_grad(set_to_none=True)
            with self.autocast():
                loss = self.diffusion.p_loss(self.x0, self.t, self.noise)
            loss.backward()
            optimizer.step()
            ema.update()

        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=1e-4,
            betas=(0.9, 0.99),
            eps=1e-8,
            weight_decay=0.01,
            fused=True,
        )
        ema = article.EMA(self.network)
        return step

    def sample_step(self):
        def step():
            with self.autocast():
                self.diffusion.p_sample(self.x0, 500, self.noise, True)

        return step

    def measure(self, step):
        """Seconds of each repeat, after the warm-up."""
        times = []
        for k in range(self.options.warmup + self.options.repeats):
            self.wait()
            start = time.perf_counter()
            step()
            self.wait()
            if k >= self.options.warmup:
                times.append(time.perf_counter() - start)
        return times

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def peak_bytes(self, part):
        """Peak memory: resident on the CPU; on a GPU what tensors took, and what the allocator reserved for them."""
        if not self.on_gpu:
            return {f"{part}_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        return {f"{part}_peak_bytes": torch.cuda.max_memory_allocated(self.device),
                f"{part}_reserved_bytes": torch.cuda.max_memory_reserved(self.device)}


def run_one(options):
    bench = Bench(options, options.configuration)
    result = {}
    # Sampling first, because the peak of resident memory never falls.
    if options.part != "train":
        times = bench.measure(bench.sample_step())
        result |= {"sample_s": statistics.median(times), "sample_times_s": times}
        result |= bench.peak_bytes("sample")
    if options.part != "sample":
        times = bench.measure(bench.train_step())
        result |= {"train_s": statistics.median(times), "train_times_s": times}
        result |= bench.peak_bytes("train")
    return result


def run_child(configuration):
    """Run one configuration in its own process; {"error": …} if it cannot run."""
    command = [sys.executable, __file__, *sys.argv[1:], "--configuration", configuration]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout)["results"][configuration]


def main():
    options = parse_arguments()
    if options.configuration:
        results = {options.configuration: run_one(options)}
    else:
        wanted = [c for c in CONFIGURATIONS if not (options.skip_compile and c.endswith("compile"))]
        results = {configuration: run_child(configuration) for configuration in wanted}
    fastest = {}
    for part in ("train", "sample"):
        times = {c: r[f"{part}_s"] for c, r in results.items() if f"{part}_s" in r}
        if times:
            fastest[part] = min(times, key=times.get)
    choices = ("configuration", "skip_compile")
    settings = {k: v for k, v in vars(options).items() if k not in choices}
    settings |= {"torch": torch.__version__, "threads": options.threads or torch.get_num_threads()}
    print(json.dumps({"settings": settings, "results": results, "fastest": fastest}, indent=1))


if __name__ == "__main__":
    main()
