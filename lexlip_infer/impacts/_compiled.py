"""How this package compiles its numba kernels; imported by kernel modules only, since it loads numba.

Machine code is kept on disk, so that a command compiles once per installation and not once per run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

__all__ = ["compiled"]

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """Compile on first call, releasing the interpreter lock so that a pipeline's stages overlap.

    The cache goes next to the source, else into the user's cache folder. Where neither can be written (say,
    in a container with a read-only root), numba refuses outright; the kernel is then compiled in each process
    anew.
    """
    try:
        kernel: Kernel = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        kernel = numba.njit(nogil=True)(function)
    return kernel
