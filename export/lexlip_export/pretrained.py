"""BEiT and BERT from local Hugging Face folders: read, and joined to an untrained LexLIP, as the paper starts.

Nothing is downloaded, and `pytorch_model.bin` is read by the loader that runs nothing of the file. Settings that would
change the arithmetic of our towers are refused, never ignored. Any head that a BEiT was saved with is left behind, its
pooling and final norms too: LexLIP puts its own norm on all tokens. BERT's head goes to both modalities, and the word
embeddings into both decoders explicitly: a file without a decoder would otherwise leave them random without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from lexlip_export.official.container import open_container, state_of, tensor
from lexlip_export.official.distilbert import settings_as_bert, tensors_as_bert
from lexlip_export.official.names import (
    beit_names,
    bert_names,
    built,
    collect,
    head_names,
    load,
    reconcile_bias,
    sizes_of,
    without,
)
from lexlip_export.official.sizes import POSITION_TABLE, BeitSizes, BertSizes, beit_sizes, bert_sizes, layer_count
from lexlip_kernels.errors import BundleError
from lexlip_training.checkpoint import read_object, stored_shapes
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP
from lexlip_training.wordpiece import read_tokenizer_file

#: Tokens of a caption, special ones included (LexLIP, table 1 of the supplement).
_MAX_LENGTH = 40

_HEAD = "cls.predictions."

#: Parts of a BERT that no sparse encoder has a use for.
_BERT_DROPPED = (r"((distil)?bert\.)?embeddings\.position_ids", r"(bert\.)?pooler\..*", r"cls\.seq_relationship\..*")

#: Of a BEiT: heads, poolers, norms behind the last block, the token of masked patches, and what can be computed.
_BEIT_DROPPED = (
    r"classifier\..*",
    r"lm_head\..*",
    r"(beit\.)?layernorm\..*",
    r"(beit\.)?pooler\..*",
    r"(beit\.)?embeddings\.mask_token",
    r".*\.relative_position_index",
)

#: What a configuration must say, if it says anything.
_BERT_SETTINGS = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
_BEIT_SETTINGS = {"hidden_act": "gelu", "use_absolute_position_embeddings": False}


def initialise_from_pretrained(beit_folder: Path, bert_folder: Path) -> tuple[LexLIP, Tokenizer]:
    """Build `lexlip-base`, or what has the sizes of the two models, with their weights.

    The final norm of images starts at (1, 0). A `BertModel` without a prediction head leaves the transform of the two
    heads at random values, the same in both; decoders are the word embeddings in any case.

    Args:
        beit_folder: of `BeitModel`, `BeitForImageClassification` or `BeitForMaskedImageModeling`.
        bert_folder: of `BertForMaskedLM` or `BertModel`, with its tokenizer.

    Returns:
        The model in evaluation mode, and BERT's tokenizer.

    Raises:
        BundleError: a folder is incomplete, damaged or of another architecture, or their widths differ.
    """
    (beit_tensors, beit, beit_eps, beit_prefix), bert = _read_beit(beit_folder), read_bert(bert_folder)
    tokenizer = read_tokenizer_file(bert_folder)
    sizes = bert.sizes
    if beit.hidden_size != sizes.hidden_size:
        raise BundleError(f"a BEiT of width {beit.hidden_size}, a BERT of {sizes.hidden_size}; expected one")
    with sizes_of(f"{beit_folder} and {bert_folder}"):
        config = ModelConfig(
            name="lexlip-base",
            vocab_size=sizes.vocab_size,
            hidden_size=sizes.hidden_size,
            image=beit.config(None, beit_eps),
            text=sizes.config(bert.heads, min(_MAX_LENGTH, text_length(bert_folder, sizes.max_positions))),
            layer_norm_eps=bert.layer_norm_eps,
        )
    tensors = collect(beit_tensors, beit_names(beit.layers, beit_prefix), str(beit_folder))
    tensors |= bert.collect(str(bert_folder))
    model = built(config, tensors, f"{beit_folder} and {bert_folder}", whole=False)
    fresh = model.text_head.state_dict()
    for name in head_names("text", ""):
        part = name.removeprefix("text_head.")
        tensors.setdefault(name, fresh[part])
        if part == "weight":
            tensors[name] = bert.word_embeddings  # whatever the file has
        tensors[f"image_head.{part}"] = tensors[name]
    tensors["image_tower.norm.weight"] = torch.ones(sizes.hidden_size)
    tensors["image_tower.norm.bias"] = torch.zeros(sizes.hidden_size)
    return load(model, tensors, f"{beit_folder} and {bert_folder}"), tokenizer


@dataclass(frozen=True, slots=True)
class BertFolder:
    """What the folder of a BERT holds.

    Attributes:
        tensors: float32, by Hugging Face's names; the decoder of a tied head is there like any other.
        sizes: of the encoder.
        heads: of attention.
        layer_norm_eps: of every LayerNorm.
        prefix: of the encoder's names, "bert." or "".
    """

    tensors: dict[str, Tensor]
    sizes: BertSizes
    heads: int
    layer_norm_eps: float
    prefix: str

    @property
    def has_head(self) -> bool:
        """Whether the masked-language-model head came with it."""
        return any(name.startswith(_HEAD) for name in self.tensors)

    @property
    def word_embeddings(self) -> Tensor:
        """(V, H)."""
        return self.tensors[f"{self.prefix}embeddings.word_embeddings.weight"]

    def collect(self, what: str) -> dict[str, Tensor]:
        """Tensors of our text tower and, where there is a head, of our text head; `what` names the folder in messages.

        Raises:
            BundleError: a tensor is missing, or one is not accounted for.
        """
        names = bert_names(self.sizes.layers, self.prefix)
        return collect(self.tensors, {**names, **head_names("text", _HEAD)} if self.has_head else names, what)


def read_bert(folder: Path) -> BertFolder:
    """Read a `BertForMaskedLM` or `BertModel` folder, or DistilBERT's.

    Raises:
        BundleError: a file is missing or damaged, the model is none of the two, or its arithmetic differs from BERT's.
    """
    config = read_settings(folder / "config.json")
    distilled = config.get("model_type") == "distilbert"
    config = settings_as_bert(config) if distilled else config
    if config.get("model_type") != "bert":
        raise BundleError(
            f"{folder}: a model of type {config.get('model_type')!r}; "
            "text towers are imported from BERT and DistilBERT alone"
        )
    _check_settings(config, _BERT_SETTINGS, folder, "text")
    stored = read_weights(folder, _BERT_DROPPED)
    state = reconcile_bias(tensors_as_bert(stored, str(folder)) if distilled else stored, _HEAD, str(folder))
    tensors = {name: tensor(stored) for name, stored in state.items()}
    prefix = "bert." if any(name.startswith("bert.") for name in tensors) else ""
    heads, eps = config.get("num_attention_heads", 12), config.get("layer_norm_eps", 1e-12)
    if not isinstance(heads, int) or not isinstance(eps, float):
        raise BundleError(f"{folder}: {heads!r} attention heads and LayerNorm eps {eps!r}; expected two numbers")
    bert = BertFolder(tensors, bert_sizes(tensors, prefix, str(folder)), heads, eps, prefix)
    if bert.has_head and config.get("tie_word_embeddings", True):
        # A tied head leaves its decoder out of the file.
        decoder = f"{_HEAD}decoder.weight"
        if not torch.equal(tensors.setdefault(decoder, bert.word_embeddings), bert.word_embeddings):
            raise BundleError(
                f"{folder}: {decoder} differs from the word embeddings, which config.json says it is tied to; "
                'if it is meant to, write "tie_word_embeddings": false there'
            )
    return bert


def text_length(folder: Path, positions: int) -> int:
    """Tokens that a folder cuts texts to: sentence-transformers' length or else the tokenizer's, and what BERT takes.

    Raises:
        BundleError: a file that says so is no JSON object.
    """
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        length = read_settings(folder / name).get(key) if (folder / name).exists() else None
        if isinstance(length, int | float):
            return int(min(length, positions))
        if length is not None:
            raise BundleError(f"{folder / name}: {key} is {length!r}; expected a number of tokens")
    return positions


def _read_beit(folder: Path) -> tuple[dict[str, Tensor], BeitSizes, float, str]:
    """Tensors by Hugging Face's names, sizes, LayerNorm eps, and the names' prefix of any kind of BEiT."""
    config = read_settings(folder / "config.json")
    _check_settings({"model_type": None} | config, {"model_type": "beit"} | _BEIT_SETTINGS, folder, "image")
    tensors = read_weights(folder, _BEIT_DROPPED)
    prefix = "beit." if any(name.startswith("beit.") for name in tensors) else ""
    shared = tensors.pop(f"{prefix}encoder.relative_position_bias.relative_position_bias_table", None)
    if shared is not None:
        # One table for all layers computes what equal tables do; LexLIP trains them apart from there.
        for layer in range(layer_count(tensors, f"{prefix}encoder.layer.")):
            tensors[f"{prefix}encoder.layer.{layer}.{POSITION_TABLE}"] = shared
    eps = config.get("layer_norm_eps", 1e-12)
    if not isinstance(eps, float):
        raise BundleError(f"{folder}: LayerNorm eps {eps!r}; expected a number")
    return tensors, beit_sizes(tensors, prefix, str(folder)), eps, prefix


def read_settings(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        BundleError: the file is missing or holds no JSON object.
    """
    try:
        return read_object(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from None


def read_weights(folder: Path, dropped: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of `model.safetensors` or, without running anything in it, of `pytorch_model.bin`, as float32.

    Names that match one of the regular expressions `dropped` in full are left out.

    Raises:
        BundleError: there is no such file, or it is damaged.
    """
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if safe.exists():
        try:
            stored_shapes(safe)
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


def _check_settings(config: Mapping[str, Any], expected: Mapping[str, Any], folder: Path, tower: str) -> None:
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise BundleError(f"{folder}: {name} is {config[name]!r}; our {tower} tower has {value!r}")
