"""An untrained LexLIP from BEiT and BERT, as the paper starts.

Both are local Hugging Face folders; nothing is downloaded. BERT's head goes to both modalities, and the word embeddings
into both decoders explicitly: a file without a decoder would otherwise leave them random without a word.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lexlip_export.beit_folder import BeitFolder, read_beit
from lexlip_export.bert_folder import BertFolder, read_bert
from lexlip_export.official.names import collect, head_names, load
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP
from lexlip_training.wordpiece import read_tokenizer_file

__all__ = ["initialise_from_pretrained"]

#: Tokens of a caption, special ones included (LexLIP, table 1 of the supplement).
_MAX_LENGTH = 40


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
    beit, bert = read_beit(beit_folder), read_bert(bert_folder)
    tokenizer = read_tokenizer_file(bert_folder)
    model = LexLIP(_config(beit, bert))
    tensors = collect(beit.tensors, beit.names(), str(beit_folder)) | _text_tensors(model, bert, str(bert_folder))
    for name in ("weight", "bias", "dense.weight", "dense.bias", "norm.weight", "norm.bias"):
        tensors[f"image_head.{name}"] = tensors[f"text_head.{name}"]
    tensors["image_tower.norm.weight"] = torch.ones(bert.sizes.hidden_size)
    tensors["image_tower.norm.bias"] = torch.zeros(bert.sizes.hidden_size)
    load(model, tensors, f"{beit_folder} and {bert_folder}")
    return model.eval(), tokenizer


def _config(beit: BeitFolder, bert: BertFolder) -> ModelConfig:
    if beit.sizes.hidden_size != bert.sizes.hidden_size:
        raise BundleError(f"a BEiT of width {beit.sizes.hidden_size}, a BERT of {bert.sizes.hidden_size}; expected one")
    return ModelConfig(
        name="lexlip-base",
        vocab_size=bert.sizes.vocab_size,
        hidden_size=bert.sizes.hidden_size,
        image=beit.sizes.config(None, beit.layer_norm_eps),
        text=bert.sizes.config(bert.heads, min(_MAX_LENGTH, bert.max_length)),
        layer_norm_eps=bert.layer_norm_eps,
    )


def _text_tensors(model: LexLIP, bert: BertFolder, what: str) -> dict[str, Tensor]:
    """Text tower and text head; the decoder is the word embeddings, whatever the file has."""
    if bert.has_head:
        tensors = collect(bert.tensors, {**bert.encoder_names(), **bert.head_names()}, what)
    else:
        tensors = collect(bert.tensors, bert.encoder_names(), what)
        fresh = model.text_head.state_dict()
        tensors |= {name: fresh[name.removeprefix("text_head.")] for name in head_names("text", "")}
    tensors["text_head.weight"] = bert.word_embeddings
    return tensors
