"""BLIP and ALBEF as their retrieval checkpoints have them: towers that give one unit vector an image or a text.

Three kinds of source: a Hugging Face folder of BLIP, and the checkpoint files of LAVIS or of the original repositories,
whose names are the same. BLIP's texts have no embedding of token types, and 2 tokens more than BERT (for its decoder
and for matching), which no text here holds. ALBEF reads texts with the layers below its fusion layer, those without
cross attention. What belongs to matching, momentum and queues is dropped by name; anything else unknown is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lexlip_export.licence import licence_notice
from lexlip_export.official.container import State, open_container, state_of
from lexlip_export.official.names import Names, bert_names, collect, without
from lexlip_export.official.sizes import bert_sizes, layer_count, shape_of
from lexlip_export.pretrained import read_settings, read_weights
from lexlip_export.public.folder import check_whole
from lexlip_export.public.model import CLIP_MEAN, CLIP_STD
from lexlip_export.public.sizes import both, heads_of, resized_positions, side_of
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ImageTowerConfig, TextTowerConfig

#: Tokens of a caption, special ones included, in the evaluation of both.
MAX_LENGTH = 35
#: Tokens that BLIP has beyond BERT's.
_FURTHER_TOKENS = 2
_TYPES = "embeddings.token_type_embeddings.weight"
_EMBEDDINGS = "text_tower.bert.embeddings.word_embeddings.weight"
_EXPECTED = "--dense takes a Hugging Face folder of BLIP, or a retrieval checkpoint of BLIP or ALBEF from LAVIS"

_DROPPED = (
    r"(visual_encoder|text_encoder|vision_proj|text_proj)_m\..*",
    r"itm_head\..*",
    r"(image|text|idx|ptr|new_ptr)_queue|queue_ptr",
    r"temp|logit_scale",
    r"text_encoder\.cls\..*",
    r"text_encoder\.(bert\.)?embeddings\.position_ids",
    r"text_encoder\.(bert\.)?pooler\..*",
    r"text_encoder\.(bert\.)?encoder\.layer\.\d+\.crossattention\..*",
)
_OF_FUSION = re.compile(r"text_encoder\.(?:bert\.)?encoder\.layer\.(\d+)\.crossattention\..*")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names of an image tower, ours (timm's) to theirs: of a block, behind `blocks` and its number, and of the rest."""

    blocks: str
    block: Names
    rest: Names


_LAVIS = _Layout(
    blocks="visual_encoder.blocks.",
    block=both({part: part for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}),
    rest={name: (f"visual_encoder.{name}",) for name in ("cls_token", "pos_embed")}
    | both({name: f"visual_encoder.{name}" for name in ("patch_embed.proj", "norm")}),
)
_HUGGING_FACE = _Layout(
    blocks="vision_model.encoder.layers.",
    block=both(
        {
            "norm1": "layer_norm1",
            "norm2": "layer_norm2",
            "attn.qkv": "self_attn.qkv",
            "attn.proj": "self_attn.projection",
            "mlp.fc1": "mlp.fc1",
            "mlp.fc2": "mlp.fc2",
        }
    ),
    rest={
        "cls_token": ("vision_model.embeddings.class_embedding",),
        "pos_embed": ("vision_model.embeddings.position_embedding",),
        **both({"patch_embed.proj": "vision_model.embeddings.patch_embedding", "norm": "vision_model.post_layernorm"}),
    },
)


@dataclass(frozen=True, slots=True)
class DenseTowers:
    """Towers that have been read.

    Attributes:
        kind: which of the two.
        tensors: float32, by the names of `d2s.D2SModel`.
        image: the image tower's configuration.
        text: the text tower's.
        hidden_size: of both towers.
        dense_size: length of their vectors.
        layer_norm_eps: of the text tower.
        notice: of the weights' licence.
    """

    kind: Literal["blip", "albef"]
    tensors: dict[str, Tensor]
    image: ImageTowerConfig
    text: TextTowerConfig
    hidden_size: int
    dense_size: int
    layer_norm_eps: float
    notice: str


@dataclass(frozen=True, slots=True)
class _Stored:
    """Towers as somebody has stored them."""

    state: State
    layout: _Layout
    what: str
    image_eps: float
    text_eps: float
    notice: str


def read_dense(path: Path, tokens: int, image_size: int | None = None) -> DenseTowers:
    """Read the towers of BLIP or ALBEF.

    Args:
        path: folder of Hugging Face, or file of LAVIS.
        tokens: of the tokenizer, BERT's; rows of embeddings for further ones are left out.
        image_size: pixels; the checkpoint's own when absent.

    Raises:
        BundleError: something is missing, damaged, unknown, or of another architecture.
    """
    if not path.exists():
        raise BundleError(f"{path}: does not exist; {_EXPECTED}")
    check_whole(path)
    if path.is_dir():
        return _towers(_stored_folder(path), tokens, image_size)
    what = str(path)
    with open_container(path) as content:
        if not isinstance(content, Mapping) or "model" not in content:
            raise BundleError(f"{what}: holds no 'model'; {_EXPECTED}")
        notice = licence_notice(path.parent, f"Towers of {path.name} (LAVIS, code BSD-3-Clause).")
        stored = _Stored(state_of(content["model"], what), _LAVIS, what, 1e-6, 1e-12, notice)
        return _towers(stored, tokens, image_size)


def _stored_folder(folder: Path) -> _Stored:
    config = read_settings(folder / "config.json")
    if config.get("model_type") != "blip":
        raise BundleError(f"{folder}: a model of type {config.get('model_type')!r}; {_EXPECTED}")
    vision, text = (_section(config, name, folder) for name in ("vision_config", "text_config"))
    for name, section in (("vision_config", vision), ("text_config", text)):
        if section.get("hidden_act", "gelu") != "gelu":
            raise BundleError(f"{folder}: {name}.hidden_act is {section['hidden_act']!r}; expected 'gelu'")
    image_eps, text_eps = vision.get("layer_norm_eps", 1e-5), text.get("layer_norm_eps", 1e-12)
    if not isinstance(image_eps, float) or not isinstance(text_eps, float):
        raise BundleError(f"{folder}: layer_norm_eps are {image_eps!r} and {text_eps!r}; expected two numbers")
    _check_preprocessing(folder / "preprocessor_config.json")
    notice = licence_notice(folder, f"Towers of {folder.resolve().name}, a BLIP.")
    return _Stored(read_weights(folder, _DROPPED), _HUGGING_FACE, str(folder), image_eps, text_eps, notice)


def _check_preprocessing(path: Path) -> None:
    """Images have to become pixels as every BLIP has them: squashed, bicubic, with CLIP's mean and deviation."""
    said = read_settings(path)
    wanted = dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), True)
    expected = wanted | {"resample": 3, "image_mean": list(CLIP_MEAN), "image_std": list(CLIP_STD)}
    for name, value in expected.items():
        if said.get(name, value) != value:
            raise BundleError(f"{path}: {name} is {said[name]!r}; expected {value!r}, as of BLIP")
    size = said.get("size", {"height": 1, "width": 1})
    if not isinstance(size, Mapping) or size.keys() != {"height", "width"} or size["height"] != size["width"]:
        raise BundleError(f"{path}: size is {size!r}; expected a height and a width that are equal, as of BLIP")


def _section(config: Mapping[str, Any], name: str, folder: Path) -> Mapping[str, Any]:
    section = config.get(name) or {}
    if not isinstance(section, Mapping):
        raise BundleError(f"{folder / 'config.json'}: {name} is {section!r}; expected an object")
    return section


def _towers(stored: _Stored, tokens: int, image_size: int | None) -> DenseTowers:
    whole, what = stored.state, stored.what
    prefix = "text_encoder.bert." if any(name.startswith("text_encoder.bert.") for name in whole) else "text_encoder."
    is_albef = f"{prefix}{_TYPES}" in whole
    state = without(whole, (*_DROPPED, *(_fusion_layers(whole, prefix) if is_albef else ())))
    sizes = bert_sizes(state, prefix, what)
    depth = layer_count(state, stored.layout.blocks)
    names = _image_names(stored.layout, depth)
    names |= both({"image_project": "vision_proj", "text_project": "text_proj"})
    names |= {
        ours: theirs for ours, theirs in bert_names(sizes.layers, prefix).items() if is_albef or _TYPES not in ours
    }
    tensors = collect(state, names, what)
    if not is_albef:
        tensors[f"text_tower.bert.{_TYPES}"] = torch.zeros(2, sizes.hidden_size)
    further = 0 if is_albef else _FURTHER_TOKENS
    if not 0 <= sizes.vocab_size - tokens <= further:
        raise BundleError(f"{what}: embeddings of {sizes.vocab_size:,} tokens; the tokenizer has {tokens:,}")
    tensors[_EMBEDDINGS] = tensors[_EMBEDDINGS][:tokens]
    dense_size, hidden_size = shape_of(tensors, "text_project.weight", 2, what)
    return DenseTowers(
        kind="albef" if is_albef else "blip",
        tensors=tensors,
        image=_image_config(tensors, depth, image_size, stored.image_eps, what),
        text=sizes.config(heads_of(hidden_size, what), min(MAX_LENGTH, sizes.max_positions)),
        hidden_size=hidden_size,
        dense_size=dense_size,
        layer_norm_eps=stored.text_eps,
        notice=stored.notice,
    )


def _fusion_layers(state: State, prefix: str) -> tuple[str, ...]:
    """Regular expressions of the layers that see images, which no text alone goes through."""
    layers = sorted({int(found[1]) for name in state if (found := _OF_FUSION.fullmatch(name))})
    return tuple(rf"{re.escape(prefix)}encoder\.layer\.{layer}\..*" for layer in layers)


def _image_names(layout: _Layout, depth: int) -> dict[str, tuple[str, ...]]:
    names = dict(layout.rest)
    for layer in range(max(depth, 1)):  # of none, the first is missing
        for ours, (theirs,) in layout.block.items():
            names[f"blocks.{layer}.{ours}"] = (f"{layout.blocks}{layer}.{theirs}",)
    return {f"image_tower.{ours}": theirs for ours, theirs in names.items()}


def _image_config(
    tensors: dict[str, Tensor], depth: int, image_size: int | None, eps: float, what: str
) -> ImageTowerConfig:
    """The image tower's configuration; its position table is brought to the image size, in place."""
    width, _, patch, _ = shape_of(tensors, "image_tower.patch_embed.proj.weight", 4, what)
    intermediate, _ = shape_of(tensors, "image_tower.blocks.0.mlp.fc1.weight", 2, what)
    _, rows, _ = shape_of(tensors, "image_tower.pos_embed", 3, what)
    own = side_of(rows - 1, f"{what}: the image tower's position table") * patch
    size = image_size or own
    if size % patch:
        raise BundleError(f"{what}: {size} px are no multiple of the patch size {patch}; give another --image-size")
    tensors["image_tower.pos_embed"] = resized_positions(tensors["image_tower.pos_embed"], size // patch)
    return ImageTowerConfig(
        backbone="BLIP's vision transformer",
        backbone_options={
            "patch_size": patch,
            "embed_dim": width,
            "depth": depth,
            "num_heads": heads_of(width, what),
            "mlp_ratio": intermediate / width,
        },
        image_size=size,
        resize="squash",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        layer_norm_eps=eps,
    )
