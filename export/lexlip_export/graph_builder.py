"""Building ONNX graphs by hand, and what every exported graph must be.

IR 10 and opset 20 are the newest that ONNX Runtime 1.26 on a V100 loads. Weights may be stored in half precision, or in
int8 with a scale a row, while the graph computes in float32: half or a quarter of the bytes, the same operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from lexlip_kernels.errors import BundleError

IR_VERSION = 10
OPSET = 20

#: Smaller constants stay as they are: biases and norms cost little and matter much.
MINIMUM = 4096

#: Where an operator takes weights, and the axis of them that its outputs lie on, each with a scale of its own.
_OUTPUT_AXIS = {("Conv", 1): 0, ("MatMul", 1): -1, ("Gather", 0): 0}

_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}


def check(model: onnx.ModelProto, name: str, ir_version: int = IR_VERSION) -> onnx.ModelProto:
    """Set the IR version, then assert format, well-formedness and inferable shapes.

    Args:
        model: changed in place and returned.
        name: for the message.
        ir_version: an older one where the graph is for an older runtime.

    Raises:
        BundleError: another opset crept in, or ONNX's own checker refuses the graph.
    """
    model.ir_version = ir_version
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        raise BundleError(f"{name}: opsets {opsets}; expected ai.onnx {OPSET} alone")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"{name}: not a valid ONNX model ({error})") from None
    return model


class GraphBuilder:
    """Collects nodes and constants, and gives a model of the bundle's IR version and opset in the end."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant; returns its name. One that is also an input is that input's default."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], *outputs: str, **attributes: int) -> str:
        """Add a node, called like its first output; returns that name."""
        self.nodes.append(helper.make_node(operator, inputs, list(outputs), name=outputs[0], **attributes))
        return outputs[0]

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input; returns its name. Strings in the shape are free dimensions."""
        self.inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare an output."""
        self.outputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))

    def append(self, part: onnx.GraphProto, prefix: str, names: Mapping[str, str]) -> None:
        """Take in the nodes and constants of another graph; its inputs and outputs are not declared.

        Args:
            part: is copied. Standard operators without sub-graphs.
            prefix: of every value of the part that `names` does not mention, so that parts cannot clash.
            names: of values of the part, here: what joins the part to the rest.
        """

        def renamed(name: str) -> str:
            return names.get(name, prefix + name) if name else name  # "" is an optional input that is left out

        for tensor in part.initializer:
            self.constants.append(onnx.TensorProto())
            self.constants[-1].CopyFrom(tensor)
            self.constants[-1].name = renamed(tensor.name)
        for node in part.node:
            self.nodes.append(onnx.NodeProto())
            self.nodes[-1].CopyFrom(node)
            self.nodes[-1].name = prefix + node.name
            self.nodes[-1].input[:] = map(renamed, node.input)
            self.nodes[-1].output[:] = map(renamed, node.output)

    def model(self, name: str) -> onnx.ModelProto:
        """Everything collected, as a model whose graph bears this name; unchecked."""
        return helper.make_model(
            helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lexlip-export",
        )


def to_half(values: np.ndarray, name: str) -> np.ndarray:
    """Round to float16.

    Raises:
        BundleError: a value is beyond the range of float16.
    """
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise BundleError(f"{name} holds values that float16 cannot; export with full-precision storage")
    return values.astype(np.float16)


def to_int8(
    values: npt.NDArray[np.float32], axis: int, ranges: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Numbers of -127 to 127, and scales, of the same number of axes, that they are to be multiplied by.

    Args:
        values: any shape.
        axis: each of its indices has a scale.
        ranges: of every index, what becomes 127; its largest value when absent.
    """
    others = tuple(each for each in range(values.ndim) if each != axis % values.ndim)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scale = (largest if ranges is None else ranges.reshape(largest.shape)).astype(np.float32) / np.float32(127)
    divisor = np.where(scale > 0, scale, np.float32(1))
    return np.rint(values / divisor).astype(np.int8), scale


def has_pairs(weight: npt.NDArray[np.float32]) -> bool:
    """Whether it is known which products of a convolution (O, I, h, w) a CPU adds up in 16 bits.

    None (depthwise), or of channels 2n and 2n + 1; not so of three channels.
    """
    inputs: int = weight.shape[1]
    return inputs == 1 or inputs % 2 == 0


def channel_ranges(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How large a weight of each output channel can be that int8 still holds: (O,) of weights (O, I, h, w).

    The sum of two neighbouring input channels, I being even or 1, is no larger than that, either. In int8 it is then no
    more than 128 (127, and 1 by rounding), and 255 * 128 < 2^15.
    """
    outputs, inputs = weight.shape[:2]
    ranges: npt.NDArray[np.float32] = np.abs(weight).reshape(outputs, -1).max(axis=1)
    if inputs > 1:
        pairs = weight.reshape(outputs, inputs // 2, 2, -1).sum(axis=2)
        ranges = np.maximum(ranges, np.abs(pairs).reshape(outputs, -1).max(axis=1))
    return ranges


def convolution_int8(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """A convolution's weights (O, I, h, w) as integers for integer arithmetic, and scales (O, 1, 1, 1)."""
    return to_int8(weight, 0, channel_ranges(weight) if has_pairs(weight) else None)


def share_weights(model: onnx.ModelProto, other: bytes, location: str) -> onnx.ModelProto:
    """Let a graph take the large weights that another one holds, too, from that one's file.

    Changes the model in place and returns it.

    Args:
        model: its initialisers are looked for.
        other: a serialised graph.
        location: its file name, in the folder where both will lie.
    """
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        if size >= MINIMUM and (offset := other.find(tensor.raw_data)) >= 0:
            set_external_data(tensor, location, offset=offset, length=size)
            tensor.ClearField("raw_data")
    return model


def store_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace large weights by int8 ones, their scales and a product, other large constants as `store_half` does.

    Changes the model in place and returns it. Not by DequantizeLinear, which ONNX Runtime computes with every call.
    """
    graph = model.graph
    axes = _weight_axes(graph)
    convolutions = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    further: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        axis = axes.get(tensor.name)
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MINIMUM or axis is None:
            continue
        name = tensor.name
        weight = numpy_helper.to_array(tensor)
        # As integer arithmetic takes them, so that an int8 graph can share them.
        values, scale = convolution_int8(weight) if tensor.name in convolutions else to_int8(weight, axis)
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.int8"))
        further.append(numpy_helper.from_array(scale, f"{name}.scale"))
        nodes.append(
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], f"{name}.cast", to=TensorProto.FLOAT)
        )
        nodes.append(helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name], f"{name}.product"))
    store_half(model)  # not the scales, which every copy of a decoder has to share
    graph.initializer.extend(further)
    nodes.extend(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _weight_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """The axis of outputs of every constant that all its users take as weights, and alike."""
    uses: dict[str, set[int | None]] = {}
    for node in graph.node:
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        for place, name in enumerate(node.input):
            gemm = (0 if transposed else 1) if node.op_type == "Gemm" and place == 1 else None
            uses.setdefault(name, set()).add(_OUTPUT_AXIS.get((node.op_type, place), gemm))
    return {name: axis for name, found in uses.items() if len(found) == 1 and (axis := next(iter(found))) is not None}


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace large float32 initialisers by float16 ones and a Cast; changes the model in place and returns it."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MINIMUM:
            continue
        name = tensor.name
        half = to_half(numpy_helper.to_array(tensor), name)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
