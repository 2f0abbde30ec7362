"""Which implementation of a torch op runs; the counterpart of `backends.py` for tensors.

Triton needs an NVIDIA GPU or its own interpreter (`TRITON_INTERPRET=1`, slow, for tests). `"auto"` is decided by where
the tensors lie and whether Triton is installed, nothing else: an error while a kernel runs is an error.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Literal

from lexlip_kernels.errors import BackendUnavailable, InputError

__all__ = ["TorchBackend", "choose_torch_backend", "triton_refusal"]

TorchBackend = Literal["auto", "triton", "reference"]


# A constant, not a cached function: torch.compile traces through the choice and refuses caches.
_TRITON_IS_INSTALLED = importlib.util.find_spec("triton") is not None


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
