"""The quantiser's scale for a model that others have trained, chosen by what it gives.

Weights of public models have no common measure: D2S's reach 2, those of VDR are parts of a vector of length 1 over
27,000 terms. No photographs are at hand where a model is imported, so the measure is what it makes of single words of
its own vocabulary, each the shortest text there is, whose weights are the heaviest, and of random images. The scale
brings the heaviest of all these weights to the cap; `lexlip calibrate` finds a better one on photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import pad

from lexlip_export.backbone_graph import backbone_module
from lexlip_export.further_graphs import decoder
from lexlip_export.head_fields import HeadFields
from lexlip_export.precision.inputs import SyntheticInputs
from lexlip_export.public.model import PublicModel
from lexlip_export.settings import ExportSettings
from lexlip_infer.bundle import Modality, TextSettings
from lexlip_infer.impacts import QuantisationSettings, fitting_scale, largest_weight, lifted_terms
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.lexicon_head import PackedDecoder, lexicon_head

#: Words that are encoded, and how many at a time: spread evenly over the vocabulary, whose ids go by frequency.
_WORDS, _ROWS = 64, 16
#: Letters of a word; shorter ones are mostly abbreviations.
_LETTERS = 3


class FittedScale(NamedTuple):
    """A scale, and what it does.

    Attributes:
        scale: impact of a weight of 1.
        lifted: share of the kept terms that it makes less than 1, and that count as 1.
    """

    scale: float
    lifted: float

    def record(self) -> dict[str, Any]:
        """For the provenance of a bundle."""
        return {"scale": {"fits": "single words and random images", "lifted": round(self.lifted, 4)}}


def fit_scale(
    model: PublicModel, tokenizer: Tokenizer, text: TextSettings, heads: HeadFields, settings: ExportSettings
) -> FittedScale:
    """The scale at which the heaviest weight of words and random images becomes the cap.

    Args:
        model: in evaluation mode.
        tokenizer: of its texts.
        text: how they are encoded.
        heads: what its heads compute, and which tokens are terms.
        settings: kept terms, similarity and cap.
    """
    batches: list[SparseBatch] = []
    for modality in model.config.modalities:
        packed = PackedDecoder.pack(*decoder(model, modality))
        options: Any = {"k": getattr(settings, f"{modality}_top_k"), "rule": heads.rule(modality, text)}
        inputs = _images(model) if modality == "image" else _words(model, tokenizer, text, heads)
        for given in inputs:
            hidden = _hidden(model, modality, given)
            mask = None if text.admit_padding or hidden.shape[1] == 1 else given.get("attention_mask")
            terms = lexicon_head(hidden.numpy(), packed, None if mask is None else mask.numpy(), **options)
            batches.append(SparseBatch.from_ranked(terms.ids, terms.weights, packed.vocab_size))
    normalise = settings.similarity == "cosine"
    scale = fitting_scale(max(largest_weight(batch, normalise) for batch in batches if batch.nnz), settings.cap)
    quantiser = QuantisationSettings(scale, settings.cap, normalise)
    lifted = sum(lifted_terms(batch, quantiser) for batch in batches)
    return FittedScale(scale, lifted / sum(batch.nnz for batch in batches))


@torch.no_grad()
def _hidden(model: PublicModel, modality: Modality, given: dict[str, Tensor]) -> Tensor:
    hidden: Tensor = backbone_module(model, modality)(**given)
    return hidden.contiguous()


def _images(model: PublicModel) -> Iterator[dict[str, Tensor]]:
    """One batch of random images: they cost the most, and differ the least."""
    return islice(SyntheticInputs(model.config).batches("image"), 1)


def _words(
    model: PublicModel, tokenizer: Tokenizer, text: TextSettings, heads: HeadFields
) -> Iterator[dict[str, Tensor]]:
    """Whole words of the vocabulary, padded as the model wants texts to be."""
    ids = range(model.config.vocab_size) if heads.term_tokens is None else heads.term_tokens
    names = [tokenizer.id_to_token(token) for token in ids]
    words = [name for name in names if name is not None and name.isalpha() and len(name) >= _LETTERS]
    words = words[:: max(1, len(words) // _WORDS)][:_WORDS]
    tokenize = TextTokenizer(tokenizer.to_str().encode(), text.max_length)
    for start in range(0, len(words), _ROWS):
        both = [torch.from_numpy(array) for array in tokenize(words[start : start + _ROWS])]
        if text.admit_padding:
            both = [pad(array, (0, text.max_length - array.shape[1])) for array in both]
        yield {"input_ids": both[0], "attention_mask": both[1]}
