"""Train denoising diffusion models and draw from them, with NumPy arrays.

The work is done by libddpm, which is looked for in $DDPM_LIBRARY, beside this file, and where the system looks.

    import ddpm
    trainer = ddpm.Trainer({"image-size": 32, "dim": 16, "batch-size": 8}, data="pictures")
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
import logging
import os
import weakref
from ctypes import byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path
from types import TracebackType
from typing import Any, Mapping, NamedTuple, Optional, Sequence, Type, TypeVar, Union

import numpy as np
import numpy.typing as npt

__all__ = ["Error", "Network", "StepResult", "Trainer", "version"]

Options = Mapping[str, Union[str, int, float, bool, Sequence[int]]]
PathLike = Union[str, "os.PathLike[str]"]
Self = TypeVar("Self", bound="_Handle")
_SONAME = "libddpm.so.0.2"
_LOG_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING)
_LogCallback = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)


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


class _PictureFormat(ctypes.Structure):
    _fields_ = [("height", c_int64), ("width", c_int64), ("channels", c_int64), ("out_channels", c_int64),
                ("type", c_int), ("bytes", c_uint64), ("timesteps", c_int64), ("multiple", c_int64),
                ("reserved", c_int64 * 4)]


class _StepResult(ctypes.Structure):
    _fields_ = [("step", c_int64), ("loss", c_double), ("grad_norm", c_double), ("lr", c_double),
                ("data_wait", c_double), ("reserved", c_double * 4)]


class _StepInput(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("pictures", c_void_p), ("picture_count", c_size_t),
                ("timesteps", c_void_p), ("timestep_count", c_size_t), ("noise", c_void_p),
                ("noise_count", c_size_t), ("sigmas", c_void_p), ("sigma_count", c_size_t)]


class _ForwardInput(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("x", c_void_p), ("x_count", c_size_t), ("timesteps", c_void_p),
                ("times", c_void_p), ("time_count", c_size_t), ("batch", c_int64), ("height", c_int64),
                ("width", c_int64)]


class _SampleOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("count", c_int64), ("batch", c_int64), ("height", c_int64),
                ("width", c_int64), ("seed", c_uint64), ("first", c_int64), ("weights", c_int), ("clip", c_int),
                ("every", c_int64), ("callback", c_void_p), ("user", c_void_p), ("sampler", c_char_p),
                ("steps", c_int64), ("spacing", c_char_p), ("eta", c_double), ("order", c_int),
                ("churn", c_double), ("churn_min", c_double), ("churn_max", c_double), ("churn_noise", c_double),
                ("threshold", c_double), ("from_", c_void_p), ("from_count", c_size_t), ("strength", c_double),
                ("mask", c_void_p), ("mask_count", c_size_t), ("resample", c_int64), ("jump", c_int64)]


def _load() -> ctypes.CDLL:
    named = os.environ.get("DDPM_LIBRARY")
    beside = Path(__file__).with_name(_SONAME)
    library = ctypes.CDLL(named or (str(beside) if beside.exists() else _SONAME))
    handles = {"config_create": [c_void_p], "config_set": [c_void_p, c_char_p, c_char_p],
               "config_get": [c_void_p, c_char_p, c_char_p, c_size_t],
               "network_create": [c_void_p, c_void_p], "network_open": [c_char_p, c_void_p, c_int, c_void_p],
               "network_picture_format": [c_void_p, c_void_p],
               "network_forward": [c_void_p, c_int, c_void_p, c_void_p, c_size_t],
               "network_save": [c_void_p, c_int, c_char_p], "sample": [c_void_p, c_void_p, c_void_p, c_size_t],
               "data_open": [c_void_p, c_void_p], "data_split": [c_void_p, c_void_p, c_char_p],
               "data_measure": [c_void_p, c_void_p],
               "trainer_create": [c_void_p, c_void_p, c_void_p, c_void_p], "trainer_step": [c_void_p, c_void_p],
               "trainer_step_given": [c_void_p, c_void_p, c_void_p], "trainer_save": [c_void_p, c_char_p],
               "trainer_resume": [c_void_p, c_char_p]}
    for name, arguments in handles.items():
        function = getattr(library, "ddpm_" + name)
        function.argtypes, function.restype = arguments, c_int
    for name in ("config_destroy", "network_destroy", "data_close", "trainer_destroy"):
        function = getattr(library, "ddpm_" + name)
        function.argtypes, function.restype = [c_void_p], None
    library.ddpm_set_log_callback.argtypes, library.ddpm_set_log_callback.restype = [_LogCallback, c_void_p], None
    for name in ("error_message", "version"):
        function = getattr(library, "ddpm_" + name)
        function.argtypes, function.restype = [], c_char_p
    return library


def _log(_: Optional[int], level: int, text: bytes) -> None:
    logging.getLogger("ddpm").log(_LOG_LEVELS[level], "%s", text.decode(errors="replace"))


_library = _load()
_log_callback = _LogCallback(_log)  # must live as long as it is set
_library.ddpm_set_log_callback(_log_callback, None)


def version() -> str:
    """The library's version, "0.2.0"."""
    text: bytes = _library.ddpm_version()
    return text.decode()


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_library, "ddpm_" + name)(*arguments)
    if status != 0:
        raise Error(status, _library.ddpm_error_message().decode())


def _floats(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)


def _text(name: str, value: Any) -> str:
    """A value as the command line takes it: "on", "96x128", "1,2,4"."""
    if isinstance(value, (bool, np.bool_)):
        return "on" if value else "off"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ("," if "mult" in name else "x").join(map(str, value))
    return str(value)


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
        """Free it. Later calls do nothing."""
        if self._pointer:
            getattr(_library, "ddpm_" + self._destroy)(byref(self._pointer))

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
        if "recipe" in options and not any("warmup" in name for name in options):  # as ddpm train does
            self.set("warmup", str(min(self.number("warmup"), self.number("steps") // 10)))

    def set(self, name: str, text: str) -> None:
        _call("config_set", self._pointer, name.encode(), os.fsencode(text))

    def number(self, name: str) -> int:
        room = ctypes.create_string_buffer(64)
        _call("config_get", self._pointer, name.encode(), room, len(room))
        return int(room.value)


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

    def _format(self) -> _PictureFormat:
        out = _PictureFormat()
        _call("network_picture_format", self._open(), byref(out))
        return out

    @property
    def shape(self) -> Sequence[int]:
        """Height, width and channels of the pictures, as of draw()."""
        out = self._format()
        return out.height, out.width, out.channels

    def draw(self, count: int, seed: int = 0, *, first: int = 0, ema: bool = True, sampler: Optional[str] = None,
             steps: int = 0, height: int = 0, width: int = 0, batch: int = 0) -> npt.NDArray[np.uint8]:
        """Draw pictures number `first` to `first + count - 1`: uint8 [count, height, width, channels].

        Same seed and number, same picture. `sampler` and `steps` are --sampler and --sampling-steps of `ddpm
        sample`, `height` and `width` its --image-size (0: as trained), `batch` how many are drawn at once.
        """
        own = self._format()
        options = _SampleOptions(count=count, batch=batch, height=height, width=width, seed=seed, first=first,
                                 weights=int(ema), clip=-1, sampler=sampler.encode() if sampler else None,
                                 steps=steps)
        options.size = ctypes.sizeof(options)
        pictures = np.empty((max(count, 0), height or own.height, width or own.width, own.channels), np.uint8)
        _call("sample", self._open(), byref(options), pictures.ctypes.data, pictures.nbytes)
        return pictures

    def predict(self, x: npt.ArrayLike, times: npt.ArrayLike, *, ema: bool = True) -> npt.NDArray[np.float32]:
        """One forward pass: x [B, channels, height, width], finite, nominally in [-1, 1], at `times` [B] from 0 to
        T - 1 (T·t of flow, ln(sigma)/4 of edm). Returns what the network predicts, float32 of x's shape (with
        learned-variance or out-dim, of other channels)."""
        values, at = _floats(x), _floats(times)
        channels = self._format().channels
        if values.ndim != 4 or at.shape != values.shape[:1] or values.shape[1] != channels:
            raise ValueError(f"got x {values.shape} and times {at.shape}, want [B, C, H, W] and [B], C = {channels}")
        if not np.isfinite(values).all():
            raise ValueError("x: got values that are not finite, want finite numbers")
        batch, _, height, width = values.shape
        given = _ForwardInput(x=values.ctypes.data, x_count=values.size, times=at.ctypes.data, time_count=at.size,
                              batch=batch, height=height, width=width)
        given.size = ctypes.sizeof(given)
        out = np.empty((batch, self._format().out_channels, height, width), np.float32)
        _call("network_forward", self._open(), int(ema), byref(given), out.ctypes.data, out.size)
        return out

    def save(self, path: PathLike, ema: bool = True) -> None:
        """Write the weights as .safetensors."""
        _call("network_save", self._open(), int(ema), os.fsencode(path))


class _Data(_Handle):
    _destroy = "data_close"


class Trainer(_Handle):
    """Trains `network` on the pictures of `data`, a folder or a packed file (.npy, uint8 [N, H, W, C]), with step(),
    or on your own arrays, with step_on()."""

    _destroy = "trainer_destroy"

    def __init__(self, options: Options, data: Optional[PathLike] = None) -> None:
        super().__init__()
        self._data = _Data()
        given = dict(options)
        if data is not None:
            given["data"] = os.fsdecode(data)
        with _Config(given) as config:
            self._batch = config.number("batch-size") * config.number("accumulate")
            if data is not None:
                _call("data_open", config._pointer, byref(self._data._pointer))
                _call("data_split", self._data._pointer, config._pointer, None)
                _call("data_measure", self._data._pointer, config._pointer)
            self.network = Network.__new__(Network)
            _Handle.__init__(self.network)
            _call("network_create", config._pointer, byref(self.network._pointer))
            _call("trainer_create", self.network._pointer, config._pointer, self._data._pointer,
                  byref(self._pointer))
        _trainers.add(self)

    def close(self) -> None:
        super().close()
        for part in (getattr(self, "network", None), self._data):
            if part is not None:
                part.close()

    def step(self) -> StepResult:
        """One training step on pictures of `data`."""
        out = _StepResult()
        _call("trainer_step", self._open(), byref(out))
        return StepResult(out.step, out.loss, out.grad_norm, out.lr)

    def step_on(self, pictures: npt.ArrayLike, times: npt.ArrayLike, noise: npt.ArrayLike) -> StepResult:
        """One step on arrays: pictures in [-1, 1] and noise of a standard normal distribution, both [B, channels,
        height, width]; times [B], integers from 0 to T - 1 (as floats t of flow, above 0 and at most 1, or sigma of
        edm). B is accumulate times batch-size."""
        x, eps, at = _floats(pictures), _floats(noise), np.ascontiguousarray(times)
        height, width, channels = self.network.shape
        want = (self._batch, channels, height, width)
        if x.shape != want or eps.shape != want or at.shape != want[:1]:
            raise ValueError(f"got pictures {x.shape}, times {at.shape} and noise {eps.shape}, want {want}, "
                             f"{want[:1]} and {want}")
        if not np.abs(x).max() <= 1.001:  # NaN too
            raise ValueError(f"pictures: got values from {x.min():g} to {x.max():g}, want -1 to 1; scale them first, "
                             "2 * (a - low) / (high - low) - 1")
        given = _StepInput(pictures=x.ctypes.data, picture_count=x.size, noise=eps.ctypes.data,
                           noise_count=eps.size)
        if at.dtype.kind in "iu":
            at = at.astype(np.int64)
            given.timesteps, given.timestep_count = at.ctypes.data, at.size
        else:
            at = at.astype(np.float64)
            given.sigmas, given.sigma_count = at.ctypes.data, at.size
        given.size = ctypes.sizeof(given)
        out = _StepResult()
        _call("trainer_step_given", self._open(), byref(given), byref(out))
        return StepResult(out.step, out.loss, out.grad_norm, out.lr)

    def save(self, run: PathLike) -> None:
        """Write a checkpoint into the run's folder, which `ddpm` can use too."""
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
    _library.ddpm_set_log_callback(_LogCallback(), None)
