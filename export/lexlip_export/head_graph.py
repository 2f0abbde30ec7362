"""The lexicon head as an ONNX graph of standard operators that never holds (B, L, V).

The vocabulary is cut into tiles; each tile's logits (B, L, T) are reduced over tokens at once, so that memory is
bounded by the tile and the (B, V) maxima. Then

    max_logits + bias -> TopK(k) -> relu -> log1p

on k values alone, which is exact because log1p(relu(.)) is monotone. TopK breaks ties towards the lower id, as the
bundle format wants. Suppressed terms carry their bias of -1e4 and can never come out positive.

A half decoder takes half hidden states: its products and their maxima are half, all that follows is float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from lexlip_export.graph_builder import GraphBuilder, check

#: Vocabulary columns a tile: logits of 16 images at 197 tokens then take 13 MB.
TILE = 1024

Decoder = npt.NDArray[np.float32] | npt.NDArray[np.float16]


def head_graph(weight: Decoder, bias: npt.NDArray[np.float32], default_k: int, masked: bool) -> onnx.ModelProto:
    """Build the head.

    Args:
        weight: (V, H), the decoder; float32 or float16, which is then the type of `hidden` too.
        bias: (V,), suppressed terms at -1e4.
        default_k: value of the input `k` when it is not fed.
        masked: take `attention_mask` (B, L) int64, and leave masked tokens out of the maximum.

    Returns:
        A graph `hidden (B, L, H) [, attention_mask], k (1)` to `ids (B, K) int64`, -1 padded, and `weights (B, K)`.
    """
    vocab_size = len(weight)
    graph = GraphBuilder()
    padding = _padding(graph) if masked else None
    maxima = [
        _tile_maxima(graph, tile, weight[start : start + TILE], padding)
        for tile, start in enumerate(range(0, vocab_size, TILE))
    ]
    pooled = graph.node("Concat", maxima, "maxima", axis=1)
    if weight.dtype == np.float16:
        pooled = graph.node("Cast", [pooled], "float_maxima", to=TensorProto.FLOAT)
    graph.node("Add", [pooled, graph.constant("bias", bias)], "logits")
    graph.constant("k", np.array([default_k], np.int64))
    graph.node("Min", ["k", graph.constant("vocab_size", np.array([vocab_size], np.int64))], "kept")
    graph.node("TopK", ["logits", "kept"], "top", "top_ids", axis=1, largest=1, sorted=1)
    _saturate(graph)
    return check(_model(graph, weight, masked), "lexicon head")


def _padding(graph: GraphBuilder) -> str:
    """(B, L, 1), true on padded tokens."""
    zero = graph.constant("no_token", np.array(0, np.int64))
    graph.node("Equal", ["attention_mask", zero], "padded")
    return graph.node("Unsqueeze", ["padded", graph.constant("last_axis", np.array([-1], np.int64))], "padding")


def _tile_maxima(graph: GraphBuilder, tile: int, weight: Decoder, padding: str | None) -> str:
    """(B, T) maxima over tokens of one tile's logits, without the bias."""
    columns = graph.constant(f"decoder_{tile}", weight.T)
    logits = graph.node("MatMul", ["hidden", columns], f"logits_{tile}")
    if padding is not None:
        if tile == 0:
            graph.constant("minus_infinity", np.array(-np.inf, weight.dtype))
        logits = graph.node("Where", [padding, "minus_infinity", logits], f"masked_{tile}")
    if tile == 0:
        graph.constant("token_axis", np.array([1], np.int64))
    return graph.node("ReduceMax", [logits, "token_axis"], f"maxima_{tile}", keepdims=0)


def _saturate(graph: GraphBuilder) -> None:
    """log1p(relu(top)), and -1 for ids whose weight is zero.

    ONNX has no log1p. With u = 1 + x, log(u) * x / (u - 1) recovers the digits that the addition lost (Kahan), and x
    itself is right where u is exactly 1.
    """
    one, zero = (
        graph.constant("one", np.array(1, np.float32)),
        graph.constant("zero", np.array(0, np.float32)),
    )
    graph.node("Relu", ["top"], "positive")
    graph.node("Add", ["positive", one], "shifted")
    graph.node("Log", ["shifted"], "logarithm")
    graph.node("Sub", ["shifted", one], "difference")
    graph.node("Equal", ["difference", zero], "tiny")
    graph.node("Where", ["tiny", one, "difference"], "divisor")
    graph.node("Div", ["positive", "divisor"], "correction")
    graph.node("Mul", ["logarithm", "correction"], "corrected")
    graph.node("Where", ["tiny", "positive", "corrected"], "weights")
    graph.node("Greater", ["weights", zero], "kept_terms")
    graph.node("Where", ["kept_terms", "top_ids", graph.constant("no_term", np.array(-1, np.int64))], "ids")


def _model(graph: GraphBuilder, weight: Decoder, masked: bool) -> onnx.ModelProto:
    graph.input("hidden", str(weight.dtype), ["batch", "tokens", weight.shape[1]])
    if masked:
        graph.input("attention_mask", "int64", ["batch", "tokens"])
    graph.input("k", "int64", [1])  # has a default: its initialiser
    graph.output("ids", "int64", ["batch", "kept"])
    graph.output("weights", "float32", ["batch", "kept"])
    return graph.model("lexicon_head")
