"""The overflow probe: which layer of a half model leaves the range of float16 first, and by how much.

It watches the output of every layer while the half model runs. What comes after the first infinity is infinite too, so
the size of the excess is taken from the float32 model on the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lexlip_export.precision.half import LARGEST_HALF
from lexlip_kernels.errors import BundleError

__all__ = ["Peaks", "check_finite", "watched"]

Peaks = dict[str, float]
"""Largest magnitude of each layer's output, by module path; infinite where one is infinite or not a number."""


@contextmanager
def watched(model: nn.Module) -> Iterator[Peaks]:
    """Record the peaks of a model's layers, in the order in which they first run; several forwards share a maximum."""
    found: Peaks = {}
    hooks = [
        module.register_forward_hook(partial(_record, found, path)) for path, module in model.named_modules() if path
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _record(found: Peaks, path: str, _module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
    outputs = output if isinstance(output, tuple) else (output,)
    for value in outputs:
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            peak = min(torch.inf, float(value.abs().max()))  # infinite for NaN too
            found[path] = max(found.get(path, 0.0), peak)


def check_finite(half: Peaks, float32: Callable[[], Peaks]) -> None:
    """Refuse a half model that overflowed.

    Args:
        half: peaks of the half model.
        float32: measures those of the float32 model on the same inputs; called only to report an overflow.

    Raises:
        BundleError: a layer's output was not finite; the message names the first such layer and its float32 peak.
    """
    first = next((path for path, peak in half.items() if not peak <= LARGEST_HALF), None)
    if first is None:
        return
    size = float32().get(first, torch.inf)
    excess = (
        f"reaches {size:.6g} in float32, {size / LARGEST_HALF:.3g} times the largest half ({LARGEST_HALF:.0f})"
        if size > LARGEST_HALF
        else f"is not finite in half (largest output in float32: {size:.6g}, so a value inside it overflows)"
    )
    raise BundleError(
        f"precision fp16 refused: layer {first} overflows first: it {excess}; export without --precision fp16"
    )
