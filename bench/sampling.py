#!/usr/bin/env python3
"""Time drawing: ddpm sample compared with the same network and solver in PyTorch and OpenVINO.

    sampling.py DDPM RUN [--rounds 3] [--count 16]

RUN is any run or checkpoint of TwoResUNet (its weights do not affect the time). DDPM draws with the run's own sampler.
The whole command is timed, from its start to the last file; evaluations and steps are read from its output.
PyTorch draws with diffusers' DPMSolverMultistepScheduler (2M, the same number of steps, x_0 clipped) around the
article's network: one warmed-up process, in the fastest of bf16 or fp32 autocast with channels_last, eager and
compiled; only the loop is timed, not imports, compiling or writing. OpenVINO runs the network, converted from PyTorch,
in the same loop with its latency hint and its own choice of precision. Rounds are interleaved; medians are printed, and
ratios (above 1: ddpm is faster).

Needs torch, diffusers and openvino.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"))

MODES = ["bf16-eager", "bf16-compile", "fp32-eager", "fp32-compile", "openvino"]


def settings_of(options):
    text = subprocess.run([options.ddpm, "info", options.run], check=True, capture_output=True, text=True).stdout
    sampler, steps = re.search(r"draws with\s+(\S+), (\d+) steps?", text).groups()
    config = json.loads((pathlib.Path(options.run) / "config.json").read_text(encoding="utf-8"))
    size = config["diffusion_config"]["image_size"]
    return {"sampler": sampler, "steps": int(steps), "dim": config["unet_config"]["input"],
            "mults": config["unet_config"]["dim_mults"], "size": size, "text": text}


def run_ddpm(options):
    """Seconds of the whole command, and the seconds of drawing that it prints."""
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        said = subprocess.run([options.ddpm, "sample", options.run, "--out", out + "/x", "-n", str(options.count)],
                              check=True, capture_output=True, text=True).stderr
        whole = time.perf_counter() - begin
    return whole, float(re.search(r"drew \d+ pictures in ([\d.]+) s", said).group(1))


def evaluator(mode, settings, count):
    """out = f(x, t) in this mode."""
    import torch

    import article

    torch.manual_seed(0)
    network = article.NETWORKS["TwoResUNet"](settings["dim"], dim_mults=tuple(settings["mults"]), channels=3).eval()
    x = torch.randn(count, 3, settings["size"], settings["size"])
    t = torch.zeros(count)
    if mode == "openvino":
        import openvino

        model = openvino.convert_model(network, example_input=(x, t), input=[list(x.shape), list(t.shape)])
        compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        return lambda x, t: torch.from_numpy(compiled((x.numpy(), t.numpy()))[0])
    network = network.to(memory_format=torch.channels_last)
    called = torch.compile(network) if mode.endswith("compile") else network
    bf16 = mode.startswith("bf16")

    def evaluate(x, t):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return called(x.contiguous(memory_format=torch.channels_last), t).float()

    return evaluate


def draw(evaluate, settings, count):
    import torch
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_schedule="linear", algorithm_type="dpmsolver++", solver_order=2,
        final_sigmas_type="zero", thresholding=True, sample_max_value=1)
    scheduler.set_timesteps(settings["steps"])
    picture = torch.randn(count, 3, settings["size"], settings["size"])
    for t in scheduler.timesteps:
        out = evaluate(picture, t.float().expand(count))
        picture = scheduler.step(out, t, picture).prev_sample
    return ((picture + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)


def serve(options):
    """The other process: for every line "go" it draws once and prints the seconds."""
    import torch

    settings = settings_of(options)
    with torch.inference_mode():
        evaluate = evaluator(options.serve, settings, options.count)
        draw(evaluate, settings, options.count)  # warms up, and compiles
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() != "go":
                break
            begin = time.perf_counter()
            draw(evaluate, settings, options.count)
            print(time.perf_counter() - begin, flush=True)


class Other:
    def __init__(self, options, mode):
        self.process = subprocess.Popen(
            [sys.executable, __file__, options.ddpm, options.run, "--count", str(options.count), "--serve", mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.answers = self.process.stdout.readline().strip() == "ready"
        self.why = None if self.answers else (self.process.stderr.read().strip().splitlines() or ["no message"])[-1]

    def draw(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        if self.answers:
            self.process.stdin.close()
        self.process.wait()


def survey(options):
    """Run every mode once; keep the fastest of PyTorch's, and OpenVINO."""
    found = {}
    for mode in options.modes:
        other = Other(options, mode)
        found[mode] = other.draw() if other.answers else None
        print(f"{mode:14} {'%.2f s' % found[mode] if found[mode] else other.why}", flush=True)
        other.close()
    able = {m: s for m, s in found.items() if s and m != "openvino"}
    return [min(able, key=able.get)] + (["openvino"] if found.get("openvino") else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ddpm")
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options)
    settings = settings_of(options)
    print(f"{settings['sampler']}, {settings['steps']} steps, {options.count} pictures of {settings['size']}", flush=True)
    modes = survey(options)
    times = {mode: [] for mode in ["ddpm whole", "ddpm drawing", *modes]}
    others = {mode: Other(options, mode) for mode in modes}
    for _ in range(options.rounds):
        whole, drawing = run_ddpm(options)
        times["ddpm whole"].append(whole)
        times["ddpm drawing"].append(drawing)
        for mode, other in others.items():
            times[mode].append(other.draw())
    for other in others.values():
        other.close()
    for mode, all_times in times.items():
        ratio = statistics.median(t / w for t, w in zip(all_times, times["ddpm whole"]))
        print(f"{mode:14} median {statistics.median(all_times):7.2f} s  of {['%.2f' % t for t in all_times]}  "
              f"{ratio:.2f} x ddpm's whole command")
    return None


if __name__ == "__main__":
    main()
