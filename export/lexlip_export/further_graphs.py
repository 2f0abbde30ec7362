"""The graphs that a bundle holds only on request, made from the two that it always holds."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from tokenizers import Tokenizer

from lexlip_export.anserini_graph import anserini_graph, anserini_order
from lexlip_export.merged_graph import merged_graph
from lexlip_export.settings import ExportSettings, FurtherGraph
from lexlip_infer.bundle import Modality
from lexlip_infer.errors import BundleError
from lexlip_infer.vocabulary import Vocabulary

__all__ = ["ANSERINI_VOCABULARY", "anserini_vocabulary", "further_graphs"]

#: Its line numbers are the ids of `onnx/text_anserini.onnx`, which may differ from the tokenizer's.
ANSERINI_VOCABULARY = "onnx/text_anserini_vocab.txt"


def further_graphs(
    settings: ExportSettings,
    modality: Modality,
    backbone: onnx.ModelProto,
    head: onnx.ModelProto,
    tokenizer: Tokenizer | None,
    max_length: int,
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Graphs asked for that this modality has, one after the other, each with its part of the file's name.

    Args:
        settings: what was asked for.
        modality: which tower.
        backbone: in float32.
        head: in float32.
        tokenizer: needed by "anserini".
        max_length: of texts, in tokens.

    Raises:
        BundleError: "anserini" without a tokenizer, or with one that Anserini cannot use.
    """
    if FurtherGraph.MERGED in settings.graphs:
        yield "merged", merged_graph(backbone, head)
    if FurtherGraph.ANSERINI in settings.graphs and modality == "text":
        order = anserini_order(_vocabulary(tokenizer).ids)
        yield "anserini", anserini_graph(backbone, head, max_length, order)


def anserini_vocabulary(tokenizer: Tokenizer | None) -> bytes:
    """Contents of `ANSERINI_VOCABULARY`: a term a line, in Anserini's order.

    Raises:
        BundleError: as `further_graphs`.
    """
    vocabulary = _vocabulary(tokenizer)
    return "".join(f"{vocabulary.terms[term]}\n" for term in anserini_order(vocabulary.ids)).encode()


def _vocabulary(tokenizer: Tokenizer | None) -> Vocabulary:
    if tokenizer is None:
        raise BundleError("the graph 'anserini' needs a vocabulary, and this model has no tokenizer")
    return Vocabulary.from_tokenizer(tokenizer)
