# SPDX-License-Identifier: Apache-2.0
"""Early-exit networks from Python: numpy arrays in, numpy arrays out.

    import exeunt
    model = exeunt.load("demo/model.safetensors")
    answer = model.predict(image)       # [28][28], values as the model was trained on
    print(model.labels[answer.label], answer.exit, answer.confidence, answer.macs)

A thin layer over libexeunt's public header (exeunt.h), by ctypes: what is said there
of shapes, costs and promises holds here. The library is looked for at $EXEUNT_LIBRARY,
beside this file (where a wheel has it), then where the system's loader looks.
"""
from __future__ import annotations

import ctypes
import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

__all__ = ["Anytime", "Error", "Model", "Prediction", "load", "version"]

ABI = "0.1"  # of the header that this file follows; the library must have the same


class Error(Exception):
    """A call of the library failed; `code` is its status, such as "EFORMAT"."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Prediction:
    """Answers. For one input every field is a scalar ([] of numpy), for many it is [n]."""

    label: npt.NDArray[np.int32]  # class, from 0; -1 where no exit's output was finite
    exit: npt.NDArray[np.int32]  # from 0: the exit whose answer this is
    stage: npt.NDArray[np.int32]  # last stage that was run
    confidence: npt.NDArray[np.float64]  # probability of `label`
    macs: npt.NDArray[np.int64]  # multiply-adds spent
    logits: npt.NDArray[np.float32]  # [classes] or [n][classes]


# ---- the header ---------------------------------------------------------------


class _Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 256)]


class _ModelInfo(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("n_exits", ctypes.c_int32),
                ("n_outputs", ctypes.c_int32), ("rank", ctypes.c_int32),
                ("dim", ctypes.c_int32 * 3), ("full_macs", ctypes.c_int64),
                ("calibrated", ctypes.c_bool)]


class _EngineOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("threads", ctypes.c_int32),
                ("max_batch", ctypes.c_int32), ("fast", ctypes.c_bool),
                ("ready_input", ctypes.c_bool), ("untimed", ctypes.c_bool),
                ("uncalibrated", ctypes.c_bool)]


class _Request(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("classes", ctypes.POINTER(ctypes.c_int32)),
                ("n_classes", ctypes.c_int32)]


class _Result(ctypes.Structure):
    _fields_ = [("label", ctypes.c_int32), ("exit", ctypes.c_int32), ("stage", ctypes.c_int32),
                ("confidence", ctypes.c_double), ("macs", ctypes.c_int64),
                ("logits", ctypes.c_void_p)]


# As numpy sees an array of it: fields at the same offsets.
_RESULT = np.dtype({"names": [name for name, _ in _Result._fields_],
                    "formats": ["i4", "i4", "i4", "f8", "i8", "u8"],
                    "offsets": [getattr(_Result, name).offset for name, _ in _Result._fields_],
                    "itemsize": ctypes.sizeof(_Result)})

_P, _I32, _I64, _STATUS = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_int
_FUNCTIONS: "dict[str, tuple[Any, list[Any]]]" = {
    "ex_version": (ctypes.c_char_p, []),
    "ex_status_name": (ctypes.c_char_p, [_STATUS]),
    "ex_status_text": (ctypes.c_char_p, [_STATUS]),
    "ex_model_load": (_STATUS, [ctypes.c_char_p, ctypes.POINTER(_P), ctypes.POINTER(_Error)]),
    "ex_model_free": (None, [_P]),
    "ex_model_describe": (_STATUS, [_P, ctypes.POINTER(_ModelInfo)]),
    "ex_model_label": (ctypes.c_char_p, [_P, _I32]),
    "ex_model_exit_macs": (_I64, [_P, _I32]),
    "ex_engine_new": (_STATUS, [_P, ctypes.POINTER(_EngineOptions), ctypes.POINTER(_P),
                                ctypes.POINTER(_Error)]),
    "ex_engine_free": (None, [_P]),
    "ex_engine_request": (_STATUS, [_P, ctypes.POINTER(_Request)]),
    "ex_engine_run_many": (_STATUS, [_P, _P, _I32, _P]),
    "ex_engine_begin": (_STATUS, [_P, _P]),
    "ex_engine_advance": (_STATUS, [_P, _I32, _P]),
    "ex_engine_advance_until": (_STATUS, [_P, _I64, _P]),
}
_ENOTFINITE = "ENOTFINITE"


def _open_library() -> ctypes.CDLL:
    beside = Path(__file__).with_name(f"libexeunt.so.{ABI}")
    path = os.environ.get("EXEUNT_LIBRARY") or (str(beside) if beside.exists() else beside.name)
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(f"exeunt: {error}; install the library, or name it in $EXEUNT_LIBRARY"
                          ) from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    found = library.ex_version().decode()
    if found.split(".")[:2] != ABI.split("."):
        raise ImportError(f"exeunt: {path} is version {found}; this module needs {ABI}")
    return library


_library = _open_library()


def _check(status: int, error: Optional[_Error] = None) -> None:
    if status != 0:
        text = error.text if error is not None and error.text else _library.ex_status_text(status)
        raise Error(_library.ex_status_name(status).decode(), text.decode(errors="replace"))


def version() -> str:
    """Of the library that runs."""
    text: bytes = _library.ex_version()
    return text.decode()


# ---- models ---------------------------------------------------------------------


class Model:
    """A model file and an engine that runs it. Threads may share it: calls wait for each
    other. Models of one file in several threads run side by side."""

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, threads: int = 1,
                 max_batch: int = 64, fast: bool = False, ready_input: bool = False) -> None:
        """threads: 1 … 256, 0: all processors. max_batch: 1 … 65536, how many inputs run
        together. fast: admit algorithms that do not keep the bits. ready_input: inputs are
        pre-processed already. Raises Error with the file's name and what is wrong."""
        self._model, self._engine = _P(), _P()
        self._lock, self._begun = threading.Lock(), 0
        error = _Error()
        _check(_library.ex_model_load(os.fsencode(path), ctypes.byref(self._model),
                                      ctypes.byref(error)), error)
        info = _ModelInfo(size=ctypes.sizeof(_ModelInfo))
        _check(_library.ex_model_describe(self._model, ctypes.byref(info)))
        options = _EngineOptions(size=ctypes.sizeof(_EngineOptions), threads=threads,
                                 max_batch=max_batch, fast=fast, ready_input=ready_input,
                                 uncalibrated=not info.calibrated)
        _check(_library.ex_engine_new(self._model, ctypes.byref(options),
                                      ctypes.byref(self._engine), ctypes.byref(error)), error)
        self.shape: Tuple[int, ...] = tuple(info.dim[: info.rank])  # of one input
        self.calibrated: bool = info.calibrated  # it has a policy: predict works
        self.full_macs: int = info.full_macs  # multiply-adds of full depth
        self.exit_macs: Tuple[int, ...] = tuple(  # up to each exit, all earlier heads counted
            _library.ex_model_exit_macs(self._model, i) for i in range(info.n_exits))
        self.labels: Tuple[str, ...] = tuple(
            (_library.ex_model_label(self._model, i) or str(i).encode()).decode(errors="replace")
            for i in range(info.n_outputs))
        self._max_batch = max_batch if max_batch > 0 else 64

    def __del__(self) -> None:
        # Either may lack: the constructor may have failed, or the module be gone.
        if getattr(self, "_engine", None) and _library is not None:
            _library.ex_engine_free(self._engine)
        if getattr(self, "_model", None) and _library is not None:
            _library.ex_model_free(self._model)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return (f"<exeunt.Model: {shape} -> {len(self.labels)} classes, "
                f"{len(self.exit_macs)} exits, {self.full_macs:,} multiply-adds>")

    def _inputs(self, x: npt.ArrayLike) -> "tuple[npt.NDArray[np.float32], bool]":
        """[n][...shape] without copying where it can be, and whether x was one input."""
        array = np.asarray(x)
        if array.dtype.kind not in "buif":
            raise TypeError(f"x has type {array.dtype}; must be real numbers")
        if array.size == 0:
            raise ValueError(f"x has shape {array.shape}: it is empty")
        shapes = [self.shape]  # pictures of one channel may come without it
        if len(self.shape) == 3 and self.shape[0] == 1:
            shapes.append(self.shape[1:])
        if array.shape not in shapes and array.shape[1:] not in shapes:
            raise ValueError(f"x has shape {array.shape}; must be {self.shape}, or (n, "
                             f"{', '.join(map(str, self.shape))}) for many")
        one = array.shape in shapes
        rows = array.reshape((1 if one else len(array), *self.shape))
        return np.ascontiguousarray(rows, dtype=np.float32), one

    def _ask(self, classes: Optional[Sequence[int]]) -> None:
        wanted = list(classes or [])
        request = _Request(size=ctypes.sizeof(_Request), n_classes=len(wanted),
                           classes=(ctypes.c_int32 * len(wanted))(*wanted) if wanted else None)
        status = _library.ex_engine_request(self._engine, ctypes.byref(request))
        if status != 0:
            code = _library.ex_status_name(status).decode()
            raise Error(code, f"classes {wanted}: must be at most 32 of 0 … "
                              f"{len(self.labels) - 1}, and the model's rule one of classes")

    def predict(self, x: npt.ArrayLike, *, classes: Optional[Sequence[int]] = None) -> Prediction:
        """Runs one input, or many, until the model's policy lets each leave.

        x: `shape`, or [n] of it; raw values as the model was trained on (pictures: 0 … 255).
        classes: those that alone may leave early, for models calibrated with classes.
        The same input gets the same bits alone and in any company."""
        if not self.calibrated:
            raise Error("EINVAL", "the model has no policy: calibrate it, or use begin()")
        rows, one = self._inputs(x)
        results, logits = self._room(len(rows))
        with self._lock:
            self._ask(classes)
            for start in range(0, len(rows), self._max_batch):
                n = min(self._max_batch, len(rows) - start)
                status = _library.ex_engine_run_many(self._engine, rows[start:].ctypes.data, n,
                                                     results[start:].ctypes.data)
                self._settle(status)
        return self._prediction(results, logits, one)

    def begin(self, x: npt.ArrayLike) -> "Anytime":
        """Begins one input, to be run as far as there is time for; beginning another one
        gives it up."""
        rows, one = self._inputs(x)
        if not one and len(rows) > 1:
            raise ValueError(f"x has {len(rows)} inputs; anytime is for one")
        with self._lock:
            _check(_library.ex_engine_begin(self._engine, rows.ctypes.data))
            self._begun += 1
            return Anytime(self, self._begun)

    def _room(self, n: int) -> "tuple[npt.NDArray[Any], npt.NDArray[np.float32]]":
        logits = np.empty((n, len(self.labels)), dtype=np.float32)
        results = np.zeros(n, dtype=_RESULT)
        results["logits"] = logits.ctypes.data + np.arange(n, dtype=np.uint64) * np.uint64(
            logits.strides[0])
        return results, logits

    @staticmethod
    def _settle(status: int) -> None:
        if status != 0 and _library.ex_status_name(status).decode() == _ENOTFINITE:
            warnings.warn("no exit gave a finite output; label is -1, confidence NaN",
                          RuntimeWarning, stacklevel=3)
        else:
            _check(status)

    @staticmethod
    def _prediction(results: npt.NDArray[Any], logits: npt.NDArray[np.float32],
                    one: bool) -> Prediction:
        def field(name: str) -> npt.NDArray[Any]:
            return results[name].reshape(()).copy() if one else results[name].copy()

        return Prediction(field("label"), field("exit"), field("stage"), field("confidence"),
                          field("macs"), logits[0] if one else logits)


class Anytime:
    """An input that was begun: spend more on it as often as you like. Each call runs on from
    where the last one stopped; nothing is computed twice."""

    def __init__(self, model: Model, number: int) -> None:
        self._model, self._number, self._reached = model, number, 0

    def advance(self, exit: int) -> Prediction:
        """To exit `exit`, from 0, whatever the policy says; there is no way back."""
        if not 0 <= exit < len(self._model.exit_macs):
            raise ValueError(f"exit = {exit}; must be in 0 … {len(self._model.exit_macs) - 1}")
        if exit < self._reached:
            raise ValueError(f"exit = {exit}; exit {self._reached} was reached before")
        return self._run(_library.ex_engine_advance, exit)

    def advance_until(self, seconds: float) -> Prediction:
        """Until the policy leaves, or the next exit would not be reached within `seconds`
        from now by its measured time. Error "EDEADLINE" where not even one exit was reached."""
        if not 0 <= seconds <= 1e9:
            raise ValueError(f"seconds = {seconds}; must be in 0 … 1e9")
        return self._run(_library.ex_engine_advance_until, round(seconds * 1e9))

    def _run(self, call: Any, argument: int) -> Prediction:
        model = self._model
        results, logits = model._room(1)
        with model._lock:
            if model._begun != self._number:
                raise Error("EINVAL", "another input was begun since")
            model._settle(call(model._engine, argument, results.ctypes.data))
        self._reached = max(self._reached, int(results["exit"][0]))
        return model._prediction(results, logits, True)


def load(path: Union[str, "os.PathLike[str]"], *, threads: int = 1, max_batch: int = 64,
         fast: bool = False, ready_input: bool = False) -> Model:
    """The model of a file that `exeunt train` or `exeunt calibrate` wrote; see Model."""
    return Model(path, threads=threads, max_batch=max_batch, fast=fast, ready_input=ready_input)
