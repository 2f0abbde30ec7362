"""A BEiT from a local Hugging Face folder, as the backbone of our image tower.

Any head it was saved with is left behind, its pooling and final norms too: LexLIP puts its own norm on all tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lexlip_export.bert_folder import read_json, read_weights
from lexlip_export.official.names import Names, beit_names
from lexlip_export.official.sizes import POSITION_TABLE, BeitSizes, beit_sizes, layer_count
from lexlip_kernels.errors import BundleError

__all__ = ["BeitFolder", "read_beit"]

#: Heads, poolers, norms behind the last block, the token of masked patches, and what can be computed.
_DROPPED = (
    r"classifier\..*",
    r"lm_head\..*",
    r"(beit\.)?layernorm\..*",
    r"(beit\.)?pooler\..*",
    r"(beit\.)?embeddings\.mask_token",
    r".*\.relative_position_index",
)

#: What a configuration must say, if it says anything.
_SETTINGS = {"model_type": "beit", "hidden_act": "gelu", "use_absolute_position_embeddings": False}


@dataclass(frozen=True, slots=True)
class BeitFolder:
    """What a folder holds.

    Attributes:
        tensors: float32, by Hugging Face's names; every layer with a position table of its own.
        sizes: of the encoder.
        layer_norm_eps: of every LayerNorm.
        prefix: of the names, "beit." or "".
    """

    tensors: dict[str, Tensor]
    sizes: BeitSizes
    layer_norm_eps: float
    prefix: str

    def names(self) -> Names:
        """Our image backbone's names to the folder's."""
        return beit_names(self.sizes.layers, self.prefix)


def read_beit(folder: Path) -> BeitFolder:
    """Read a folder of `BeitModel`, `BeitForImageClassification` or `BeitForMaskedImageModeling`.

    Raises:
        BundleError: a file is missing or damaged, or the model is no BEiT with relative positions and layer scale.
    """
    config = read_json(folder / "config.json")
    _check_settings(config, folder)
    tensors = read_weights(folder, _DROPPED)
    prefix = "beit." if any(name.startswith("beit.") for name in tensors) else ""
    shared = tensors.pop(f"{prefix}encoder.relative_position_bias.relative_position_bias_table", None)
    if shared is not None:
        # One table for all layers computes what equal tables do; LexLIP trains them apart from there.
        for layer in range(layer_count(tensors, prefix)):
            tensors[f"{prefix}encoder.layer.{layer}.{POSITION_TABLE}"] = shared
    eps = config.get("layer_norm_eps", 1e-12)
    if not isinstance(eps, float):
        raise BundleError(f"{folder}: LayerNorm eps {eps!r}; expected a number")
    return BeitFolder(tensors, beit_sizes(tensors, prefix, str(folder)), eps, prefix)


def _check_settings(config: dict[str, Any], folder: Path) -> None:
    for name, expected in _SETTINGS.items():
        if config.get(name, expected if name != "model_type" else None) != expected:
            raise BundleError(f"{folder}: {name} is {config.get(name)!r}; our image tower has {expected!r}")
