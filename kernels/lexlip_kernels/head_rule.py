"""What heads differ in beside their decoder: the saturation, and a norm over the whole vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lexlip_kernels.errors import InputError

SATURATIONS = ("log1p_relu", "elu1p")


@dataclass(frozen=True, slots=True)
class HeadRule:
    """How the largest logit x of a term becomes its weight.

    Both saturations are monotone, so choosing by logits is exact. Under `elu1p` every term weighs something, unless x
    is below -104, where exp(x) rounds to 0: k alone makes a vector sparse, and a suppressed term (-1e4) stays out.

    Attributes:
        saturation: "log1p_relu", log(1 + max(x, 0)), or "elu1p", x + 1 where x > 0 and exp(x) elsewhere.
        normalise: divide by the L2 norm of all V weights of a row, before the heaviest are kept.

    Raises:
        InputError: there is no such saturation.
    """

    saturation: Literal["log1p_relu", "elu1p"] = "log1p_relu"
    normalise: bool = False

    def __post_init__(self) -> None:
        if self.saturation not in SATURATIONS:
            known = " or ".join(map(repr, SATURATIONS))
            raise InputError(f"saturation is {self.saturation!r}; expected {known}")


LEXLIP = HeadRule()
"""LexLIP's own: log1p(relu(x)), no norm."""
