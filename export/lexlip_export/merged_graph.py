"""Backbone and lexicon head in one file, for whoever wants a single graph and no Python of ours around it."""

from __future__ import annotations

import onnx

from lexlip_export.format import check
from lexlip_export.graph_builder import GraphBuilder

__all__ = ["merged_graph"]


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
