"""Which implementation of an op runs: a decision made in the open, once, by what this machine can load.

Only the failed import of the compiled module counts as "native is unavailable". Triton needs an NVIDIA GPU or its own
interpreter (`TRITON_INTERPRET=1`, slow, for tests): for tensors `"auto"` is decided by where they lie and whether
Triton is installed, nothing else. An error while a backend works is an error: it is never answered by quietly trying a
slower one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from typing import Literal

from lexlip_kernels.errors import BackendUnavailable, InputError

Backend = Literal["auto", "native", "reference"]
TorchBackend = Literal["auto", "triton", "reference"]

# A constant, not a cached function: torch.compile traces through the choice and refuses caches.
_TRITON_IS_INSTALLED = importlib.util.find_spec("triton") is not None


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


def triton_refusal(device_type: str) -> str | None:
    """Why Triton cannot run on tensors of this device, with the cure; None where it can."""
    if not _TRITON_IS_INSTALLED:
        return "Triton is not installed; pip install 'lexlip-infer[triton]', or use backend='reference'"
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            f"the tensors lie on {device_type!r} and Triton needs 'cuda'; move them there, use backend='reference', "
            "or set TRITON_INTERPRET=1 before the first import of triton (slow, for tests)"
        )
    return None


def choose_torch_backend(backend: TorchBackend, device_type: str) -> Literal["triton", "reference"]:
    """The backend that a request leads to; `"auto"` is Triton for CUDA tensors if installed, else the reference.

    Args:
        backend: what the caller asks for.
        device_type: where its tensors lie, for example `"cuda"`.

    Raises:
        BackendUnavailable: Triton is asked for by name and cannot run on that device.
        InputError: there is no such backend.
    """
    if backend == "auto":
        return "triton" if device_type == "cuda" and triton_refusal(device_type) is None else "reference"
    if backend not in ("triton", "reference"):
        raise InputError(f"backend is {backend!r}; expected 'auto', 'triton' or 'reference'")
    if backend == "triton" and (refusal := triton_refusal(device_type)) is not None:
        raise BackendUnavailable(f"backend 'triton' was asked for, but {refusal}")
    return backend
