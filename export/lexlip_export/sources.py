"""What `lexlip-export` takes, told apart by its looks: our folder, an official checkpoint, a folder from a hub.

All of them are local. Nothing here downloads anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from lexlip_export.head_fields import HeadFields
from lexlip_export.official.checkpoint import PositionMode, load_official
from lexlip_export.official.names import sizes_of
from lexlip_export.public.d2s import load_d2s
from lexlip_export.public.model import PublicFolder
from lexlip_export.public.vdr import is_vdr, load_vdr
from lexlip_export.static_weights import StaticFolder, load_static_folder
from lexlip_export.text_folder import load_text_folder
from lexlip_infer.bundle import TextSettings
from lexlip_infer.files import read_json
from lexlip_kernels.errors import BundleError, InputError
from lexlip_training.checkpoint import load_checkpoint
from lexlip_training.model import LexLIP
from lexlip_training.wordpiece import read_tokenizer_file

_Kind = Literal["ours", "official", "huggingface", "vdr", "d2s"]

#: How files of torch.save start: as a ZIP archive, before torch 1.6 as a pickle.
_TORCH_FILES = (b"PK\x03\x04", b"\x80\x02")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the command line adds to a checkpoint that does not say everything.

    Attributes:
        tokenizer: a tokenizer.json, a vocab.txt, or a folder with one of them.
        image_size: pixels, of an official checkpoint, or of the towers below a D2S head.
        position_mode: how its position tables are brought to that size.
        text_heads: attention heads of its text tower.
        dense: the towers below a D2S head: folder of a BLIP, or checkpoint of LAVIS.
    """

    tokenizer: Path | None = None
    image_size: int | None = None
    position_mode: PositionMode | None = None
    text_heads: int | None = None
    dense: Path | None = None


class Source(NamedTuple):
    """A checkpoint that has been read.

    Attributes:
        model: in evaluation mode.
        tokenizer: of its text tower; None where there is none.
        record: JSON-serialisable, of where the weights come from.
        similarity: what they were trained for; None where the checkpoint leaves that to the settings.
        text: how texts are encoded, where that is more than their length.
        text_top_k: terms kept of a text; None where the checkpoint leaves that to the settings.
        static_weight: (V,) what terms weigh in queries that the model does not see; the model's own table where absent.
        defaults: further settings of the export, where nobody asks for others.
        heads: what they compute beyond LexLIP's.
    """

    model: LexLIP
    tokenizer: Tokenizer | None
    record: dict[str, Any]
    similarity: Literal["cosine", "dot"] | None = None
    text: TextSettings | None = None
    text_top_k: int | None = None
    static_weight: npt.NDArray[np.float32] | None = None
    defaults: Mapping[str, Any] = MappingProxyType({})
    heads: HeadFields = HeadFields()


def load_source(checkpoint: Path, options: ImportOptions) -> Source:
    """Read a checkpoint of any of these kinds.

    Raises:
        BundleError: the checkpoint is of none of the kinds, cannot be read, does not fit the tokenizer, or holds NaN.
        InputError: an option does not go with this kind.
    """
    with sizes_of(str(checkpoint)):
        source = _load(checkpoint, options)
    for name, values in source.model.state_dict().items():
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise BundleError(f"{checkpoint}: {name} holds NaN or infinity; nothing can be encoded with such weights")
    if source.tokenizer is not None:
        terms = source.tokenizer.get_vocab_size(with_added_tokens=True)
        vocab_size = source.heads.token_count or source.model.config.vocab_size
        if terms != vocab_size:
            raise BundleError(
                f"{checkpoint}: the tokenizer has {terms} terms, the model {vocab_size}; give the model's own tokenizer"
            )
    return source


def load_static_source(checkpoint: Path, options: ImportOptions) -> StaticFolder | None:
    """Read a table of term weights, which no model comes with; nothing where the checkpoint is a model.

    Raises:
        BundleError: a file is missing or damaged, or a setting cannot be kept.
        InputError: an option does not go with a table.
    """
    table = load_static_folder(checkpoint, options.tokenizer)
    if table is not None:
        _refuse(options, ("tokenizer",), checkpoint)
    return table


def _load(checkpoint: Path, options: ImportOptions) -> Source:
    kind = _kind(checkpoint)
    if kind == "ours":
        _refuse(options, (), checkpoint)
        return Source(*load_checkpoint(checkpoint))
    if kind == "huggingface":
        _refuse(options, ("tokenizer",), checkpoint)
        return Source(*load_text_folder(checkpoint, options.tokenizer))
    if kind == "vdr":
        _refuse(options, ("tokenizer",), checkpoint)
        return _of_public(load_vdr(checkpoint, options.tokenizer))
    if kind == "d2s":
        _refuse(options, ("tokenizer", "dense", "image_size"), checkpoint)
        return _of_public(load_d2s(checkpoint, options.dense, options.tokenizer, options.image_size))
    _refuse(options, ("tokenizer", "image_size", "position_mode", "text_heads"), checkpoint)
    words = None if options.tokenizer is None else read_tokenizer_file(options.tokenizer)
    model, record = load_official(checkpoint, options.image_size, options.position_mode, options.text_heads)
    return Source(model, words, record, "cosine")


def _of_public(folder: PublicFolder) -> Source:
    model, tokenizer, record, text, settings, heads = folder
    return Source(model, tokenizer, record, text=text, defaults=settings, heads=heads)


def _kind(checkpoint: Path) -> _Kind:
    if checkpoint.is_file():
        with checkpoint.open("rb") as file:
            start = file.read(4)
        if start.startswith(_TORCH_FILES):
            return "official"
    if (checkpoint / "modules.json").is_file():
        return "huggingface"
    try:
        config = read_json(
            checkpoint / "config.json", refuse=lambda reason: BundleError(f"{checkpoint}: config.json {reason}")
        )
    except OSError:
        config = None
    if isinstance(config, dict) and is_vdr(config):
        return "vdr"
    if isinstance(config, dict) and config.get("model_type") == "d2s":
        return "d2s"
    if isinstance(config, dict) and "model_type" in config:
        return "huggingface"
    if isinstance(config, dict) and {"vocab_size", "image", "text"} <= config.keys():
        return "ours"
    raise BundleError(
        f"{checkpoint}: not a checkpoint; expected an official LexLIP checkpoint file, a folder that lexlip-train "
        "wrote (config.json, model.safetensors), or a Hugging Face folder of a BERT masked language model, VDR or D2S"
    )


def _refuse(options: ImportOptions, allowed: tuple[str, ...], checkpoint: Path) -> None:
    """An option that would be without effect is a misunderstanding."""
    for field in fields(options):
        if field.name not in allowed and getattr(options, field.name) is not None:
            option = field.name.replace("_", "-")
            what = "D2S heads" if option == "dense" else "official checkpoint files"
            raise InputError(f"--{option} is for {what}; {checkpoint} says it itself: leave it out")
