"""Weights for another image size: every table of positions follows by bicubic interpolation in two dimensions.

The official code stretches BEiT's flattened table of relative positions in one dimension, which scrambles it; here
timm's own resize does it, the three rows of the class token kept as they are.
"""

from __future__ import annotations

import torch
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor, nn

from lexlip_kernels.errors import InputError

__all__ = ["fit_position_tables"]


def fit_position_tables(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict whose tables of positions have the shapes of `model`'s.

    Args:
        weights: of the same model at any image size.
        model: built for the size that is wanted.

    Raises:
        InputError: another tensor than a table of positions has another shape.
    """
    wanted = model.state_dict()
    return {name: _fit(name, value, wanted.get(name), model) for name, value in weights.items()}


def _fit(name: str, value: Tensor, wanted: Tensor | None, model: nn.Module) -> Tensor:
    if wanted is None or wanted.shape == value.shape:
        return value
    if name.endswith("relative_position_bias_table"):
        window = model.get_submodule(name.rpartition(".")[0]).window_size
        assert isinstance(window, tuple)
        fitted: Tensor = resize_rel_pos_bias_table(value, window, tuple(wanted.shape))
        return fitted
    if name.endswith("relative_position_index"):
        return wanted
    if name.endswith(("adapter.position", "pos_embed")):
        return _fit_grid(value, wanted.shape[1])
    raise InputError(f"{name} has shape {tuple(value.shape)}; the run's model expects {tuple(wanted.shape)}")


def _fit_grid(table: Tensor, length: int) -> Tensor:
    """(1, L, H) to (1, length, H), both square grids, with or without a leading class token."""
    old, new = int(table.shape[1] ** 0.5), int(length**0.5)
    first = table.shape[1] - old * old
    if first != length - new * new or first > 1:
        raise InputError(f"a table of {table.shape[1]} positions cannot become one of {length}: no square grids")
    grid = table[:, first:].transpose(1, 2).reshape(1, -1, old, old)
    fitted = nn.functional.interpolate(grid.float(), (new, new), mode="bicubic", align_corners=False, antialias=False)
    return torch.cat([table[:, :first], fitted.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
