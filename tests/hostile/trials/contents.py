"""Damage to the contents of a file, by what kind of file it is. A draw from a seed, and no two alike.

Each function takes the bytes and gives others, with a few words about what was done. Nothing here knows any reader: the
values are those that have no place in a size, an offset, a name or a number.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

import numpy as np

from trials.trees import (
    NUMBERS,
    OTHERS,
    Damage,
    added,
    bits,
    change_node,
    cut,
    json_lines,
    json_tree,
    tokenizer,
    words,
    written,
)


def damaged(rng: Random, name: str, data: bytes) -> Damage:
    """Other contents for a file of this name."""
    suffix = name.rsplit(".", 1)[-1]
    ways: list[Callable[[Random, bytes], Damage]] = [bits, words, cut, cut, added]
    ways += _OF_SUFFIX.get(suffix, ()) * 3
    changed, what = rng.choice(ways)(rng, data)
    return (changed, what) if changed != data else bits(rng, data or b"x")


def npy_header(rng: Random, data: bytes) -> Damage:
    """Another version, type, order or shape than the array has."""
    length = struct.unpack_from("<H", data, 8)[0] if len(data) > 10 else 0
    header = data[10 : 10 + length].decode("latin-1")
    new = {
        "descr": rng.choice(["<i8", ">i8", "<f8", "|O", "<U9999", "V8", "<u2", "|u1", "<M8[ns]", "x", ("<i4", (2, 2))]),
        "fortran_order": rng.choice([False, True, 3]),
        "shape": rng.choice([(), (0,), (2**40,), (-1,), (3, 3), (2**62, 4), (1, 0), ("x",), 7, (2**70,)]),
    }
    kept = rng.sample(sorted(new), rng.randint(0, 2))
    try:
        import ast

        new |= {name: value for name, value in ast.literal_eval(header).items() if name in kept}
    except (ValueError, SyntaxError):
        pass
    text = f"{new!r}".ljust(max(length - 1, 0)) + "\n"
    version = rng.choice([b"\x01\x00", b"\x01\x00", b"\x03\x00", b"\xff\xff"])
    return data[:6] + version + struct.pack("<H", len(text)) + text.encode() + data[10 + length :], f"header {new}"


def npy_values(rng: Random, data: bytes) -> Damage:
    """Elements that have no place in an offset, a row, an impact or an id."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return bits(rng, data)
    if array.dtype.kind not in "iu" or not array.size:
        return bits(rng, data)
    info, values = np.iinfo(array.dtype), array.ravel()
    for _ in range(rng.choice([1, 1, 2, 5])):
        choices = [
            info.max,
            info.min,
            info.max // 2 + info.max // 4,
            -(info.max // 2) if info.min else 0,
            0,
            1,
            array.size,
        ]
        values[rng.randrange(values.size)] = min(max(rng.choice(choices), info.min), info.max)
    if rng.random() < 0.2:
        values[:] = np.sort(values)[:: rng.choice([1, -1])]
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue(), "other values"


def tensors_header(rng: Random, data: bytes) -> Damage:
    """Another type, shape or place of a tensor; the length of the header agrees."""
    length = struct.unpack_from("<Q", data)[0] if len(data) > 8 else 0
    try:
        tree = json.loads(data[8 : 8 + length])
        named = [entry for name, entry in tree.items() if name != "__metadata__"]
    except (ValueError, AttributeError):
        return bits(rng, data)
    if named and rng.random() < 0.5:
        entry = rng.choice(named)
        kind = rng.choice(["BF16", "F8_E4M3", "F64", "I64", "BOOL", "U8", "F4", "x"])
        field, value = rng.choice(
            [
                ("dtype", kind),
                ("shape", [2**40]),
                ("shape", [0]),
                ("shape", [2**62, 4]),
                ("data_offsets", [0, 2**62]),
                ("data_offsets", [8, 0]),
                ("shape", entry.get("shape", [])[::-1]),
                ("data_offsets", [0, 4]),
            ]
        )
        entry[field] = value
        what = f"{field} {value}"
    else:
        what = change_node(rng, tree)
    header = written(rng, tree)
    return struct.pack("<Q", len(header)) + header + data[8 + length :], what


def tensors_values(rng: Random, data: bytes) -> Damage:
    """Weights that are no numbers."""
    length = struct.unpack_from("<Q", data)[0] if len(data) > 8 else 0
    changed, start = bytearray(data), min(8 + length, len(data))
    pattern = rng.choice([b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f", b"\0\x7e\0\x7e"])
    at = start + rng.randrange(max((len(data) - start) // 4, 1)) * 4
    end = rng.choice([at + 4, len(data)])
    changed[at:end] = (pattern * ((end - at) // 4 + 1))[: max(end - at, 0)]
    return bytes(changed[: len(data)]), f"{pattern.hex()} from {at} to {end}"


def gzip_contents(rng: Random, data: bytes) -> Damage:
    """Other lines, well packed; or so many of them that memory would not hold them."""
    try:
        lines = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return bits(rng, data)
    if rng.random() < 0.7:
        changed, what = rng.choice([json_lines, bits, cut, added])(rng, lines)
        return gzip.compress(changed, mtime=0), f"within gzip: {what}"
    piece = rng.choice([b"\0", b"a", b" ", b"\n", b'{"id":"x","contents":"","vector":{"dog":1}}\n'])
    member = gzip.compress(piece * ((16 << 20) // len(piece)), 1, mtime=0)
    return data + member * 90, f"1.5 GB of {piece!r} packed"


def zip_members(rng: Random, data: bytes) -> Damage:
    """A member of an archive of torch: other contents with their checksum, gone, exchanged, or expanding."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error):
        return bits(rng, data)
    name, packing = rng.choice(sorted(members)), zipfile.ZIP_STORED
    if rng.random() < 0.5:
        name = next((member for member in members if member.endswith("data.pkl")), name)
    how = rng.choice(["damage", "damage", "damage", "gone", "exchange", "expand", "packed", "pickle"])
    if how == "damage":
        members[name], how = rng.choice([bits, words, cut, added])(rng, members[name])
    elif how == "gone":
        del members[name]
    elif how == "exchange":
        other = rng.choice(sorted(members))
        members[name], members[other] = members[other], members[name]
    elif how == "pickle":
        members[name] = pickle.dumps(
            rng.choice([*OTHERS, *NUMBERS, {"state_dict": {}}, {"state_dict": {"x": 1}}, "x" * 9_000_000])
        )
    else:
        packing = zipfile.ZIP_DEFLATED
        members[name] = bytes(1_300_000_000) if how == "expand" else members[name]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing, compresslevel=1) as archive:
        for member, contents in members.items():
            archive.writestr(zipfile.ZipInfo(member), contents, packing)
    return file.getvalue(), f"member {name}: {how}"


def onnx_graph(rng: Random, data: bytes) -> Damage:
    """Weights that lie in another file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return bits(rng, data)
    if not model.graph.initializer:
        return bits(rng, data)
    tensor = rng.choice(model.graph.initializer)
    place = rng.choice(["weights.bin", "../outside/keep.txt", "/dev/zero", "lexlip.json"])
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": place, "offset": "0", "length": str(4 * int(np.prod(tensor.dims)))}.items():
        tensor.external_data.add(key=key, value=value)
    return model.SerializeToString(), f"the weights {tensor.name} lie in {place}"


_OF_SUFFIX: dict[str, tuple[Callable[[Random, bytes], Damage], ...]] = {
    "json": (json_tree, json_tree, tokenizer),
    "jsonl": (json_lines, json_lines),
    "npy": (npy_header, npy_values, npy_values),
    "safetensors": (tensors_header, tensors_values),
    "gz": (gzip_contents, gzip_contents),
    "ckpt": (zip_members, zip_members),
    "pt": (zip_members, zip_members),
    "onnx": (onnx_graph,),
}
