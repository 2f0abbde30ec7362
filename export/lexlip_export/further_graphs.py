"""The graphs that a bundle holds only on request, made from backbones and heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from tokenizers import Tokenizer

from lexlip_export.anserini_graph import anserini_graph, anserini_order
from lexlip_export.logits_graph import logits_graph
from lexlip_export.merged_graph import merged_graph
from lexlip_export.settings import ExportSettings, FurtherGraph
from lexlip_infer.bundle import Modality, backbone_file
from lexlip_infer.errors import BundleError
from lexlip_infer.vocabulary import Vocabulary
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

__all__ = ["ANSERINI_VOCABULARY", "anserini_vocabulary", "decoder", "further_graphs"]

#: Its line numbers are the ids of `onnx/text_anserini.onnx`, which may differ from the tokenizer's.
ANSERINI_VOCABULARY = "onnx/text_anserini_vocab.txt"


def further_graphs(
    model: LexLIP,
    modality: Modality,
    graphs: Mapping[str, onnx.ModelProto],
    tokenizer: Tokenizer | None,
    settings: ExportSettings,
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Graphs asked for that this modality has, one after the other, by path in the bundle.

    Args:
        model: in float32.
        modality: which tower.
        graphs: its backbones and heads, by path in the bundle; not changed.
        tokenizer: needed by "anserini".
        settings: what was asked for.

    Raises:
        BundleError: "anserini" without a tokenizer, or with one that Anserini cannot use.
    """
    backbone, head = graphs[backbone_file(modality, "f32")], graphs[f"onnx/{modality}_head.onnx"]
    if FurtherGraph.MERGED in settings.graphs:
        yield f"onnx/{modality}_merged.onnx", merged_graph(backbone, head)
    if FurtherGraph.LOGITS_FP16 in settings.graphs:
        half = graphs[backbone_file(modality, "fp16")]
        yield f"onnx/{modality}_logits_fp16.onnx", logits_graph(half, *decoder(model, modality))
    if FurtherGraph.ANSERINI in settings.graphs and modality == "text":
        assert model.config.text is not None
        order = anserini_order(_vocabulary(tokenizer).ids)
        yield "onnx/text_anserini.onnx", anserini_graph(backbone, head, model.config.text.max_length, order)


def decoder(model: LexLIP, modality: Modality) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Decoder (V, H) and bias (V,) of one tower, suppressed terms included."""
    head = getattr(model, f"{modality}_head")
    return head.weight.detach().float().numpy(), head.decoder_bias().detach().float().numpy()


def anserini_vocabulary(config: ModelConfig, tokenizer: Tokenizer | None) -> bytes:
    """Contents of `ANSERINI_VOCABULARY`: a term a line, in Anserini's order.

    Raises:
        BundleError: the model has no text tower, no tokenizer, or one that Anserini cannot use.
    """
    if config.text is None:
        raise BundleError(f"the graph 'anserini' encodes texts, and {config.name} has no text tower")
    vocabulary = _vocabulary(tokenizer)
    return "".join(f"{vocabulary.terms[term]}\n" for term in anserini_order(vocabulary.ids)).encode()


def _vocabulary(tokenizer: Tokenizer | None) -> Vocabulary:
    if tokenizer is None:
        raise BundleError("the graph 'anserini' needs a vocabulary, and this model has no tokenizer")
    return Vocabulary.from_tokenizer(tokenizer)
