"""lexlip_kernels: the compute kernels of LexLIP inference, each with a slow, obvious reference.

Importing this package costs nothing: even numpy waits for the first name that needs it, because the error tree lives
here and every command imports that. torch and Triton are loaded by the ops that need them, when they run. Only what
every op shares is re-exported here; an op is imported from its own folder, for example
`from lexlip_kernels.impact_dot import ImpactIndex`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexlip_kernels.backends import available_backends
    from lexlip_kernels.impact_matrix import ImpactMatrix, SparseRows

__all__ = ["ImpactMatrix", "SparseRows", "available_backends"]

_HOMES = {"ImpactMatrix": "impact_matrix", "SparseRows": "impact_matrix", "available_backends": "backends"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
