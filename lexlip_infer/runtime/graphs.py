"""The bytes of a bundle's ONNX graphs, after a check that all of a graph is in them.

A tensor of an ONNX graph may name another file that its numbers lie in. ONNX Runtime, given bytes, looks for that file
in the current directory, and no sum of the manifest covers it: a stranger's graph could read a file of whoever opens
it. So such a graph is refused before anything is made of it. What tells is two fields of a message of protobuf, which
are found here by walking from field to field; the numbers themselves are stepped over, not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError

#: Fields that lead to a tensor, by message, as onnx.proto numbers them; a test compares them with the package `onnx`.
PATHS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        10: "TensorProto",
        6: "GraphProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}

#: Of `TensorProto`: where the numbers are (0: here), and the file that they are in.
DATA_LOCATION, EXTERNAL_DATA, TENSOR_NAME = 14, 13, 8

#: A large model has some ten thousand fields on the way to its tensors.
MOST_FIELDS = 2_000_000
#: Messages in each other; as many as protobuf reads.
_DEEPEST = 100

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_graph(bundle: Bundle, name: str) -> bytes:
    """A graph of a bundle, as ONNX Runtime and OpenVINO take it.

    Args:
        bundle: where it lies.
        name: its path in the bundle.

    Raises:
        BundleError: the file is missing or not what the manifest says, no ONNX model, or not all of one.
    """
    data = bundle.read(name)
    try:
        outside = external_tensor(data)
    except ValueError as error:
        raise BundleError(f"{bundle.folder / name}: cannot be loaded, it is no ONNX model: {error}") from None
    if outside is not None:
        raise BundleError(
            f"{bundle.folder / name}: its tensor {outside[:80]!r} has its numbers in another file, which no sum of "
            "the manifest covers; expected a graph that holds them all: export the model again"
        )
    return data


def external_tensor(model: bytes) -> str | None:
    """The name of the first tensor of an ONNX model that has its numbers in another file, or nothing.

    Raises:
        ValueError: the bytes are no message of protobuf, or hold more fields than a model has.
    """
    left = MOST_FIELDS
    waiting = [("ModelProto", 0, len(model), 1)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"messages lie more than {_DEEPEST} deep in each other")
        name, external = "", False
        for number, wire, value, after in _fields(model, start, end):
            if (left := left - 1) < 0:
                raise ValueError(f"more than {MOST_FIELDS:,} fields")
            if message == "TensorProto":
                external |= number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)
                if number == TENSOR_NAME and wire == _BYTES:
                    name = model[value:after].decode("utf-8", "replace")
            elif wire == _BYTES and (inner := PATHS[message].get(number)) is not None:
                waiting.append((inner, value, after, depth + 1))
        if external:
            return name
    return None


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number and kind of each field of a message; a number's value, or where other contents begin; where they end."""
    while position < end:
        tag, position = _varint(data, position, end)
        number, wire, value = tag >> 3, tag & 7, position
        if number == 0 or tag >> 32:
            raise ValueError(f"no field can have the number {number}")
        if wire == _VARINT:
            value, position = _varint(data, position, end)
        elif wire == _BYTES:
            length, value = _varint(data, position, end)
            position = value + length
        elif wire in (_FIXED32, _FIXED64):
            position += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"no field of a model is of the kind {wire}")
        if position > end:
            raise ValueError("it breaks off")
        yield number, wire, value, position


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    result = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise ValueError("it breaks off")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ValueError("a number is longer than 64 bits")
