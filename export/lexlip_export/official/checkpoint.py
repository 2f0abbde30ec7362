"""An official LexLIP checkpoint as a model of ours, ready to encode.

Kept: the image tower with its final LayerNorm, the text tower, both heads. Dropped on purpose, by name: momentum
copies, queues and their pointers, the decoder of the pre-training, and buffers that can be computed. Anything else in
the file, or anything missing, is an error.

Of what the file says about itself (`hyper_parameters.config`, as Sacred gave it to Lightning) only numbers and words
that are used or worth remembering are taken out, each after a check of its type: the rest is a stranger's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lexlip_export.official.container import State, open_container, state_of
from lexlip_export.official.names import (
    beit_names,
    bert_names,
    built,
    collect,
    head_names,
    load,
    reconcile_bias,
    without,
)
from lexlip_export.official.sizes import BeitSizes, BertSizes, beit_sizes, bert_sizes, bicubic_2d, legacy_1d, rows_of
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

PositionMode = Literal["legacy_1d", "bicubic_2d"]

#: The official code sets it on every LayerNorm; no file records it.
LAYER_NORM_EPS = 1e-12

#: The only size that the official code can enlarge to: its window is fixed at 24 x 24 patches of 16 px.
LEGACY_SIZE, LEGACY_WINDOW = 384, 24

_BEIT, _BERT = "image_transformer.beit.", "text_transformer.bert."
_HEADS = {"text": "text_transformer.cls.predictions.", "image": "mlm_head_for_image.predictions."}

#: What inference has no use for, as regular expressions of full names.
DROPPED = (
    r"moco_(image_transformer|text_transformer|mlm_head_for_image)\..*",
    r"(image|text)_queue(_ptr)?",
    r"text_transformer\.decoder_heads\..*",
    r"image_transformer\.beit\..*\.relative_position_index",
    r"text_transformer\.bert\.embeddings\.position_ids",
)

#: Of the configuration, for people who look at the bundle.
_REMEMBERED = ("exp_name", "training_mode", "batch_size", "learning_rate", "temperature", "max_epoch", "max_steps")

#: Patches along a side of an image; the table of their offsets grows with the fourth power.
MOST_PATCHES = 128

#: Of a size; beyond it lies damage or mischief.
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """The settings that inference needs, and a record.

    Attributes:
        image_size: pixels, None where the file does not say.
        text_heads: attention heads of the text tower, None where the file does not say.
        max_length: tokens of a text.
        record: JSON-serialisable, for the provenance of a bundle.
    """

    image_size: int | None
    text_heads: int | None
    max_length: int
    record: dict[str, Any]


def load_official(
    path: Path,
    image_size: int | None = None,
    position_mode: PositionMode | None = None,
    text_heads: int | None = None,
) -> tuple[LexLIP, dict[str, Any]]:
    """Read an official checkpoint: Phase 1, Phase 2 or fine-tuned.

    Args:
        path: the file.
        image_size: pixels; the stored configuration's when absent.
        position_mode: how position tables are brought to that size. When absent, 384 px takes "legacy_1d", which is
            what the official code computes there, and any other new size "bicubic_2d".
        text_heads: attention heads of the text tower; the stored configuration's when absent.

    Returns:
        The model in evaluation mode, and a JSON-serialisable record of where it comes from.

    Raises:
        BundleError: the file is damaged or no such checkpoint, or tensors are missing, unknown or of a wrong shape.
    """
    what = str(path)
    with open_container(path) as content:
        if not isinstance(content, Mapping) or "state_dict" not in content:
            raise BundleError(f"{what}: holds no state_dict; expected an official checkpoint, as Lightning saves it")
        state = _kept(state_of(content["state_dict"], what), what)
        stored = stored_settings(content, what)
        stored = replace(stored, image_size=image_size or stored.image_size, text_heads=text_heads or stored.text_heads)
        beit, bert = beit_sizes(state, _BEIT, what), bert_sizes(state, _BERT, what)
        config = _config(beit, bert, stored, what)
        tensors = collect(state, _names(beit, bert), what)
    assert config.image is not None
    mode = _resize(tensors, beit, config.image.image_size, position_mode, what)
    model = load(built(config, tensors, what), tensors, what)
    notice = "Converted from an official LexLIP checkpoint, whose terms of use apply."
    return model, {"notice": notice, "source": path.name, "rel_pos_mode": mode, "official": stored.record}


def _kept(state: State, what: str) -> State:
    state = without(state, DROPPED)
    for prefix in _HEADS.values():
        state = reconcile_bias(state, prefix, what)
    return state


def _config(beit: BeitSizes, bert: BertSizes, stored: StoredSettings, what: str) -> ModelConfig:
    if stored.text_heads is None:
        raise BundleError(f"{what}: stores no num_heads, the attention heads of the text tower; pass --text-heads")
    if beit.hidden_size != bert.hidden_size:
        raise BundleError(f"{what}: an image tower of width {beit.hidden_size}, a text tower of {bert.hidden_size}")
    return ModelConfig(
        name="lexlip-official",
        vocab_size=bert.vocab_size,
        hidden_size=bert.hidden_size,
        image=beit.config(stored.image_size, LAYER_NORM_EPS),
        text=bert.config(stored.text_heads, stored.max_length),
        layer_norm_eps=LAYER_NORM_EPS,
    )


def _names(beit: BeitSizes, bert: BertSizes) -> Mapping[str, tuple[str, ...]]:
    names = {**beit_names(beit.layers, _BEIT), **bert_names(bert.layers, _BERT)}
    names |= {f"image_tower.norm.{kind}": (f"image_transformer.layernorm.{kind}",) for kind in ("weight", "bias")}
    for modality, prefix in _HEADS.items():
        names |= head_names(modality, prefix)
    return names


def _resize(tensors: dict[str, Tensor], beit: BeitSizes, image_size: int, mode: PositionMode | None, what: str) -> str:
    """Bring every position table to the image size, in place; returns the mode, "unchanged" where nothing was done."""
    window = image_size // beit.patch_size
    if window == beit.window:
        return "unchanged"
    if window > MOST_PATCHES:
        raise BundleError(f"{what}: {image_size} px are {window} patches a side; expected at most {MOST_PATCHES}")
    legacy = image_size == LEGACY_SIZE and window == LEGACY_WINDOW
    mode = mode or ("legacy_1d" if legacy else "bicubic_2d")
    if mode == "legacy_1d" and not legacy:
        raise BundleError(
            f"{what}: legacy_1d exists at {LEGACY_SIZE} px of {LEGACY_WINDOW} x {LEGACY_WINDOW} patches alone, "
            f"not at {image_size} px; use bicubic_2d"
        )
    resize = legacy_1d if mode == "legacy_1d" else bicubic_2d
    for name in [name for name in tensors if name.endswith("relative_position_bias_table")]:
        if len(tensors[name]) != rows_of(beit.window):
            raise BundleError(f"{what}: {name} has {len(tensors[name])} rows, the first {rows_of(beit.window)}")
        tensors[name] = resize(tensors[name], window)
    return mode


def stored_settings(content: Mapping[Any, Any], what: str) -> StoredSettings:
    """Read them from the saved dictionary.

    Args:
        content: the whole checkpoint.
        what: its name for messages.

    Raises:
        BundleError: a number is none that such a setting can have.
    """
    hyper_parameters = content.get("hyper_parameters")
    config = hyper_parameters.get("config") if isinstance(hyper_parameters, Mapping) else None
    if not isinstance(config, Mapping):
        config = {}
    remembered = {name: config.get(name) for name in _REMEMBERED}
    remembered |= {name: content.get(name) for name in ("epoch", "global_step")}
    return StoredSettings(
        image_size=_number(config, "image_size", what),
        text_heads=_number(config, "num_heads", what),
        max_length=_number(config, "max_text_len", what) or 40,
        record={name: value for name, value in remembered.items() if _is_plain(value)},
    )


def _number(config: Mapping[Any, Any], name: str, what: str) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        raise BundleError(f"{what}: the stored {name} is no number from 1 to {_LARGEST}")
    return value


def _is_plain(value: object) -> bool:
    """Short enough for a line of a manifest; Python refuses to print an integer of thousands of digits."""
    if isinstance(value, str):
        return len(value) <= 100
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 53)
