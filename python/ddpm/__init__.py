"""Train denoising diffusion models and draw from them, with NumPy arrays.

The work is done by libddpm: the file that $DDPM_LIBRARY names, else the first one found beside this module, by the
system's loader, or in the usual folders (/usr/local/lib, ~/.local/lib, sys.prefix/lib).

    import ddpm
    trainer = ddpm.Trainer({"image-size": 32, "dim": 16, "batch-size": 8}, data="pictures")     # or an array
    for step in range(1000):
        result = trainer.step()
    trainer.save("runs/first")
    with ddpm.Network.open("runs/first") as network:
        pictures = network.draw(16, seed=7)     # uint8 [16, height, width, channels]

Options are those of the library that `ddpm train` has too, with the same names: "image-size": 64 or (64, 96), that is
height and width, "dim-mults": [1, 2, 4], "flip": True. docs/options.md lists them. Arrays are uint8 [N, height, width,
channels] in files and where pictures are drawn, and float32 [N, channels, height, width] in [-1, 1] inside the network.

Errors of the library are raised as ddpm.Error with its message, wrong arrays as ValueError. Warnings, about pictures
that cannot be read for example, go to the logger "ddpm" of the module logging. Objects are freed by close(), at the end
of a `with` block, or when they are collected.
"""
from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from ctypes import byref, c_void_p
from types import TracebackType
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar, Union

import numpy as np
import numpy.typing as npt

from . import _library as _c

__all__ = ["Error", "Network", "StepResult", "Trainer", "ValidationResult", "version"]

Options = Mapping[str, Union[str, int, float, bool, Sequence[int]]]
PathLike = Union[str, "os.PathLike[str]"]
Self = TypeVar("Self", bound="_Handle")


class Error(RuntimeError):
    """An error of the library. `status` is the number of a ddpm_status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class StepResult(NamedTuple):
    """The numbers of one step; see ddpm_step_result."""

    step: int
    loss: float
    grad_norm: float
    lr: float


class ValidationResult(NamedTuple):
    """Losses of the EMA weights; see ddpm_validation_result."""

    step: int
    loss: float
    training_loss: float


def version() -> str:
    """The library's version, "0.2.0"."""
    text: bytes = _c.library.ddpm_version()
    return text.decode()


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_c.library, "ddpm_" + name)(*arguments)
    if status != 0:
        raise Error(status, _c.library.ddpm_error_message().decode())


def _floats(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)


def _pictures_as_floats(pictures: npt.ArrayLike, count: int, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """uint8 [count, H, W, C], or [H, W, C], as [.., C, H, W] in [-1, 1]."""
    given = np.asarray(pictures)
    if given.dtype != np.uint8 or given.shape not in (tuple(shape), (count, *shape)):
        raise ValueError(f"like: got {given.dtype} {given.shape}, want uint8 {(count, *shape)} or {tuple(shape)}")
    return _floats(np.moveaxis(given / np.float32(127.5) - 1, -1, -3))


def _text(name: str, value: Any) -> str:
    """A value as the command line takes it: "on", "96x128", "1,2,4"."""
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ("," if "mult" in name else "x").join(map(str, value))
    return str(value)


def _option(config: Any, name: str) -> str:
    """An option of a configuration of the library, as text."""
    room = ctypes.create_string_buffer(64)
    _call("config_get", config, name.encode(), room, len(room))
    return room.value.decode()


class _Handle:
    """An object of the library, freed only once."""

    _destroy = ""

    def __init__(self) -> None:
        self._pointer = c_void_p()

    def _open(self) -> c_void_p:
        if not self._pointer:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._pointer

    def close(self) -> None:
        """Free it. Closing twice is fine; other calls raise ValueError."""
        if self._pointer:
            getattr(_c.library, "ddpm_" + self._destroy)(byref(self._pointer))

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_pointer", None):
            self.close()


class _Config(_Handle):
    _destroy = "config_destroy"

    def __init__(self, options: Options) -> None:
        super().__init__()
        _call("config_create", byref(self._pointer))
        for name, value in sorted(options.items(), key=lambda item: item[0] != "recipe"):  # the recipe first
            self.set(name, _text(name, value))

    def set(self, name: str, text: str) -> None:
        _call("config_set", self._pointer, name.encode(), os.fsencode(text))

    def number(self, name: str) -> int:
        return int(_option(self._pointer, name))


class Network(_Handle):
    """A network with its weights: new from options, or from a run, checkpoint or file with open()."""

    _destroy = "network_destroy"

    def __init__(self, options: Options) -> None:
        super().__init__()
        with _Config(options) as config:
            _call("network_create", config._pointer, byref(self._pointer))

    @classmethod
    def open(cls, path: PathLike, ema: bool = True, options: Optional[Options] = None) -> "Network":
        """Open a model written by `ddpm train` or Trainer.save(); a bare .safetensors file needs options."""
        network = cls.__new__(cls)
        _Handle.__init__(network)
        with _Config(options or {}) as config:
            _call("network_open", os.fsencode(path), config._pointer if options else None, int(ema),
                  byref(network._pointer))
        return network

    def _format(self) -> _c.PictureFormat:
        out = _c.PictureFormat()
        _call("network_picture_format", self._open(), byref(out))
        return out

    @property
    def shape(self) -> Sequence[int]:
        """Height, width and channels of the pictures, as of draw()."""
        out = self._format()
        return out.height, out.width, out.channels

    def draw(self, count: int, seed: int = 0, *, first: int = 0, ema: bool = True, sampler: Optional[str] = None,
             steps: int = 0, eta: float = 0, clip: Optional[bool] = None, height: int = 0, width: int = 0,
             batch: int = 0, like: Optional[npt.ArrayLike] = None, strength: float = 0.5,
             progress: Optional[Callable[[int, int], Any]] = None) -> npt.NDArray[np.uint8]:
        """Draw pictures number `first` to `first + count - 1`: uint8 [count, height, width, channels].

        Same seed and number, same picture. `sampler`, `steps`, `eta` and `clip` are --sampler, --sampling-steps, --eta
        and --clip of `ddpm sample` (0 or None: as configured), `height` and `width` its --image-size (0: as trained),
        `batch` how many are drawn at once. `like` are pictures to start from, uint8 [count, height, width, channels] or
        one for all; `strength`, 0 to 1, is how much of them is redrawn. `progress(done, total)` is called after every
        step; an exception that it raises, and Ctrl-C, end the draw.
        """
        if not 0 <= seed < 2 ** 64:
            raise ValueError(f"seed: got {seed}, want 0 to 2**64 - 1")
        own = self._format()
        options = _c.SampleOptions(count=count, batch=batch, height=height, width=width, seed=seed, first=first,
                                   weights=int(ema), clip=-1 if clip is None else int(clip), eta=eta, steps=steps,
                                   sampler=sampler.encode() if sampler else None)
        options.size = ctypes.sizeof(options)
        shape = (height or own.height, width or own.width, own.channels)
        if like is not None:
            start = _pictures_as_floats(like, count, shape)
            options.from_, options.from_count, options.strength = start.ctypes.data, start.size, strength
        failures: List[BaseException] = []
        ended: List[Error] = []

        def after_step(_: Optional[int], state: Any) -> int:
            try:
                if progress:
                    progress(state.contents.done, state.contents.total)
            except BaseException as error:  # it cannot pass through the library
                failures.append(error)
            return int(bool(failures or interrupts))

        pictures = np.empty((max(count, 0), *shape), np.uint8)
        with _c.hold_interrupts() as interrupts:
            options.callback = _c.SampleCallback(after_step)
            try:
                _call("sample", self._open(), byref(options), pictures.ctypes.data, pictures.nbytes)
            except Error as error:  # a failure, or the end that after_step asked for
                ended.append(error)
        if failures:
            raise failures[0]
        if ended:  # not by Ctrl-C, or the program's own handler of it has returned
            raise ended[0]
        return pictures

    def predict(self, x: npt.ArrayLike, times: npt.ArrayLike, *, ema: bool = True) -> npt.NDArray[np.float32]:
        """One forward pass: x [B, channels, height, width], finite, nominally in [-1, 1], at `times` [B] from 0 to
        T - 1 (T·t of flow, ln(sigma)/4 of edm). Returns what the network predicts, float32 of x's shape (with
        learned-variance or out-dim, of other channels)."""
        return self._forward("network_forward", self._format().out_channels, x, times, ema)

    def predict_x0(self, x: npt.ArrayLike, times: npt.ArrayLike, *, ema: bool = True) -> npt.NDArray[np.float32]:
        """The pictures that the network predicts from noisy ones, float32 of x's shape, not clipped. x and `times` are
        as in predict(), except that x is not scaled for edm."""
        return self._forward("network_predict_x0", self._format().channels, x, times, ema)

    def level(self, time: float) -> Tuple[float, float]:
        """(alpha, sigma) of x = alpha * picture + sigma * noise at this time, for a sampler of your own."""
        alpha, sigma = ctypes.c_double(), ctypes.c_double()
        _call("network_level", self._open(), time, byref(alpha), byref(sigma))
        return alpha.value, sigma.value

    def _forward(self, call: str, out_channels: int, x: npt.ArrayLike, times: npt.ArrayLike,
                 ema: bool) -> npt.NDArray[np.float32]:
        values, at = _floats(x), _floats(times)
        channels = self._format().channels
        if values.ndim != 4 or at.shape != values.shape[:1] or values.shape[1] != channels:
            raise ValueError(f"got x {values.shape} and times {at.shape}, want [B, C, H, W] and [B], C = {channels}")
        if not np.isfinite(values).all():
            raise ValueError("x: got values that are not finite, want finite numbers")
        batch, _, height, width = values.shape
        given = _c.ForwardInput(x=values.ctypes.data, x_count=values.size, times=at.ctypes.data, time_count=at.size,
                                batch=batch, height=height, width=width)
        given.size = ctypes.sizeof(given)
        out = np.empty((batch, out_channels, height, width), np.float32)
        _call(call, self._open(), int(ema), byref(given), out.ctypes.data, out.size)
        return out

    def save(self, path: PathLike, ema: bool = True) -> None:
        """Write the weights as .safetensors."""
        _call("network_save", self._open(), int(ema), os.fsencode(path))


class _Data(_Handle):
    """Nothing, until open() is called."""

    _destroy = "data_close"

    def open(self, config: _Config, data: Union[PathLike, npt.NDArray[np.uint8]]) -> None:
        if isinstance(data, np.ndarray):
            if data.dtype != np.uint8 or data.ndim not in (3, 4):
                raise ValueError(f"data: got {data.dtype} {data.shape}, want uint8 [N, H, W, C], or [N, H, W] for one "
                                 "channel")
            channels = config.number("channels")
            if (data.shape + (1,))[3] != channels:
                raise ValueError(f"data: got {data.shape}, want [N, H, W, {channels}], as the option channels says")
            self._pictures = np.array(data, order="C")  # a copy, since the library wants it unchanged
            _call("data_open_array", config._pointer, self._pictures.ctypes.data, *data.shape[:3], data.nbytes,
                  byref(self._pointer))
        else:
            _call("data_open", config._pointer, byref(self._pointer))
        _call("data_split", self._pointer, config._pointer, None)
        _call("data_measure", self._pointer, config._pointer)


class Trainer(_Handle):
    """Trains `network` with step() on the pictures of `data`: a folder, a packed file (.npy, uint8 [N, H, W, C]), or
    such an array, which is copied. Or with step_on(), on pictures, times and noise that you pass to every step.
    `network` is the Network being trained: draw from it at any time. It is closed with the trainer.

    Training starts with random weights, or with the EMA weights of `pretrained`: a run, a checkpoint, or a .safetensors
    file, whose network `options` must describe. A run or checkpoint keeps its own network and diffusion options.

    Of 200 pictures or more, some are set aside and not trained on (option "validation"); see validate()."""

    _destroy = "trainer_destroy"

    def __init__(self, options: Options, data: Union[PathLike, npt.NDArray[np.uint8], None] = None,
                 pretrained: Optional[PathLike] = None) -> None:
        super().__init__()
        self._data = _Data()
        given = dict(options)
        if data is not None and not isinstance(data, np.ndarray):
            given["data"] = os.fsdecode(data)
        if pretrained is not None:
            self.network = Network.open(pretrained, options=given)
            height, width, channels = self.network.shape
            given = {"channels": channels, "image-size": (height, width), **given}
        with _Config(given) as config:
            self._batch = config.number("batch-size") * config.number("accumulate")
            if data is not None:
                self._data.open(config, data)
            if pretrained is None:
                self.network = Network.__new__(Network)
                _Handle.__init__(self.network)
                _call("network_create", config._pointer, byref(self.network._pointer))
            _call("trainer_create", self.network._pointer, config._pointer, self._data._pointer,
                  byref(self._pointer))
        self._objective = _option(_c.library.ddpm_network_config(self.network._pointer), "objective")
        _trainers.add(self)

    def close(self) -> None:
        super().close()
        for part in (getattr(self, "network", None), self._data):
            if part is not None:
                part.close()

    def step(self) -> StepResult:
        """One training step on pictures of `data`."""
        out = _c.StepResult()
        _call("trainer_step", self._open(), byref(out))
        return StepResult(out.step, out.loss, out.grad_norm, out.lr)

    def step_on(self, pictures: npt.ArrayLike, times: npt.ArrayLike, noise: npt.ArrayLike) -> StepResult:
        """One step on arrays: pictures in [-1, 1] and noise of a standard normal distribution, both [B, channels,
        height, width]; times [B], integers from 0 to T - 1 (as floats t of flow, above 0 and at most 1, or sigma of
        edm). B is accumulate times batch-size."""
        pointer = self._open()
        x, eps, at = _floats(pictures), _floats(noise), np.ascontiguousarray(times)
        height, width, channels = self.network.shape
        want = (self._batch, channels, height, width)
        if x.shape != want or eps.shape != want or at.shape != want[:1]:
            raise ValueError(f"got pictures {x.shape}, times {at.shape} and noise {eps.shape}, want {want}, "
                             f"{want[:1]} and {want}")
        if not np.abs(x).max() <= 1.001:  # NaN too
            raise ValueError(f"pictures: got values from {x.min():g} to {x.max():g}, want -1 to 1; scale them first, "
                             "2 * (a - low) / (high - low) - 1")
        given = _c.StepInput(pictures=x.ctypes.data, picture_count=x.size, noise=eps.ctypes.data,
                           noise_count=eps.size)
        if self._objective not in ("flow", "edm"):
            if at.dtype.kind not in "iu":
                raise ValueError(f"times: got {at.dtype}, want integers for objective {self._objective}")
            at = at.astype(np.int64)
            given.timesteps, given.timestep_count = at.ctypes.data, at.size
        else:
            at = at.astype(np.float64)
            given.sigmas, given.sigma_count = at.ctypes.data, at.size
        given.size = ctypes.sizeof(given)
        out = _c.StepResult()
        _call("trainer_step_given", pointer, byref(given), byref(out))
        return StepResult(out.step, out.loss, out.grad_norm, out.lr)

    def validate(self) -> ValidationResult:
        """The loss on pictures that were set aside, and on as many training pictures: always the same ones, with the
        same noise. An Error if none were set aside."""
        out = _c.ValidationResult()
        _call("trainer_validate", self._open(), byref(out))
        return ValidationResult(out.step, out.loss, out.training_loss)

    def save(self, run: PathLike) -> None:
        """Write a checkpoint into the run's folder, run/checkpoints, which `ddpm` can use too: `ddpm train --resume`
        continues a run trained on files."""
        _call("trainer_save", self._open(), os.fsencode(run))

    def resume(self, path: PathLike) -> None:
        """Continue from a run's newest checkpoint, or from the given one."""
        _call("trainer_resume", self._open(), os.fsencode(path))


_trainers: "weakref.WeakSet[Trainer]" = weakref.WeakSet()


@atexit.register
def _end() -> None:
    """Threads that read pictures must not log into an interpreter that is gone."""
    for trainer in list(_trainers):
        trainer.close()
    _c.library.ddpm_set_log_callback(_c.LogCallback(), None)
