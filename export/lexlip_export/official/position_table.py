"""Relative-position tables of BEiT for another image size than they were trained at.

A table has a row for each offset between two patches of a w x w window, (2w - 1)^2 of them, dy major, and three more:
CLS to patch, patch to CLS, CLS to CLS; a column per attention head. Both functions return that layout, so that the
model needs to know nothing of where its table came from.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lexlip_kernels.errors import BundleError

__all__ = ["bicubic_2d", "legacy_1d", "legacy_stretch", "rows_of", "window_of"]

#: Rows of the class token, behind those of patches.
CLASS_ROWS = 3


def window_of(rows: int, name: str) -> int:
    """Patches along one side, from a table's number of rows.

    Raises:
        BundleError: no square window has that many.
    """
    side = math.isqrt(max(rows - CLASS_ROWS, 0))
    if side % 2 == 0 or side * side != rows - CLASS_ROWS:
        raise BundleError(f"{name} has {rows} rows; expected (2w-1)^2 + 3 for a window of w x w patches")
    return (side + 1) // 2


def rows_of(window: int) -> int:
    """Rows of the table of a window."""
    return (2 * window - 1) ** 2 + CLASS_ROWS


def legacy_stretch(table: Tensor, rows: int) -> Tensor:
    """The official stretch of a whole table (old rows, heads) to (rows, heads), as one line, the layout ignored.

    New sample n reads the old position (n + 0.5) * old / (rows + 0.1) - 0.5, clamped and linear between neighbours. The
    0.1 is the official code's; torch computes the coordinates in float32, as it does there.
    """
    line = table.T.unsqueeze(0)
    stretched: Tensor = interpolate(line, scale_factor=(rows + 0.1) / len(table), mode="linear", align_corners=False)
    return stretched.squeeze(0).T


def legacy_1d(table: Tensor, window: int) -> Tensor:
    """The table (rows, heads) that the official code computes with at another size.

    Geometrically wrong, but a model fine-tuned at 384 px has adapted to it. Rows of the class token are read where they
    stood in the *old* table, in the middle of the new one.
    """
    rows = rows_of(window)
    stretched = legacy_stretch(table, rows)
    old = len(table) - CLASS_ROWS
    return torch.cat([stretched[: rows - CLASS_ROWS], stretched[old : old + CLASS_ROWS]])


def bicubic_2d(table: Tensor, window: int) -> Tensor:
    """A bicubic resize of the grid of offsets, (rows, heads); the class token's rows stay."""
    side = math.isqrt(len(table) - CLASS_ROWS)
    grid = table[:-CLASS_ROWS].T.reshape(1, -1, side, side)
    resized = interpolate(grid, size=(2 * window - 1, 2 * window - 1), mode="bicubic", align_corners=False)
    return torch.cat([resized.flatten(2).squeeze(0).T, table[-CLASS_ROWS:]])
