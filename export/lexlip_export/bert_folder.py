"""A BERT from a local Hugging Face folder: its tensors under one set of names, and the settings that shape its output.

`pytorch_model.bin` is read by the loader that runs nothing of the file. Settings that would change the arithmetic of
our text tower are refused, never ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lexlip_export.official.container import open_container, state_of, tensor
from lexlip_export.official.names import Names, bert_names, head_names, without
from lexlip_export.official.reconcile import reconcile_bias
from lexlip_export.official.sizes import BertSizes, bert_sizes
from lexlip_kernels.errors import BundleError

__all__ = ["BertFolder", "read_bert", "read_json", "read_weights"]

_HEAD = "cls.predictions."

#: Parts that no sparse encoder has a use for.
_DROPPED = (r"(bert\.)?embeddings\.position_ids", r"(bert\.)?pooler\..*", r"cls\.seq_relationship\..*")

#: What a configuration must say, if it says anything.
_SETTINGS = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}


@dataclass(frozen=True, slots=True)
class BertFolder:
    """What a folder holds.

    Attributes:
        tensors: float32, by Hugging Face's names; the decoder of a tied head is there like any other.
        sizes: of the encoder.
        heads: of attention.
        layer_norm_eps: of every LayerNorm.
        max_length: tokens of a text.
        prefix: of the encoder's names, "bert." or "".
    """

    tensors: dict[str, Tensor]
    sizes: BertSizes
    heads: int
    layer_norm_eps: float
    max_length: int
    prefix: str

    @property
    def has_head(self) -> bool:
        """Whether the masked-language-model head came with it."""
        return any(name.startswith(_HEAD) for name in self.tensors)

    @property
    def word_embeddings(self) -> Tensor:
        """(V, H)."""
        return self.tensors[f"{self.prefix}embeddings.word_embeddings.weight"]

    def encoder_names(self) -> Names:
        """Our text tower's names to the folder's."""
        return bert_names(self.sizes.layers, self.prefix)

    def head_names(self) -> Names:
        """Our text head's names to the folder's."""
        return head_names("text", _HEAD)


def read_bert(folder: Path) -> BertFolder:
    """Read a `BertForMaskedLM` or `BertModel` folder.

    Raises:
        BundleError: a file is missing or damaged, the model is no BERT, or one whose arithmetic differs from BERT's.
    """
    config = read_json(folder / "config.json")
    _check_settings(config, folder)
    state = reconcile_bias(read_weights(folder, _DROPPED), _HEAD, str(folder))
    tensors = {name: tensor(stored) for name, stored in state.items()}
    prefix = "bert." if any(name.startswith("bert.") for name in tensors) else ""
    sizes = bert_sizes(tensors, prefix, str(folder))
    if config.get("tie_word_embeddings", True):
        _tie(tensors, prefix, folder)
    length = _max_length(folder, sizes.max_positions)
    heads, eps = config.get("num_attention_heads", 12), config.get("layer_norm_eps", 1e-12)
    if not isinstance(heads, int) or not isinstance(eps, float):
        raise BundleError(f"{folder}: {heads!r} attention heads and LayerNorm eps {eps!r}; expected two numbers")
    return BertFolder(tensors, sizes, heads, eps, length, prefix)


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file.

    Raises:
        BundleError: the file is missing or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path}: expected a JSON object")
    return content


def read_weights(folder: Path, dropped: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of `model.safetensors` or, without running anything in it, of `pytorch_model.bin`, as float32.

    Args:
        folder: of the model.
        dropped: regular expressions of full names to leave out.

    Raises:
        BundleError: neither file is there, or it is damaged.
    """
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if safe.exists():
        try:
            state = without(load_file(safe), dropped)
        except (OSError, SafetensorError) as error:
            raise BundleError(f"{safe}: damaged ({error}); copy it again") from None
        return {name: tensor(stored) for name, stored in state.items()}
    if not pickled.exists():
        raise BundleError(f"{folder}: holds no weights; expected model.safetensors or pytorch_model.bin in it")
    with open_container(pickled) as content:
        state = without(state_of(content, str(pickled)), dropped)
        return {_renamed(name): tensor(stored) for name, stored in state.items()}


def _renamed(name: str) -> str:
    """Weights converted from TensorFlow keep its names for LayerNorm."""
    return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name))


def _check_settings(config: dict[str, Any], folder: Path) -> None:
    if config.get("model_type") != "bert":
        raise BundleError(
            f"{folder}: a model of type {config.get('model_type')!r}; text towers are imported from BERT alone"
        )
    for name, expected in _SETTINGS.items():
        if config.get(name, expected) != expected:
            raise BundleError(f"{folder}: {name} is {config[name]!r}; our text tower has {expected!r}")


def _tie(tensors: dict[str, Tensor], prefix: str, folder: Path) -> None:
    """Give a tied head the decoder that the file leaves out."""
    if not any(name.startswith(_HEAD) for name in tensors):
        return
    decoder, embeddings = f"{_HEAD}decoder.weight", tensors[f"{prefix}embeddings.word_embeddings.weight"]
    if not torch.equal(tensors.setdefault(decoder, embeddings), embeddings):
        raise BundleError(
            f"{folder}: {decoder} differs from the word embeddings, which config.json says it is tied to; "
            'if it is meant to, write "tie_word_embeddings": false there'
        )


def _max_length(folder: Path, max_positions: int) -> int:
    """The length that the folder's tokenizer cuts texts to, or else all positions."""
    lengths: list[float] = [max_positions]
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        if (folder / name).exists():
            length = read_json(folder / name).get(key)
            lengths += [length] if isinstance(length, int | float) else []
    return int(min(lengths))
