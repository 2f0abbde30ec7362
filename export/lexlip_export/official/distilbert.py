"""DistilBERT is a BERT under other names: without token types, and with the head's transform in three modules.

Its arithmetic is BERT's with token type embeddings of 0. Names that are not known here stay as they are, and whoever
collects BERT's tensors refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lexlip_kernels.errors import BundleError

_LAYER = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
_HEAD = {
    "vocab_transform.weight": "cls.predictions.transform.dense.weight",
    "vocab_transform.bias": "cls.predictions.transform.dense.bias",
    "vocab_layer_norm.weight": "cls.predictions.transform.LayerNorm.weight",
    "vocab_layer_norm.bias": "cls.predictions.transform.LayerNorm.bias",
    "vocab_projector.weight": "cls.predictions.decoder.weight",
    "vocab_projector.bias": "cls.predictions.bias",
}
_NAME = re.compile(r"(?:distilbert\.)?transformer\.layer\.(\d+)\.(.+)\.(weight|bias)")
#: Rows of BERT's table of token types.
_TYPES = 2


def settings_as_bert(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `config.json` that matter, by BERT's names; LayerNorm's eps is 1e-12 in its code."""
    return {
        "model_type": "bert",
        "hidden_act": config.get("activation", "gelu"),
        "num_attention_heads": config.get("n_heads", 12),
        "layer_norm_eps": 1e-12,
        "tie_word_embeddings": config.get("tie_word_embeddings", True),
    }


def tensors_as_bert(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Tensors by BERT's names, with token types that add nothing.

    Raises:
        BundleError: there are no word embeddings.
    """
    renamed = {_renamed(name): values for name, values in tensors.items()}
    words = renamed.get("bert.embeddings.word_embeddings.weight")
    if words is None or words.ndim != 2:
        raise BundleError(
            f"{what} lacks the tensor distilbert.embeddings.word_embeddings.weight; it is not a whole one"
        )
    return renamed | {"bert.embeddings.token_type_embeddings.weight": torch.zeros(_TYPES, words.shape[1])}


def _renamed(name: str) -> str:
    found = _NAME.fullmatch(name)
    if found and found[2] in _LAYER:
        return f"bert.encoder.layer.{found[1]}.{_LAYER[found[2]]}.{found[3]}"
    if name in _HEAD:
        return _HEAD[name]
    return re.sub(r"^(distilbert\.)?embeddings\.", "bert.embeddings.", name)
