"""Compare ddpm with PyTorch on this machine: the same network, sizes and batch, runs interleaved.

    python bench/compare.py --ddpm build/programs/ddpm/ddpm --size 128 --batch 16 --rounds 3

First every PyTorch configuration (pytorch_bench.py) is timed once; then, round by round, the fastest one and ddpm in turn,
so that both meet the same state of the machine. Prints medians over the rounds, their ratio (above 1: ddpm is faster), and
the peak resident memory of both as the system counted it. PyTorch is for measuring only: ddpm needs no Python.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def run_pytorch(options, configuration, part):
    command = [sys.executable, str(HERE / "pytorch_bench.py"), "--size", str(options.size), "--batch",
               str(options.batch), "--dim", str(options.dim), "--network", options.network, "--device",
               options.device, "--part", part, "--repeats", str(options.repeats), "--threads",
               str(options.threads)]
    command += ["--configuration", configuration] if configuration else []
    command += ["--skip-compile"] if options.skip_compile else []
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def run_ddpm(options, part):
    command = [options.ddpm, "bench", "--json", "--network", options.network, "--dim", str(options.dim),
               "--image-size", str(options.size), "--batch-size", str(options.batch), "--device",
               options.device, "--repeats", str(options.repeats), "--threads", str(options.threads),
               "--precision", options.precision, "--conv", options.conv]
    command += ["--sampling"] if part == "sample" else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(output)
    # The children's high-water mark only rises; it is ddpm's own when it rose.
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result["peak_bytes"] = after * 1024 if after > before else None
    return result


def seconds_of(result, configuration, part):
    return result["results"][configuration][f"{part}_s"]


def compare(options, part):
    ours = [run_ddpm(options, part)]  # first, while the children's high-water mark is still its own
    survey = run_pytorch(options, None, part)
    fastest = survey["fastest"][part]
    theirs = []
    for _ in range(options.rounds):
        theirs.append(seconds_of(run_pytorch(options, fastest, part), fastest, part))
        ours.append(run_ddpm(options, part))
    our_seconds = statistics.median(result["step_seconds"] for result in ours)
    their_seconds = statistics.median(theirs)
    return {
        "part": part,
        "ddpm": {"seconds": our_seconds, "device": ours[0]["device"], "peak_bytes": ours[0]["peak_bytes"],
                 "of_peak": ours[0]["step_flops"] / our_seconds / ours[0]["peak_flops"]
                 if ours[0]["peak_flops"] else None},
        "pytorch": {"seconds": their_seconds, "configuration": fastest,
                    "all": survey["results"]},
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
    parser.add_argument("--skip-compile", action="store_true")
    return parser.parse_args()


def main():
    options = parse_arguments()
    parts = ["train", "sample"] if options.part == "both" else [options.part]
    print(json.dumps([compare(options, part) for part in parts], indent=2))


if __name__ == "__main__":
    main()
