"""Plot the loss curves of several runs in one picture, and print their last values.

    python bench/plot_loss.py runs/fp32 runs/bf16 --labels fp32 bf16 --out docs/images/loss.png

Each curve is the exponential average of log.csv's losses over about `--window` steps (bias corrected); the loss of a
step itself, which varies with the timesteps drawn, is drawn faintly for the first run. Needs matplotlib.
"""

import argparse
import csv
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def losses(run, most):
    with open(pathlib.Path(run) / "log.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)][:most]


def smoothed(values, window):
    decay, average, weight, result = 1 - 1 / window, 0.0, 0.0, []
    for value in values:
        average = decay * average + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        result.append(average / weight)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--labels", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--window", type=int, default=200)
    parser.add_argument("--steps", type=int, help="only this many steps")
    options = parser.parse_args()
    labels = options.labels or options.runs
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=110)
    ends = {}
    for i, (run, label) in enumerate(zip(options.runs, labels, strict=True)):
        values = losses(run, options.steps)
        curve = smoothed(values, options.window)
        steps = range(1, len(values) + 1)
        if i == 0:
            axes.plot(steps, values, color="0.8", linewidth=0.5, label=f"{label}, step by step")
        axes.plot(steps, curve, linewidth=1.3, label=f"{label}, average")
        ends[label] = (len(values), curve[-1])
    axes.set(xlabel="step", ylabel="loss", yscale="log", ylim=(0.01, 1.5))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(options.out)
    for label, (steps, end) in ends.items():
        print(f"{label}: {end:.5f} after {steps} steps")


if __name__ == "__main__":
    main()
