"""Int8 backbones in ONNX: dynamic for transformers, static for convolutional image backbones.

Dynamic: the matrices are int8, and each activation gets its scale when it is there. Static: the ranges of activations
are measured once, on photographs; `QuantizeLinear` and `DequantizeLinear` stand around every convolution, and ONNX
Runtime fuses them into integer convolutions. Only convolutions and what fuses with them are static int8: adapter,
norms, classifier and class tokens behind them stay in float32.

Activations are uint8 and weights int8, the pair that x86 multiplies fastest. Before VNNI (AVX2, AVX-512) a CPU adds
two neighbouring products in 16 bits, and cuts off what is beyond. ONNX Runtime's cure is one bit less for every weight
(`reduce_range`), which costs a deep network much; here the scale of a channel is only as coarse as its own neighbours
demand, so that no pair can pass 16 bits: the same integers on every CPU, and almost all of the eighth bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from torch import Tensor

from lexlip_export.graph_builder import check, convolution_int8, has_pairs

#: What fuses with a convolution, or carries integers on to the next one.
_FUSED = ("Conv", "Clip", "Relu", "Add", "MaxPool")
_ACTIVATIONS = ("Clip", "Relu")


def is_convolutional(backbone: onnx.ModelProto) -> bool:
    """Whether convolutions hold more of a backbone's weights than matrices do."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in backbone.graph.initializer}
    held = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in backbone.graph.node:
        if node.op_type in held:
            held[node.op_type] += sum(sizes.get(name, 0) for name in node.input)
    return held["Conv"] > held["MatMul"] + held["Gemm"]


def dynamic_int8_graph(backbone: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Quantise the matrices of a float32 backbone.

    Args:
        backbone: as `backbone_graph` gives it; not changed.
        name: for messages.

    Raises:
        BundleError: the result is not of the bundle's format.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            _prepared(backbone), path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
        )
        return _finished(path, backbone, name)


def static_int8_graph(backbone: onnx.ModelProto, batches: Iterable[dict[str, Tensor]], name: str) -> onnx.ModelProto:
    """Quantise the convolutions of a float32 image backbone.

    Args:
        backbone: as `backbone_graph` gives it, batch norms folded into the convolutions; not changed.
        batches: `pixel_values` (B, 3, S, S) of photographs like those that will be encoded; each is read once.
        name: for messages.

    Raises:
        BundleError: the result is not of the bundle's format.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    rounded, ranges = _rounded(backbone)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            _prepared(rounded),
            path,
            _Reader(batches),
            QuantFormat.QDQ,
            op_types_to_quantize=list(_FUSED),
            nodes_to_quantize=_integer_nodes(backbone.graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": ranges},
        )
        return _finished(path, backbone, name)


class _Reader:
    """Batches as ONNX Runtime's calibration asks for them."""

    def __init__(self, batches: Iterable[dict[str, Tensor]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {name: value.numpy() for name, value in batch.items()}


def _prepared(backbone: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that says of itself that it needs no preparation."""
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    source = onnx.ModelProto()
    source.CopyFrom(backbone)
    add_pre_process_metadata(source)  # the exporter has folded constants and inferred shapes already
    return source


def _finished(path: Path, backbone: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The quantised graph in a file, with the metadata that the backbone had."""
    model = onnx.load(path)
    del model.metadata_props[:]
    model.metadata_props.extend(backbone.metadata_props)
    return check(model, name)


def _integer_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes below a convolution, and of the activations on top of the last ones."""
    made_by = {name: node for node in graph.node for name in node.output}
    below: dict[str, onnx.NodeProto] = {}
    waiting = [node for node in graph.node if node.op_type == "Conv"]
    waiting += [node for node in graph.node if node.op_type in _ACTIVATIONS and _follows_convolution(node, made_by)]
    while waiting:
        node = waiting.pop()
        if node.name not in below:
            below[node.name] = node
            waiting += [made_by[name] for name in node.input if name in made_by]
    in_float = {node.name for node, weight in _convolutions(graph) if not has_pairs(weight)}
    return [node.name for node in graph.node if node.name in below.keys() - in_float]


def _follows_convolution(node: onnx.NodeProto, made_by: Mapping[str, onnx.NodeProto]) -> bool:
    return node.input[0] in made_by and made_by[node.input[0]].op_type == "Conv"


def _convolutions(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, npt.NDArray[np.float32]]]:
    """Each convolution with its weights (O, I, h, w)."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            yield node, numpy_helper.to_array(weights[node.input[1]])


def _rounded(backbone: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, list[dict[str, Any]]]]:
    """A copy with the weights of integer convolutions rounded, and their ranges as ONNX Runtime takes them.

    ONNX Runtime then finds the integers that `store_int8` stores for float32.
    """
    model, ranges = onnx.ModelProto(), {}
    model.CopyFrom(backbone)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node, weight in _convolutions(backbone.graph):
        # Three channels: what a CPU adds up is not known, and the pixels' convolution is also the most sensitive one.
        if has_pairs(weight):
            values, scale = convolution_int8(weight)
            tensors[node.input[1]].CopyFrom(numpy_helper.from_array(values * scale, node.input[1]))
            limits = np.float32(127) * scale.reshape(-1)
            ranges[node.input[1]] = [{"axis": 0, "rmin": -limit, "rmax": limit} for limit in limits]
    return model, ranges
