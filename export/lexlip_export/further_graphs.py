"""The graphs that a bundle holds only on request, made from backbones and heads.

- merged: backbone and lexicon head in one file, for whoever wants a single graph and no Python of ours around it;
- logits in float16, for GPUs before Ampere (V100), where Triton reaches no tensor cores: the decoder's product stays in
  cuBLAS, inside the graph, and `lexlip_kernels.lexicon_topk` takes the maximum, the saturation and the top-k from its
  output, which never leaves the device. (B, L, V) exists here, which is why the caller keeps batches small;
- anserini: see `anserini_graph`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from tokenizers import Tokenizer

from lexlip_export.anserini_graph import anserini_graph, anserini_order, vocabulary_of
from lexlip_export.graph_builder import GraphBuilder, check, to_half
from lexlip_export.settings import ExportSettings, FurtherGraph
from lexlip_infer.bundle import Modality, backbone_file
from lexlip_infer.errors import BundleError
from lexlip_training.model import LexLIP


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
        order = anserini_order(vocabulary_of(tokenizer).ids)
        yield "onnx/text_anserini.onnx", anserini_graph(backbone, head, model.config.text.max_length, order)


def decoder(model: LexLIP, modality: Modality) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Decoder (V, H) and bias (V,) of one tower, suppressed terms included."""
    head = getattr(model, f"{modality}_head")
    return head.weight.detach().float().numpy(), head.decoder_bias().detach().float().numpy()


def merged_graph(backbone: onnx.ModelProto, head: onnx.ModelProto) -> onnx.ModelProto:
    """Join the two; neither is changed.

    Args:
        backbone: `pixel_values`, or `input_ids` and `attention_mask`, to `hidden`.
        head: `hidden` (and `attention_mask`), `k` to `ids` and `weights`.

    Returns:
        A graph with the backbone's inputs and `k`, which keeps the head's default, to the head's outputs.

    Raises:
        BundleError: the result is not of the bundle's format.
    """
    graph = GraphBuilder()
    for part, prefix in ((backbone.graph, "backbone/"), (head.graph, "head/")):
        graph.append(part, prefix, {value.name: value.name for value in [*part.input, *part.output]})
    graph.inputs = [*backbone.graph.input, *(value for value in head.graph.input if value.name == "k")]
    graph.outputs = list(head.graph.output)
    return check(graph.model("merged"), "merged graph")


def logits_graph(
    backbone: onnx.ModelProto, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
) -> onnx.ModelProto:
    """Append the decoder to a half-precision backbone, which is not changed.

    Args:
        backbone: gives `hidden` (B, L, H) in float16.
        weight: (V, H), the decoder.
        bias: (V,), suppressed terms at -1e4, which float16 can hold.

    Returns:
        A graph with the backbone's inputs to `logits` (B, L, V) float16. Padded tokens have logits too: the mask is
        `lexicon_topk`'s.

    Raises:
        BundleError: `hidden` is not float16, or the decoder holds values that float16 cannot.
    """
    (hidden,) = backbone.graph.output
    if hidden.type.tensor_type.elem_type != TensorProto.FLOAT16:
        raise BundleError("the logits graph needs a backbone whose `hidden` is float16; give it the fp16 backbone")
    graph = GraphBuilder()
    graph.append(backbone.graph, "backbone/", {value.name: value.name for value in [*backbone.graph.input, hidden]})
    columns = graph.constant("decoder", to_half(weight.T, "the decoder"))
    graph.node("MatMul", [hidden.name, columns], "products")
    graph.node("Add", ["products", graph.constant("bias", to_half(bias, "the decoder's bias"))], "logits")
    graph.inputs = list(backbone.graph.input)
    graph.output("logits", "float16", ["batch", "tokens", len(bias)])
    return check(graph.model("logits"), "logits graph")
