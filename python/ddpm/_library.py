"""libddpm through ctypes: finding it, its structs, its functions, its log."""
from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from ctypes import c_char_p, c_double, c_int, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import Iterator, List, Optional

_SONAME = "libddpm.so.0.2"
_LOG_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING)
LogCallback = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)


class PictureFormat(ctypes.Structure):
    _fields_ = [("height", c_int64), ("width", c_int64), ("channels", c_int64), ("out_channels", c_int64),
                ("type", c_int), ("bytes", c_uint64), ("timesteps", c_int64), ("multiple", c_int64),
                ("reserved", c_int64 * 4)]


class StepResult(ctypes.Structure):
    _fields_ = [("step", c_int64), ("loss", c_double), ("grad_norm", c_double), ("lr", c_double),
                ("data_wait", c_double), ("reserved", c_double * 4)]


class ValidationResult(ctypes.Structure):
    _fields_ = [("step", c_int64), ("loss", c_double), ("training_loss", c_double), ("bands", c_double * 8),
                ("training_bands", c_double * 8), ("reserved", c_double * 4)]


class StepInput(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("pictures", c_void_p), ("picture_count", c_size_t),
                ("timesteps", c_void_p), ("timestep_count", c_size_t), ("noise", c_void_p),
                ("noise_count", c_size_t), ("sigmas", c_void_p), ("sigma_count", c_size_t)]


class ForwardInput(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("x", c_void_p), ("x_count", c_size_t), ("timesteps", c_void_p),
                ("times", c_void_p), ("time_count", c_size_t), ("batch", c_int64), ("height", c_int64),
                ("width", c_int64)]


class SampleProgress(ctypes.Structure):
    _fields_ = [("time", c_double), ("timestep", c_int64), ("done", c_int64), ("total", c_int64)]  # more follow


SampleCallback = ctypes.CFUNCTYPE(c_int, c_void_p, ctypes.POINTER(SampleProgress))


class SampleOptions(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("count", c_int64), ("batch", c_int64), ("height", c_int64),
                ("width", c_int64), ("seed", c_uint64), ("first", c_int64), ("weights", c_int), ("clip", c_int),
                ("every", c_int64), ("callback", SampleCallback), ("user", c_void_p), ("sampler", c_char_p),
                ("steps", c_int64), ("spacing", c_char_p), ("eta", c_double), ("order", c_int),
                ("churn", c_double), ("churn_min", c_double), ("churn_max", c_double), ("churn_noise", c_double),
                ("threshold", c_double), ("from_", c_void_p), ("from_count", c_size_t), ("strength", c_double),
                ("mask", c_void_p), ("mask_count", c_size_t), ("resample", c_int64), ("jump", c_int64)]


def _usual_folders() -> Iterator[Path]:
    """Where an install puts libraries that the loader may not find: in ~/.local, or anywhere before `ldconfig` has run."""
    for prefix in (Path("/usr/local"), Path(os.path.expanduser("~/.local")), Path(sys.prefix)):
        for below in ("lib", "lib64", f"lib/{os.uname().machine}-linux-gnu"):
            yield prefix / below


def _find() -> ctypes.CDLL:
    named, beside = os.environ.get("DDPM_LIBRARY"), Path(__file__).with_name(_SONAME)
    places = [named] if named else [str(beside)] * beside.exists() + [_SONAME]
    if not named:
        places += [str(folder / _SONAME) for folder in _usual_folders() if (folder / _SONAME).exists()]
    problem: Optional[OSError] = None
    for place in places:
        try:
            return ctypes.CDLL(place)
        except OSError as error:  # the last one is about a file that exists, if there is any
            problem = error
    raise ImportError(f"{problem}; want libddpm installed: run ldconfig, or set DDPM_LIBRARY=…/libddpm.so")


def _load() -> ctypes.CDLL:
    library = _find()
    handles = {"config_create": [c_void_p], "config_set": [c_void_p, c_char_p, c_char_p],
               "config_get": [c_void_p, c_char_p, c_char_p, c_size_t],
               "network_create": [c_void_p, c_void_p], "network_open": [c_char_p, c_void_p, c_int, c_void_p],
               "network_picture_format": [c_void_p, c_void_p],
               "network_forward": [c_void_p, c_int, c_void_p, c_void_p, c_size_t],
               "network_predict_x0": [c_void_p, c_int, c_void_p, c_void_p, c_size_t],
               "network_save": [c_void_p, c_int, c_char_p], "sample": [c_void_p, c_void_p, c_void_p, c_size_t],
               "network_level": [c_void_p, c_double, c_void_p, c_void_p],
               "data_open": [c_void_p, c_void_p],
               "data_open_array": [c_void_p, c_void_p, c_int64, c_int64, c_int64, c_size_t, c_void_p],
               "data_split": [c_void_p, c_void_p, c_char_p],
               "data_measure": [c_void_p, c_void_p],
               "trainer_create": [c_void_p, c_void_p, c_void_p, c_void_p], "trainer_step": [c_void_p, c_void_p],
               "trainer_step_given": [c_void_p, c_void_p, c_void_p], "trainer_validate": [c_void_p, c_void_p],
               "trainer_save": [c_void_p, c_char_p],
               "trainer_resume": [c_void_p, c_char_p]}
    for name, arguments in handles.items():
        function = getattr(library, "ddpm_" + name)
        function.argtypes, function.restype = arguments, c_int
    for name in ("config_destroy", "network_destroy", "data_close", "trainer_destroy"):
        function = getattr(library, "ddpm_" + name)
        function.argtypes, function.restype = [c_void_p], None
    library.ddpm_network_config.argtypes, library.ddpm_network_config.restype = [c_void_p], c_void_p
    library.ddpm_set_log_callback.argtypes, library.ddpm_set_log_callback.restype = [LogCallback, c_void_p], None
    for name in ("error_message", "version"):
        function = getattr(library, "ddpm_" + name)
        function.argtypes, function.restype = [], c_char_p
    return library


def _log(_: Optional[int], level: int, text: bytes) -> None:
    logging.getLogger("ddpm").log(_LOG_LEVELS[level], "%s", text.decode(errors="replace"))


@contextlib.contextmanager
def hold_interrupts() -> Iterator[List[int]]:
    """Collect Ctrl-C in a list and act on it at the end: an exception that Python raised in the middle of a callback
    of the library would be lost."""
    seen: List[int] = []
    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(before):
        yield seen
        return
    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
        if seen:
            before(signal.SIGINT, None)


library = _load()
log_callback = LogCallback(_log)  # must live as long as it is set
library.ddpm_set_log_callback(log_callback, None)
