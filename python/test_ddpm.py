"""python3 test_ddpm.py, with DDPM_LIBRARY set. Exit 77: no NumPy."""
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
        losses = [trainer.step_on(pictures, rng.integers(0, 20, 4), rng.normal(size=pictures.shape)).loss
                  for _ in range(10)]
        assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
        trainer.save(folder / "arrays")
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
        refuses(lambda: network.predict(x, [3]), "want [B, C, H, W] and [B]")
        refuses(lambda: network.draw(1, sampler="none-such"), "none-such")
    refuses(lambda: network.draw(1), "closed")


with tempfile.TemporaryDirectory() as place:
    assert ddpm.version().count(".") == 2
    refuses(lambda: ddpm.Network({"dimm": 8}), "dimm")
    refuses(lambda: ddpm.Network.open(Path(place) / "missing"), "missing")
    draw_and_predict(train_on_arrays(Path(place)))
    train_on_files(Path(place))
print("ddpm for Python: good")
