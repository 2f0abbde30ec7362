"""The learning rate as a pure function of the optimiser step, so that a resumed run needs no scheduler's state."""

from __future__ import annotations

__all__ = ["rate_factor"]


def rate_factor(step: int, total: int, warmup: float) -> float:
    """Linear warm-up from zero, then linear decay to zero (transformers' polynomial schedule of power 1).

    Args:
        step: optimiser steps already taken; the first step is taken at a rate of zero where there is a warm-up.
        total: optimiser steps of the whole run.
        warmup: share of them, rounded down.
    """
    ramp = int(warmup * total)
    if step < ramp:
        return step / ramp
    return max(0.0, (total - step) / (total - ramp))
