"""python3 test_ddpm.py, with DDPM_LIBRARY set unless the library is installed. Exit 77: no NumPy."""
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("no NumPy")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).parent))
import ddpm  # noqa: E402

TINY = {"network": "TwoResUNet", "dim": 8, "dim-mults": "1,2", "image-size": 16, "timesteps": 20, "batch-size": 4,
        "schedule": "cosine", "device": "cpu", "precision": "fp32", "threads": 1, "seed": 1, "flip": True}


def refuses(call, text):
    try:
        call()
    except (ddpm.Error, ValueError) as error:
        assert text in str(error), error
        return
    raise AssertionError(f"no error was raised, want {text}")


def train_on_arrays(folder):
    rng = np.random.default_rng(0)
    pictures = np.clip(rng.normal(0, 0.3, (4, 3, 16, 16)), -1, 1)
    with ddpm.Trainer({**TINY, "lr": 1e-3}) as trainer:
        noise, times = rng.normal(size=pictures.shape), [1] * 4
        refuses(lambda: trainer.step_on(pictures[:2], times, noise), "want (4, 3, 16, 16), (4,)")
        refuses(lambda: trainer.step_on(pictures, times[:1], noise), "times (1,)")
        refuses(lambda: trainer.step_on(pictures + 9, times, noise), "want -1 to 1")
        refuses(lambda: trainer.step_on(np.full_like(pictures, np.nan), times, noise), "want -1 to 1")
        refuses(lambda: trainer.step_on(pictures, [20] * 4, noise), "want 0 to 19")
        refuses(lambda: trainer.step_on(pictures, [0.5] * 4, noise), "want integers for objective noise")
        losses = [trainer.step_on(pictures, rng.integers(0, 20, 4), rng.normal(size=pictures.shape)).loss
                  for _ in range(10)]
        assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
        trainer.save(folder / "arrays")
        assert trainer.network.draw(1, steps=2).shape == (1, 16, 16, 3)
    trainer.close()
    refuses(lambda: trainer.step_on(pictures, times, noise), "this Trainer is closed")
    return folder / "arrays"


def train_on_files(folder):
    data = folder / "pictures.npy"
    np.save(data, np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8))
    with ddpm.Trainer(TINY, data=data) as trainer:
        first = trainer.step()
        trainer.save(folder / "files")
        second = trainer.step()
    assert (first.step, second.step) == (1, 2)
    with ddpm.Trainer(TINY, data=data) as again:
        again.resume(folder / "files")
        assert again.step() == second
    other = folder / "other.npy"
    np.save(other, np.zeros((12, 16, 16, 3), np.uint8))
    with ddpm.Trainer(TINY, data=other) as wrong:
        refuses(lambda: wrong.resume(folder / "files"), str(data))
        refuses(lambda: wrong.resume(folder / "files"), "other.npy")


def train_a_pretrained_model(folder):
    """The network is the model's; how it is trained is not."""
    model, still = folder / "pretrained", {"batch-size": 4, "lr": 1e-30, "weight-decay": 0}
    data = np.random.default_rng(2).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    with ddpm.Trainer({**TINY, "objective": "v", "seed": 5}, data=data) as trainer:
        trainer.step()
        trainer.save(model)
    with ddpm.Network.open(model) as network:
        wanted = network.draw(1, steps=3)
        network.save(model / "weights.safetensors")
    for path, options in ((model, still), (model / "weights.safetensors", {**TINY, "objective": "v", **still})):
        with ddpm.Trainer(options, data=data, pretrained=path) as trainer:
            assert trainer.step().lr == np.float32(1e-30)
            assert (trainer.network.draw(1, steps=3, ema=False) == wanted).all()
            trainer.step_on(np.zeros((4, 3, 16, 16)), [1] * 4, np.zeros((4, 3, 16, 16)))
    refuses(lambda: ddpm.Trainer({}, pretrained=folder / "none"), "no such run, checkpoint or file")
    refuses(lambda: ddpm.Trainer({"image-size": 8}, data=data, pretrained=model), "image-size")


def train_on_an_array(folder):
    """The same as on a file of it; an array may be a view, and may be changed or freed afterwards."""
    wide = np.random.default_rng(3).integers(0, 256, (40, 16, 32, 3), dtype=np.uint8)
    wide[..., 16:, :] //= 2
    data = folder / "view.npy"
    np.save(data, wide[:, :, :16])
    options = {**TINY, "validation": 0.2}
    with ddpm.Trainer(options, data=data) as on_file, ddpm.Trainer(options, data=wide[:, :, :16]) as on_array:
        wide[:] = 0
        for _ in range(3):
            assert on_array.step() == on_file.step()
        measured = on_array.validate()
        assert measured == on_file.validate() and measured.step == 3 and measured.loss > 0, measured
        assert measured.training_loss > 0 and measured.training_loss != measured.loss
        on_array.save(folder / "array")
        following = on_array.step()
    with ddpm.Trainer(options, data=data) as again:
        again.resume(folder / "array")
        assert again.step() == following
    with ddpm.Trainer({**TINY, "channels": 1}, data=np.zeros((9, 16, 16), np.uint8)) as trainer:
        trainer.step()
        refuses(trainer.validate, "no pictures are set aside")
    refuses(lambda: ddpm.Trainer(TINY, data=np.zeros((9, 16, 16, 3))), "data: got float64 (9, 16, 16, 3)")
    refuses(lambda: ddpm.Trainer(TINY, data=np.zeros((9, 16, 16), np.uint8)), "want [N, H, W, 3]")
    refuses(lambda: ddpm.Trainer(TINY, data=np.zeros((9, 20, 16, 3), np.uint8)), "20x16 (height x width), want 16x16")
    refuses(lambda: ddpm.Trainer(TINY, data=np.zeros((0, 16, 16, 3), np.uint8)), "an array of 0 pictures")
    with ddpm.Trainer({**TINY, "crop": "random"}, data=np.zeros((9, 20, 16, 3), np.uint8)) as trainer:
        trainer.step()


def draw_in_other_ways(network, pictures):
    noisy = [network.draw(3, seed=7, steps=4, sampler="ddim", eta=eta) for eta in (0, 1)]
    assert (noisy[0] != noisy[1]).any()
    assert (network.draw(3, seed=7, steps=4, clip=False) != network.draw(3, seed=7, steps=4, clip=True)).any()
    assert (network.draw(3, steps=10, like=pictures, strength=0) == pictures).all()
    assert network.draw(3, steps=10, like=pictures[0], strength=0.5).shape == pictures.shape
    refuses(lambda: network.draw(3, like=pictures[:2]), "like: got uint8 (2, 16, 16, 3), want uint8 (3, 16, 16, 3)")
    refuses(lambda: network.draw(3, like=pictures / 255), "like: got float64")
    seen = []
    network.draw(2, steps=4, sampler="ddim", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)], seen

    def stop(done, _):
        if done == 2:
            raise ValueError("enough")

    refuses(lambda: network.draw(2, steps=4, progress=stop), "enough")
    steps = []

    def interrupt(done, _):
        steps.append(done)
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background commands with it ignored
    try:
        network.draw(2, steps=20, sampler="ancestral", progress=interrupt)
        raise AssertionError("Ctrl-C did not end the draw")
    except KeyboardInterrupt:
        assert steps == [1, 2], steps
    steps.clear()
    handled = []
    signal.signal(signal.SIGINT, lambda number, _: handled.append(number))  # a handler that returns
    refuses(lambda: network.draw(2, steps=20, sampler="ancestral", progress=interrupt), "stop")
    assert steps == [1, 2] and handled == [signal.SIGINT], (steps, handled)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def look_for_the_library(folder):
    """Where installs go, without help from the loader."""
    home = folder / "home"
    (home / ".local/lib").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("DDPM_LIBRARY", "LD_LIBRARY_PATH")}
    numpy = os.pathsep.join(path for path in sys.path if path)
    environment.update(HOME=str(home), PYTHONPATH=numpy)

    def load():
        return subprocess.run([sys.executable, "-B", "-c", "import ddpm; print(ddpm._c.library._name)"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=folder)

    without = load()  # if the system has one of its own, it is found
    if without.returncode != 0:
        assert "ImportError: " in without.stderr and "run ldconfig, or set DDPM_LIBRARY=" in without.stderr, without
        (home / ".local/lib/libddpm.so.0.2").symlink_to(Path(os.environ["DDPM_LIBRARY"]).resolve())
        assert load().stdout.strip() == str(home / ".local/lib/libddpm.so.0.2")
    environment["DDPM_LIBRARY"] = str(folder / "none.so")
    assert "none.so" in load().stderr


class Heard(logging.Handler):
    """The messages of the library."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append((record.levelno, record.getMessage()))


def hear_about_bad_pictures(folder):
    for name in ("a.png", "b.png"):
        (folder / name).write_text("no picture")
    heard = Heard()
    logging.getLogger("ddpm").addHandler(heard)
    refuses(lambda: ddpm.Trainer(TINY, data=folder), "pictures cannot be read")
    logging.getLogger("ddpm").removeHandler(heard)
    assert (logging.WARNING, True) in [(level, "a.png" in text) for level, text in heard.texts], heard.texts
    # without a handler they go to stderr, and a trainer that is still open does not disturb Python's exit
    code = ("import sys, ddpm; trainer = ddpm.Trainer(eval(sys.argv[1]), data=sys.argv[2]); trainer.step()\n"
            "ddpm.Trainer(eval(sys.argv[1]), data=sys.argv[3])")
    done = subprocess.run([sys.executable, "-B", "-c", code, str(TINY), folder / "pictures.npy", folder], text=True,
                          stderr=subprocess.PIPE, cwd=Path(__file__).parent)
    assert done.returncode == 1 and "skipped: " in done.stderr and "ddpm.Error" in done.stderr, done


def values_of_options():
    """Python's own values, and what `ddpm train` decides for a short run of a recipe."""
    size = {**TINY, "image-size": (16, 24), "dim-mults": [1, 2], "flip": np.bool_(True)}
    with ddpm.Network(size) as network:
        assert tuple(network.shape) == (16, 24, 3)
    with ddpm.Network({**size, "image-size": np.int64(16), "dim-mults": (1, 2)}) as network:
        assert tuple(network.shape) == (16, 16, 3)
    with ddpm.Trainer({"recipe": "fast", "steps": 100, **TINY}) as trainer:
        rates = [trainer.step_on(np.zeros((4, 3, 16, 16)), [1] * 4, np.zeros((4, 3, 16, 16))).lr for _ in range(10)]
        assert np.allclose(np.divide(rates[:9], rates[0]), np.arange(1, 10)), rates
    refuses(lambda: ddpm.Trainer({"recipe": "fast", "steps": 100, "warmup": 100, **TINY}), "warmup: got 100")
    refuses(lambda: ddpm.Trainer({**TINY, "time": "1m"}), "ddpm train --time")


def draw_and_predict(run):
    with ddpm.Network.open(run) as network:
        assert tuple(network.shape) == (16, 16, 3)
        pictures = network.draw(3, seed=7, steps=4)
        assert pictures.shape == (3, 16, 16, 3) and pictures.dtype == np.uint8
        assert (network.draw(1, seed=7, first=2, steps=4)[0] == pictures[2]).all()
        assert (network.draw(3, seed=8, steps=4) != pictures).any()
        x = np.random.default_rng(2).normal(size=(2, 3, 16, 16))
        both = network.predict(x, [3, 10])
        assert both.shape == x.shape and both.dtype == np.float32 and np.isfinite(both).all()
        assert np.allclose(network.predict(x[1:], [10]), both[1:], atol=1e-5)
        picture = network.predict_x0(x, [3, 10])
        assert picture.shape == x.shape and np.isfinite(picture).all() and (picture != both).any()
        alpha, sigma = network.level(3)  # of objective noise
        want = (x[:1] - sigma * network.predict(x[:1], [3])) / alpha
        assert abs(alpha ** 2 + sigma ** 2 - 1) < 1e-12 and np.allclose(picture[:1], want, atol=1e-4)
        refuses(lambda: network.level(20), "time: got 20, want 0 to 19")
        refuses(lambda: network.predict(x, [3]), "want [B, C, H, W] and [B]")
        refuses(lambda: network.predict(x.transpose(0, 2, 3, 1), [3, 10]), "(2, 16, 16, 3)")
        refuses(lambda: network.predict(np.full_like(x, np.nan), [3, 10]), "not finite")
        refuses(lambda: network.draw(1, sampler="none-such"), "none-such")
        refuses(lambda: network.draw(1, seed=-1), "seed: got -1, want 0 to 2**64 - 1")
        refuses(lambda: network.draw(1, seed=2 ** 64), "want 0 to 2**64 - 1")
        draw_in_other_ways(network, pictures)
    refuses(lambda: network.draw(1), "closed")


with tempfile.TemporaryDirectory() as place:
    assert ddpm.version().count(".") == 2
    refuses(lambda: ddpm.Network({"dimm": 8}), "dimm")
    refuses(lambda: ddpm.Network.open(Path(place) / "missing"), "missing")
    draw_and_predict(train_on_arrays(Path(place)))
    train_on_files(Path(place))
    train_on_an_array(Path(place))
    train_a_pretrained_model(Path(place))
    hear_about_bad_pictures(Path(place))
    values_of_options()
    look_for_the_library(Path(place))
print("ddpm for Python: good")
