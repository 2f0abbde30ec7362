"""The bytes of a bundle's ONNX graphs, after a check that all of a graph is in them.

A tensor of an ONNX graph may name another file that its numbers lie in. ONNX Runtime, given bytes, looks for that file
in the current directory, and no sum of the manifest covers it: a stranger's graph could read a file of whoever opens
it. So such a graph is refused before anything is made of it, unless the file is another graph of the bundle beside it,
which is then read like any file of the bundle and given to ONNX Runtime as bytes, too: an int8 backbone shares weights
with the float32 one so. What tells is two fields of a message of protobuf, which are found here by walking from field
to field; the numbers themselves are stepped over, not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

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

#: Depth of the tensors that are a model's own initialisers: all others lie deeper.
_INITIALISER = 3
#: Of `StringStringEntryProto`, and the key that names the file.
_KEY, _VALUE, _LOCATION = 1, 2, b"location"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_graph(bundle: Bundle, name: str) -> bytes:
    """A graph of a bundle, as ONNX Runtime and OpenVINO take it.

    Args:
        bundle: where it lies.
        name: its path in the bundle.

    Raises:
        BundleError: the file is missing or not what the manifest says, no ONNX model, or not all of one.
    """
    data, outside = _read(bundle, name)
    for tensor in outside.values():
        raise _elsewhere(bundle, name, tensor, "expected a graph that holds them all")
    return data


def read_graph_and_weights(bundle: Bundle, name: str) -> tuple[bytes, dict[str, bytes]]:
    """A graph of a bundle as ONNX Runtime takes it, and the files that share weights with it, by what it calls them.

    Raises:
        BundleError: as `read_graph`, or the graph has numbers in a file that is no graph of the bundle beside it.
    """
    data, outside = _read(bundle, name)
    shared = {}
    for location, tensor in outside.items():
        beside = str(PurePosixPath(name).parent / location)
        if "/" in location or not location.endswith(".onnx") or beside not in bundle.manifest.files:
            raise _elsewhere(bundle, name, tensor, "expected them in the graph, or in another graph of the bundle")
        shared[location] = bundle.read(beside)
    return data, shared


def _read(bundle: Bundle, name: str) -> tuple[bytes, dict[str, str]]:
    data = bundle.read(name)
    try:
        return data, external_tensors(data)
    except ValueError as error:
        raise BundleError(f"{bundle.folder / name}: cannot be loaded, it is no ONNX model: {error}") from None


def _elsewhere(bundle: Bundle, name: str, tensor: str, expected: str) -> BundleError:
    return BundleError(
        f"{bundle.folder / name}: its tensor {tensor[:80]!r} has its numbers in another file, which no sum of "
        f"the manifest covers; {expected}: export the model again"
    )


def external_tensors(model: bytes) -> dict[str, str]:
    """Files, as the model names them, that tensors of an ONNX model have their numbers in, and one such tensor of each.

    Of tensors that are no plain initialisers the file is "": ONNX Runtime would look for it on the disk.

    Raises:
        ValueError: the bytes are no message of protobuf, or hold more fields than a model has.
    """
    found: dict[str, str] = {}
    left = MOST_FIELDS
    waiting = [("ModelProto", 0, len(model), 1)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"messages lie more than {_DEEPEST} deep in each other")
        fields = []
        for field in _fields(model, start, end):
            if (left := left - 1) < 0:
                raise ValueError(f"more than {MOST_FIELDS:,} fields")
            fields.append(field)
        if message != "TensorProto":
            inner = PATHS[message]
            waiting += [(inner[f.number], f.start, f.end, depth + 1) for f in fields if f.leads and f.number in inner]
        elif any(f.number == EXTERNAL_DATA or (f.number == DATA_LOCATION and f.start != 0) for f in fields):
            name = b"".join(model[f.start : f.end] for f in fields if f.leads and f.number == TENSOR_NAME)
            location = _location(model, fields) if depth == _INITIALISER else ""
            found.setdefault(location, name.decode("utf-8", "replace"))
    return found


def _location(model: bytes, fields: list[_Field]) -> str:
    """The file that a tensor's external data names; nothing where it names none, or several."""
    found = []
    for field in fields:
        if field.number == EXTERNAL_DATA and field.leads:
            inner = _fields(model, field.start, field.end)
            entry = {each.number: model[each.start : each.end] for each in inner if each.leads}
            if entry.get(_KEY) == _LOCATION:
                found.append(entry.get(_VALUE, b"").decode("utf-8", "replace"))
    return found[0] if len(found) == 1 else ""


class _Field(NamedTuple):
    """A field of a message: its number; where its contents begin, or a number's value; where they end."""

    number: int
    wire: int
    start: int
    end: int

    @property
    def leads(self) -> bool:
        """Whether it has contents: a string, or a message."""
        return self.wire == _BYTES


def _fields(data: bytes, position: int, end: int) -> Iterator[_Field]:
    """Field by field of a message."""
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
        yield _Field(number, wire, value, position)


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
