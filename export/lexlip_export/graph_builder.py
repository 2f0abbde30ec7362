"""Building ONNX graphs by hand: nodes and constants under readable names, and whole graphs taken in as parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lexlip_export.format import IR_VERSION, OPSET

__all__ = ["GraphBuilder"]

_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}


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
