"""An ONNX graph of one matrix product, written by hand: the base install has ONNX Runtime and not the onnx package.

Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.formats.ciff import bytes_field, integer_field

__all__ = ["product_graph"]

#: TensorProto.DataType.
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "float16": 10}
_IR_VERSION, _OPSET = 10, 20


def product_graph(operator: str, weight: npt.NDArray[Any], given: str, result: str) -> bytes:
    """A model `a -> a @ weight`.

    Args:
        operator: "MatMul" or "MatMulInteger".
        weight: (N, N), part of the graph, as a model's weights are: the runtime may pack it beforehand.
        given: numpy's name of the type of `a` (N, N).
        result: of what comes out, `c` (N, N).
    """
    node = _strings(1, "a", "b") + _strings(2, "c") + _strings(4, operator)
    graph = (
        bytes_field(1, node)
        + _strings(2, "product")
        + bytes_field(5, _tensor("b", weight))
        + bytes_field(11, _value("a", given, weight.shape))
        + bytes_field(12, _value("c", result, weight.shape))
    )
    opset = integer_field(2, _OPSET)
    return integer_field(1, _IR_VERSION) + bytes_field(7, graph) + bytes_field(8, opset)


def _strings(field: int, *texts: str) -> bytes:
    return b"".join(bytes_field(field, text.encode()) for text in texts)


def _tensor(name: str, array: npt.NDArray[Any]) -> bytes:
    dims = b"".join(integer_field(1, length) for length in array.shape)
    data = np.ascontiguousarray(array).tobytes()
    return dims + integer_field(2, _TYPES[array.dtype.name]) + _strings(8, name) + bytes_field(9, data)


def _value(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(bytes_field(1, integer_field(1, length)) for length in shape)
    tensor = integer_field(1, _TYPES[dtype]) + bytes_field(2, dims)
    return _strings(1, name) + bytes_field(2, bytes_field(1, tensor))
