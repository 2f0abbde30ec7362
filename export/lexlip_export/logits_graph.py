"""Logits in float16, for GPUs before Ampere (V100).

There Triton reaches no tensor cores, so the decoder's product stays in cuBLAS, inside this graph; its output never
leaves the device, and `lexlip_kernels.lexicon_topk` takes the maximum, the saturation and the top-k from it. (B, L, V)
exists here, which is why the caller keeps batches small.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from lexlip_export.format import check
from lexlip_export.graph_builder import GraphBuilder
from lexlip_export.half_storage import to_half
from lexlip_kernels.errors import BundleError

__all__ = ["logits_graph"]


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
