"""Sizes of a BEiT and a BERT, read off their tensors; only the text tower's heads leave no trace in any shape."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lexlip_export.official.container import State
from lexlip_export.official.position_table import window_of
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ImageTowerConfig, TextTowerConfig

__all__ = ["BeitSizes", "BertSizes", "beit_sizes", "bert_sizes", "layer_count"]

POSITION_TABLE = "attention.attention.relative_position_bias.relative_position_bias_table"

#: timm's BEiT with the shapes and options of the paper; what differs goes into its arguments.
_BACKBONE = "beit_base_patch16_224"


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
    hidden_size, _, _, patch_size = _shape(state, f"{prefix}embeddings.patch_embeddings.projection.weight", 4, what)
    table = f"{prefix}encoder.layer.0.{POSITION_TABLE}"
    rows, heads = _shape(state, table, 2, what)
    intermediate_size, _ = _shape(state, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2, what)
    window = window_of(rows, f"{what}: {table}")
    return BeitSizes(hidden_size, layer_count(state, prefix), heads, intermediate_size, patch_size, window)


def bert_sizes(state: State, prefix: str, what: str) -> BertSizes:
    """Sizes of the BERT below `prefix`; `what` names the checkpoint in messages.

    Raises:
        BundleError: a tensor that tells a size is missing, or of another rank.
    """
    vocab_size, hidden_size = _shape(state, f"{prefix}embeddings.word_embeddings.weight", 2, what)
    max_positions, _ = _shape(state, f"{prefix}embeddings.position_embeddings.weight", 2, what)
    intermediate_size, _ = _shape(state, f"{prefix}encoder.layer.0.intermediate.dense.weight", 2, what)
    return BertSizes(vocab_size, hidden_size, layer_count(state, prefix), intermediate_size, max_positions)


def layer_count(state: State, prefix: str) -> int:
    """One more than the highest layer number; a gap shows as missing tensors later."""
    pattern = re.compile(rf"{re.escape(prefix)}encoder\.layer\.(\d{{1,4}})\..*")
    return 1 + max((int(found[1]) for name in state if (found := pattern.fullmatch(name))), default=-1)


def _shape(state: State, name: str, rank: int, what: str) -> tuple[int, ...]:
    if name not in state:
        raise BundleError(f"{what} lacks the tensor {name}; it is not a checkpoint of this kind, or not a whole one")
    shape = tuple(state[name].shape)
    if len(shape) != rank or 0 in shape:
        raise BundleError(f"{what}: {name} has the shape {shape}; expected {rank} dimensions")
    return shape
