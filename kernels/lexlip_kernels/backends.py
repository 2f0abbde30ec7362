"""Which implementation of an op runs: a decision made in the open, once, by what this machine can load.

Only the failed import of the compiled module counts as "native is unavailable". An error while a backend
works is an error: it is never answered by quietly trying a slower one.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Literal

from lexlip_kernels.errors import BackendUnavailable, InputError

__all__ = ["Backend", "available_backends", "choose_backend"]

Backend = Literal["auto", "native", "reference"]


@cache
def _native_import_error() -> str | None:
    try:
        importlib.import_module("lexlip_kernels._native")
    except ImportError as error:
        return str(error)
    return None


def available_backends() -> tuple[Literal["native", "reference"], ...]:
    """Backends that run here, fastest first; `backend="auto"` takes the first."""
    return ("native", "reference") if _native_import_error() is None else ("reference",)


def choose_backend(backend: Backend) -> Literal["native", "reference"]:
    """The backend that a request leads to.

    Raises:
        BackendUnavailable: the native backend is asked for by name and the compiled module does not load.
        InputError: there is no such backend.
    """
    if backend == "auto":
        return available_backends()[0]
    if backend not in ("native", "reference"):
        raise InputError(f"backend is {backend!r}; expected 'auto', 'native' or 'reference'")
    if backend not in available_backends():
        raise BackendUnavailable(
            "backend 'native' was asked for, but the compiled module lexlip_kernels._native does not load "
            f"({_native_import_error()}); reinstall lexlip-infer, or use backend='auto'"
        )
    return backend
