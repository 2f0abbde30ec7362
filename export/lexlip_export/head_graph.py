"""The lexicon head as an ONNX graph of standard operators that never holds (B, L, V).

The vocabulary is cut into tiles; each tile's logits (B, L, T) are reduced over tokens at once, so that memory is
bounded by the tile and the (B, V) maxima. Then

    max_logits + bias -> TopK(k) -> relu -> log1p

on k values alone, which is exact because log1p(relu(.)) is monotone. TopK breaks ties towards the lower id, as the
bundle format wants. Suppressed terms carry their bias of -1e4 and can never come out positive.

Other rules saturate otherwise. A norm over the vocabulary, and the own terms of a text, take the (B, V) maxima, which
exist anyway.

A half decoder takes half hidden states: its products and their maxima are half, all that follows is float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from lexlip_export.graph_builder import GraphBuilder, check
from lexlip_kernels.head_rule import LEXLIP, HeadRule

#: Vocabulary columns a tile: logits of 16 images at 197 tokens then take 13 MB.
TILE = 1024

Decoder = npt.NDArray[np.float32] | npt.NDArray[np.float16]


def head_graph(
    weight: Decoder,
    bias: npt.NDArray[np.float32],
    default_k: int,
    masked: bool,
    rule: HeadRule = LEXLIP,
    admit_padding: bool = False,
    token_terms: npt.NDArray[np.int64] | None = None,
) -> onnx.ModelProto:
    """Build the head.

    Args:
        weight: (V, H), the decoder; float32 or float16, which is then the type of `hidden` too.
        bias: (V,), suppressed terms at -1e4.
        default_k: value of the input `k` when it is not fed.
        masked: take `attention_mask` (B, L) int64, and leave masked tokens out of the maximum.
        rule: saturation and norm.
        admit_padding: the maximum runs over masked tokens as well.
        token_terms: (T,), the term of each token, -1 where it is none: take `input_ids` (B, L) int64, and keep a
            text's own terms. Only with `masked`.

    Returns:
        A graph `hidden (B, L, H) [, attention_mask] [, input_ids], k (1)` to `ids (B, K) int64`, -1 padded, and
        `weights (B, K)`. With own terms K is k + L, at most V.
    """
    vocab_size = len(weight)
    graph = GraphBuilder()
    padding = _padding(graph) if masked and not admit_padding else None
    maxima = [
        _tile_maxima(graph, tile, weight[start : start + TILE], padding)
        for tile, start in enumerate(range(0, vocab_size, TILE))
    ]
    pooled = graph.node("Concat", maxima, "maxima", axis=1)
    if weight.dtype == np.float16:
        pooled = graph.node("Cast", [pooled], "float_maxima", to=TensorProto.FLOAT)
    graph.node("Add", [pooled, graph.constant("bias", bias)], "logits")
    graph.constant("k", np.array([default_k], np.int64))
    graph.constant("vocab_size", np.array([vocab_size], np.int64))
    graph.node("Min", ["k", "vocab_size"], "kept")
    graph.constant("one", np.array(1, np.float32))
    graph.constant("zero", np.array(0, np.float32))
    if token_terms is None:
        graph.node("TopK", ["logits", "kept"], "top", "top_ids", axis=1, largest=1, sorted=1)
    else:
        _keep_own(graph, token_terms, vocab_size)
    weights = "weights" if not rule.normalise else "saturated"
    (_elu1p if rule.saturation == "elu1p" else _log1p_relu)(graph, "top", weights)
    if rule.normalise:
        _normalise(graph, rule)
    graph.node("Greater", ["weights", "zero"], "kept_terms")
    graph.node("Where", ["kept_terms", "top_ids", graph.constant("no_term", np.array(-1, np.int64))], "ids")
    return check(_model(graph, weight, masked, token_terms is not None), "lexicon head")


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


def _keep_own(graph: GraphBuilder, token_terms: npt.NDArray[np.int64], vocab_size: int) -> None:
    """`top` and `top_ids` (B, K + L): the heaviest K terms and those of the tokens; all others are -inf.

    Which terms are kept is marked in (B, V + 1); the column behind the last term is that of tokens that are none.
    """
    graph.constant("nobody", np.array(vocab_size, np.int64))
    graph.constant("token_terms", np.where(token_terms < 0, vocab_size, token_terms))
    graph.constant("no_token_here", np.array(0, np.int64))
    graph.node("Gather", ["token_terms", "input_ids"], "terms_of_tokens", axis=0)
    graph.node("Equal", ["attention_mask", "no_token_here"], "not_of_text")
    graph.node("Where", ["not_of_text", "nobody", "terms_of_tokens"], "own")
    graph.node("TopK", ["logits", "kept"], "heaviest", "heaviest_ids", axis=1, largest=1, sorted=1)
    graph.node("Shape", ["input_ids"], "rows", start=0, end=1)
    graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    columns = graph.constant("columns", np.array([vocab_size + 1], np.int64))
    graph.node("Concat", ["rows", columns], "shape_of_marks", axis=0)
    graph.node("Expand", ["zero", "shape_of_marks"], "unmarked")
    marks = "unmarked"
    for name in ("heaviest_ids", "own"):
        graph.node("Shape", [name], f"shape_of_{name}")
        graph.node("Expand", ["one", f"shape_of_{name}"], f"ones_for_{name}")
        marks = graph.node("ScatterElements", [marks, name, f"ones_for_{name}"], f"marked_{name}", axis=1)
    first, column = (
        graph.constant("first", np.array([0], np.int64)),
        graph.constant("of_terms", np.array([1], np.int64)),
    )
    graph.node("Slice", [marks, first, "vocab_size", column], "marks_of_terms")
    graph.node("Greater", ["marks_of_terms", "zero"], "marked")
    nothing = graph.constant("nothing", np.array(-np.inf, np.float32))
    graph.node("Where", ["marked", "logits", nothing], "marked_logits")
    graph.node("Add", ["kept", "length"], "room")
    graph.node("Min", ["room", "vocab_size"], "width")
    graph.node("TopK", ["marked_logits", "width"], "top", "top_ids", axis=1, largest=1, sorted=1)


def _log1p_relu(graph: GraphBuilder, logits: str, weights: str) -> None:
    """log1p(relu(logits)).

    ONNX has no log1p. With u = 1 + x, log(u) * x / (u - 1) recovers the digits that the addition lost (Kahan), and x
    itself is right where u is exactly 1.
    """

    def node(operator: str, inputs: list[str], name: str) -> str:
        return graph.node(operator, inputs, f"{name}_of_{logits}")

    positive = node("Relu", [logits], "positive")
    shifted = node("Add", [positive, "one"], "shifted")
    logarithm = node("Log", [shifted], "logarithm")
    difference = node("Sub", [shifted, "one"], "difference")
    tiny = node("Equal", [difference, "zero"], "tiny")
    divisor = node("Where", [tiny, "one", difference], "divisor")
    correction = node("Div", [positive, divisor], "correction")
    corrected = node("Mul", [logarithm, correction], "corrected")
    graph.node("Where", [tiny, positive, corrected], weights)


def _elu1p(graph: GraphBuilder, logits: str, weights: str) -> None:
    """Logits + 1 where they are positive, exp(logits) elsewhere."""
    positive = graph.node("Greater", [logits, "zero"], f"positive_of_{logits}")
    more = graph.node("Add", [logits, "one"], f"more_of_{logits}")
    negative = graph.node("Min", [logits, "zero"], f"negative_of_{logits}")
    less = graph.node("Exp", [negative], f"less_of_{logits}")
    graph.node("Where", [positive, more, less], weights)


def _normalise(graph: GraphBuilder, rule: HeadRule) -> None:
    """`weights`: `saturated` by the L2 norm of the weights of all logits; a row of zeros stays as it is."""
    (_elu1p if rule.saturation == "elu1p" else _log1p_relu)(graph, "logits", "all_weights")
    graph.node("ReduceSumSquare", ["all_weights", graph.constant("terms_axis", np.array([1], np.int64))], "square")
    graph.node("Sqrt", ["square"], "norm")
    graph.node("Equal", ["norm", "zero"], "empty")
    graph.node("Where", ["empty", "one", "norm"], "length_of_row")
    graph.node("Div", ["saturated", "length_of_row"], "weights")


def _model(graph: GraphBuilder, weight: Decoder, masked: bool, own: bool) -> onnx.ModelProto:
    graph.input("hidden", str(weight.dtype), ["batch", "tokens", weight.shape[1]])
    if masked:
        graph.input("attention_mask", "int64", ["batch", "tokens"])
    if own:
        graph.input("input_ids", "int64", ["batch", "tokens"])
    graph.input("k", "int64", [1])  # has a default: its initialiser
    graph.output("ids", "int64", ["batch", "kept"])
    graph.output("weights", "float32", ["batch", "kept"])
    return graph.model("lexicon_head")
