"""A SPLADE model, or any BERT masked language model, as a text tower without an image tower.

SPLADE pools as LexLIP does, max over tokens of log(1 + relu(logit)), but scores with the dot product. The folder is one
of `BertForMaskedLM`, or of sentence-transformers with that model and max pooling in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from lexlip_export.bert_folder import BertFolder, read_bert, read_json
from lexlip_export.official.names import collect, load
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

__all__ = ["load_text_folder", "similarity_of"]

_POOLING = {"pooling_strategy": "max", "activation_function": "relu"}


def load_text_folder(folder: Path) -> tuple[LexLIP, Path, dict[str, Any]]:
    """Read a text-only sparse encoder.

    Args:
        folder: of `transformers` or of sentence-transformers.

    Returns:
        The model in evaluation mode, the folder of its tokenizer, and a record of where it comes from.

    Raises:
        BundleError: a file is missing or damaged, there is no masked-language-model head, or the model pools
            differently.
    """
    inner = _transformer_folder(folder)
    bert = read_bert(inner)
    if not bert.has_head:
        raise BundleError(f"{folder}: a BERT without a masked-language-model head; its words would get no weights")
    config = _config(folder, bert)
    model = LexLIP(config)
    load(model, collect(bert.tensors, {**bert.encoder_names(), **bert.head_names()}, str(folder)), str(folder))
    notice = "Converted from a Hugging Face folder, whose terms of use apply."
    return model.eval(), inner, {"notice": notice, "source": config.name}


def _config(folder: Path, bert: BertFolder) -> ModelConfig:
    return ModelConfig(
        name=folder.resolve().name,
        vocab_size=bert.sizes.vocab_size,
        hidden_size=bert.sizes.hidden_size,
        image=None,
        text=bert.sizes.config(bert.heads, bert.max_length),
        layer_norm_eps=bert.layer_norm_eps,
    )


def similarity_of(folder: Path) -> Literal["cosine", "dot"]:
    """SPLADE's dot product, unless sentence-transformers was told otherwise.

    Raises:
        BundleError: it was told something that impacts cannot be scored with.
    """
    settings = folder / "config_sentence_transformers.json"
    name = read_json(settings).get("similarity_fn_name") if settings.exists() else None
    if name not in (None, "dot", "cosine"):
        raise BundleError(f"{settings}: similarity_fn_name is {name!r}; expected dot or cosine")
    return "cosine" if name == "cosine" else "dot"


def _transformer_folder(folder: Path) -> Path:
    """Where BERT is; checks that sentence-transformers would pool it as we do."""
    modules = folder / "modules.json"
    if not modules.exists():
        return folder
    try:
        kinds = {str(m["type"]).rsplit(".", 1)[-1]: str(m["path"]) for m in json.loads(modules.read_text("utf-8"))}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise BundleError(f"{modules}: not sentence-transformers' list of modules") from None
    if list(kinds)[1:] != ["SpladePooling"]:
        raise BundleError(f"{folder}: made of {', '.join(kinds)}; expected a masked language model, then SpladePooling")
    transformer, pooling = kinds.values()
    settings = read_json(folder / pooling / "config.json")
    for name, expected in _POOLING.items():
        if settings.get(name, expected) != expected:
            raise BundleError(f"{folder}: {name} is {settings[name]!r}; LexLIP's head has {expected!r}")
    return folder / transformer
