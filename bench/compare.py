"""Compare ddpm with PyTorch on this machine: the same network, sizes and batch, runs interleaved.

    python bench/compare.py --ddpm build/programs/ddpm/ddpm --size 128 --batch 16 --rounds 3

First it times every PyTorch configuration (pytorch_bench.py) once. Then, in every round, it times the fastest one and
ddpm in turn, so that both see the machine in the same state. With --rounds 0, for want of time, PyTorch's first run
counts, and ddpm runs before and after it. It prints the medians over the rounds, their ratio (above 1: ddpm is faster),
and the peak memory of both. That is resident memory as counted by the system; on a GPU it is how
much nvidia-smi's number rose (other users of the GPU count too) or, if that is unknown, what ddpm planned and what
PyTorch's allocator reserved. With --data (a folder or a packed file) ddpm's training step is that of a run, which reads
pictures ahead. PyTorch is only needed for measuring: ddpm needs no Python.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


class DeviceMemory:
    """By how much the memory in use on the GPU rose while the block ran; `bytes` None: unknown."""

    def __init__(self, device):
        name, _, index = device.partition(":")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")  # nvidia-smi counts other users too
        index = int(index or 0)
        gpu = visible[index] if index < len(visible) and visible[index] else str(index)
        self.command = ["nvidia-smi", "-i", gpu, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        self.wanted, self.bytes = name == "cuda", None

    def __enter__(self):
        if self.wanted:
            try:
                before = subprocess.run(self.command, check=True, capture_output=True, text=True).stdout
                self.before = int(before.split()[0])
                self.output = tempfile.TemporaryFile("w+")
                self.process = subprocess.Popen([*self.command, "-lms", "50"], stdout=self.output)
            except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
                self.wanted = False
        return self

    def __exit__(self, *error):
        if self.wanted:
            self.process.terminate()
            self.process.wait()
            self.output.seek(0)
            used = [int(line) for line in self.output if line.strip().isdigit()]
            self.bytes = (max(used) - self.before) * 2**20 if used else None


def run_pytorch(options, configuration, part):
    command = [sys.executable, str(HERE / "pytorch_bench.py"), "--size", str(options.size), "--batch",
               str(options.batch), "--dim", str(options.dim), "--network", options.network, "--device",
               options.device, "--part", part, "--repeats", str(options.repeats), "--threads",
               str(options.threads)]
    command += ["--configuration", configuration] if configuration else []
    command += ["--skip-compile"] if options.skip_compile else []
    with DeviceMemory(options.device) as memory:
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output) | {"device_bytes": memory.bytes}


def survey_pytorch(options, part):
    """Run every configuration once; one that cannot run is skipped. Returns their results, the name of the fastest, and
    its run."""
    if not options.configurations:
        found = run_pytorch(options, None, part)  # its memory is that of all configurations
        return found["results"], found["fastest"][part], found | {"device_bytes": None}
    runs, results = {}, {}
    for configuration in options.configurations:
        try:
            runs[configuration] = run_pytorch(options, configuration, part)
            results[configuration] = runs[configuration]["results"][configuration]
        except subprocess.CalledProcessError as error:
            results[configuration] = {"error": f"exit code {error.returncode}"}
    able = [name for name in results if f"{part}_s" in results[name]]
    if not able:
        raise SystemExit(f"PyTorch ran with none of {', '.join(results)}")
    fastest = min(able, key=lambda name: results[name][f"{part}_s"])
    return results, fastest, runs[fastest]


def run_ddpm(options, part):
    command = [options.ddpm, "bench", "--json", "--network", options.network, "--dim", str(options.dim),
               "--image-size", str(options.size), "--batch-size", str(options.batch), "--device",
               options.device, "--repeats", str(options.repeats), "--threads", str(options.threads),
               "--precision", options.precision, "--conv", options.conv]
    command += ["--sampling"] if part == "sample" else ["--data", options.data] if options.data else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with DeviceMemory(options.device) as memory:
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result = json.loads(output)
    # The high-water mark of all children; if it rose, the new value is ddpm's.
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result["resident_bytes"] = after * 1024 if after > before else None
    result["device_bytes"] = memory.bytes
    return result


def seconds_of(result, configuration, part):
    return result["results"][configuration][f"{part}_s"]


def compare_memory(options, part, ours, theirs, configuration):
    """Peak bytes of both, counted in the same way, and ours divided by theirs; None if one is unknown."""
    result = theirs["results"][configuration]
    if not options.device.startswith("cuda"):
        what, pair = "resident", (ours["resident_bytes"], result[f"{part}_peak_bytes"])
    elif ours["device_bytes"] and theirs["device_bytes"]:
        what, pair = "on the device, by nvidia-smi", (ours["device_bytes"], theirs["device_bytes"])
    else:
        what, pair = "planned, reserved", (ours["planned_bytes"], result[f"{part}_reserved_bytes"])
    ratio = pair[0] / pair[1] if all(pair) else None
    return {"what": what, "ddpm": pair[0], "pytorch": pair[1], "ratio": ratio, "ddpm_planned": ours["planned_bytes"]}


def compare(options, part):
    ours = [run_ddpm(options, part)]  # first, while it is the only child that has run
    surveyed, fastest, run = survey_pytorch(options, part)
    theirs = [] if options.rounds else [run]
    for _ in range(options.rounds):
        theirs.append(run_pytorch(options, fastest, part))
        ours.append(run_ddpm(options, part))
    if not options.rounds:
        ours.append(run_ddpm(options, part))
    our_seconds = statistics.median(result["step_seconds"] for result in ours)
    their_seconds = statistics.median(seconds_of(result, fastest, part) for result in theirs)
    return {
        "part": part,
        "ddpm": {"seconds": our_seconds, "device": ours[0]["device"],
                 "of_peak": ours[0]["step_flops"] / our_seconds / ours[0]["peak_flops"]
                 if ours[0]["peak_flops"] else None},
        "pytorch": {"seconds": their_seconds, "configuration": fastest, "all": surveyed},
        "memory": compare_memory(options, part, ours[0], theirs[0], fastest),
        "ratio": their_seconds / our_seconds,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ddpm", required=True)
    parser.add_argument("--network", default="TwoResUNet")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--conv", default="auto", choices=("auto", "direct"))
    parser.add_argument("--part", default="both", choices=("train", "sample", "both"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", help="pictures for ddpm's training step")
    parser.add_argument("--configurations", nargs="+", help="PyTorch configurations to try (all)")
    parser.add_argument("--skip-compile", action="store_true")
    return parser.parse_args()


def main():
    options = parse_arguments()
    parts = ["train", "sample"] if options.part == "both" else [options.part]
    print(json.dumps([compare(options, part) for part in parts], indent=2))


if __name__ == "__main__":
    main()
