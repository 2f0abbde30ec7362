"""What the tensors of a vision transformer tell of its sizes, position tables of another size, names of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lexlip_export.public.model import HEAD_WIDTH
from lexlip_kernels.errors import BundleError


def heads_of(width: int, what: str) -> int:
    """Attention heads of a tower of this width.

    Raises:
        BundleError: the width is no multiple of a head's.
    """
    if width % HEAD_WIDTH:
        raise BundleError(f"{what}: a tower of width {width}; expected a multiple of {HEAD_WIDTH}, a head's width")
    return width // HEAD_WIDTH


def side_of(patches: int, name: str) -> int:
    """Patches along one side.

    Raises:
        BundleError: no square has that many.
    """
    side = math.isqrt(max(patches, 0))
    if side * side != patches or not side:
        raise BundleError(f"{name} has {patches} rows for patches; expected those of a square")
    return side


def resized_positions(table: Tensor, side: int) -> Tensor:
    """A table (1, 1 + w * w, H) for side x side patches, bicubic, as LAVIS does; the class token's row stays."""
    old = math.isqrt(table.shape[1] - 1)
    if old == side:
        return table
    grid = table[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    resized = interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def both(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Names of layers, ours to theirs, as names of their weights and biases."""
    return {f"{ours}.{kind}": (f"{theirs}.{kind}",) for ours, theirs in names.items() for kind in ("weight", "bias")}
