"""Sizes of a BEiT and a BERT, read off their tensors, and BEiT's position tables brought to another image size.

Only the text tower's attention heads leave no trace in any shape. A relative-position table has a row for each offset
between two patches of a w x w window, (2w - 1)^2 of them, dy major, and three more: CLS to patch, patch to CLS, CLS to
CLS; a column per attention head. Resized tables keep that layout, so that the model needs to know nothing of where its
table came from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lexlip_export.official.container import State
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ImageTowerConfig, TextTowerConfig

POSITION_TABLE = "attention.attention.relative_position_bias.relative_position_bias_table"

#: timm's BEiT with the shapes and options of the paper; what differs goes into its arguments.
_BACKBONE = "beit_base_patch16_224"

#: Rows of the class token, behind those of patches.
CLASS_ROWS = 3


@dataclass(frozen=True, slots=True)
class BeitSizes:
    """Of an image tower.

    Attributes:
        hidden_size: H.
        layers: blocks.
        heads: of attention.
        intermediate_size: width of the feed-forward layers.
        patch_size: pixels.
        window: patches along one side, as the position tables were trained.
    """

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    patch_size: int
    window: int

    def config(self, image_size: int | None, layer_norm_eps: float) -> ImageTowerConfig:
        """Our image tower of these sizes; `image_size` is the trained one when absent.

        Raises:
            BundleError: the image size is no multiple of the patch size.
        """
        image_size = image_size or self.window * self.patch_size
        if image_size % self.patch_size:
            raise BundleError(f"image size {image_size} is no multiple of the patch size {self.patch_size}")
        options: dict[str, str | int | float | bool] = {
            "drop_path_rate": 0.1,
            "img_size": image_size,
            "patch_size": self.patch_size,
            "embed_dim": self.hidden_size,
            "depth": self.layers,
            "num_heads": self.heads,
            "mlp_ratio": self.intermediate_size / self.hidden_size,
            "init_values": 0.1,  # any: layer scale exists, its values are loaded
        }
        half = (0.5, 0.5, 0.5)
        return ImageTowerConfig(
            backbone=_BACKBONE,
            backbone_options=options,
            image_size=image_size,
            resize="center_crop",
            mean=half,
            std=half,
            layer_norm_eps=layer_norm_eps,
        )


@dataclass(frozen=True, slots=True)
class BertSizes:
    """Of a text tower.

    Attributes:
        vocab_size: V.
        hidden_size: H.
        layers: of the transformer.
        intermediate_size: width of the feed-forward layers.
        max_positions: rows of the position table.
    """

    vocab_size: int
    hidden_size: int
    layers: int
    intermediate_size: int
    max_positions: int

    def config(self, heads: int, max_length: int) -> TextTowerConfig:
        """Our text tower of these sizes.

        Raises:
            BundleError: the heads do not divide H, or texts are longer than the position table.
        """
        if heads < 1 or self.hidden_size % heads:
            raise BundleError(f"{heads} attention heads do not divide the text tower's width {self.hidden_size}")
        if not 2 < max_length <= self.max_positions:
            raise BundleError(f"a text length of {max_length}; the position table allows 3 to {self.max_positions}")
        return TextTowerConfig(
            layers=self.layers,
            heads=heads,
            intermediate_size=self.intermediate_size,
            max_positions=self.max_positions,
            max_length=max_length,
        )


def beit_sizes(state: State, prefix: str, what: str) -> BeitSizes:
    """Sizes of the BEiT below `prefix`; `what` names the checkpoint in messages.

    Raises:
        BundleError: a tensor that tells a size is missing, or of another rank.
    """
    hidden_size, _, _, patch_size = shape_of(state, f"{prefix}embeddings.patch_embeddings.projection.weight", 4, what)
    table = f"{prefix}encoder.layer.0.{POSITION_TABLE}"
    rows, heads = shape_of(state, table, 2, what)
    intermediate_size, _ = shape_of(state, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2, what)
    window = window_of(rows, f"{what}: {table}")
    return BeitSizes(
        hidden_size, layer_count(state, f"{prefix}encoder.layer."), heads, intermediate_size, patch_size, window
    )


def bert_sizes(state: State, prefix: str, what: str) -> BertSizes:
    """Sizes of the BERT below `prefix`; `what` names the checkpoint in messages.

    Raises:
        BundleError: a tensor that tells a size is missing, or of another rank.
    """
    vocab_size, hidden_size = shape_of(state, f"{prefix}embeddings.word_embeddings.weight", 2, what)
    max_positions, _ = shape_of(state, f"{prefix}embeddings.position_embeddings.weight", 2, what)
    intermediate_size, _ = shape_of(state, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2, what)
    return BertSizes(
        vocab_size, hidden_size, layer_count(state, f"{prefix}encoder.layer."), intermediate_size, max_positions
    )


def layer_count(names: Iterable[str], prefix: str) -> int:
    """One more than the highest number behind `prefix`; a gap shows as missing tensors later."""
    pattern = re.compile(rf"{re.escape(prefix)}(\d{{1,4}})\..*")
    return 1 + max((int(found[1]) for name in names if (found := pattern.fullmatch(name))), default=-1)


def shape_of(state: State, name: str, rank: int, what: str) -> tuple[int, ...]:
    """Sizes of a tensor of so many dimensions; `what` names the checkpoint in messages.

    Raises:
        BundleError: it is missing, or has another rank.
    """
    if name not in state:
        raise BundleError(f"{what} lacks the tensor {name}; it is not a checkpoint of this kind, or not a whole one")
    shape = tuple(state[name].shape)
    if len(shape) != rank or 0 in shape:
        raise BundleError(f"{what}: {name} has the shape {shape}; expected {rank} dimensions")
    return shape


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
