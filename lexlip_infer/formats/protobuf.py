"""The few pieces of protobuf's wire format that CIFF needs, posting lists in numpy.

A message is a sequence of (tag, value): a tag is `field << 3 | kind`; kind 0 is a varint, 1 a double, 2 bytes after
their length. Fields that are zero are left out, as every protobuf library does, so that the bytes are the same.
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

__all__ = ["bytes_field", "delimited", "double_field", "integer_field", "pairs_field", "varint"]

Integers = npt.NDArray[np.int64] | npt.NDArray[np.int32]


def varint(number: int) -> bytes:
    """A non-negative number, seven bits a byte, lowest first."""
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def integer_field(field: int, number: int) -> bytes:
    """A non-negative integer."""
    return varint(field << 3) + varint(number) if number else b""


def double_field(field: int, number: float) -> bytes:
    """A double."""
    return varint(field << 3 | 1) + struct.pack("<d", number) if number else b""


def bytes_field(field: int, data: bytes) -> bytes:
    """A string or a message, even an empty one."""
    return varint(field << 3 | 2) + varint(len(data)) + data


def delimited(message: bytes) -> bytes:
    """A message after its length, as a file of several holds them."""
    return varint(len(message)) + message


def pairs_field(field: int, first: Integers, second: Integers) -> bytes:
    """A repeated message `{int32 = 1, int32 = 2}`, all of them at once.

    Args:
        field: its number in the message around it, below 16.
        first: (N,) in [0, 2^31).
        second: (N,) in [1, 2^31).
    """
    first, second = first.astype(np.int64), second.astype(np.int64)
    first_size, second_size = _sizes(first), _sizes(second)
    # A message is at most 12 bytes long, so that its length is one byte.
    body = np.where(first > 0, 1 + first_size, 0) + 1 + second_size
    ends = np.cumsum(2 + body)
    out = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    at = ends - body
    out[at - 2], out[at - 1] = field << 3 | 2, body
    shown = first > 0
    out[at[shown]] = 1 << 3
    _put(out, at[shown] + 1, first[shown], first_size[shown])
    at = ends - second_size - 1
    out[at] = 2 << 3
    _put(out, at + 1, second, second_size)
    return out.tobytes()


def _sizes(numbers: Integers) -> Integers:
    """Bytes of each number as a varint, at most 5."""
    sizes = np.ones(len(numbers), np.int64)
    for bits in (7, 14, 21, 28):
        sizes += numbers >= 1 << bits
    return sizes


def _put(out: npt.NDArray[np.uint8], at: Integers, numbers: Integers, sizes: Integers) -> None:
    for byte in range(5):
        here = sizes > byte
        if not here.any():
            break
        more = np.where(sizes[here] > byte + 1, 128, 0)
        out[at[here] + byte] = numbers[here] >> 7 * byte & 127 | more
