"""CIFF, the Common Index File Format (https://github.com/osirrc/ciff), which PISA, BMP and others load.

A file is a sequence of delimited protobuf messages: a Header, posting lists in order of their terms, and a DocRecord a
document. So documents have to be turned into posting lists first: they are gathered into runs, each sorted by term and
put aside on disk, and merged at the end. Memory: one run (the whole process took 190 MB), the longest posting list at
about 40 bytes a posting, and 8 V bytes of offsets a run.

Of protobuf's wire format a few pieces are needed, posting lists in numpy. A message is a sequence of (tag, value): a
tag is `field << 3 | kind`; kind 0 is a varint, 1 a double, 2 bytes after their length. Fields that are zero are left
out, as every protobuf library does, so that the bytes are the same. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.formats.contract import FormatSettings, Spool
from lexlip_infer.formats.limits import check_vocabulary, document_error, encode
from lexlip_infer.impacts.terms import check_shapes

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

#: Postings of a run.
RUN = 2_000_000

#: Postings encoded at a time, which takes 100 bytes each.
_BLOCK = 500_000

_INT32 = 2**31 - 1

Integers = npt.NDArray[np.int64] | npt.NDArray[np.int32]


class CiffWriter:
    """Inverts the stream. Impacts stand where CIFF has term frequencies, their sum where it has a document's length."""

    def __init__(self, vocabulary: Vocabulary, settings: FormatSettings) -> None:
        check_vocabulary(vocabulary.terms)
        self._terms = vocabulary.terms
        # Posting lists lie in order of their terms' bytes in UTF-8, which is the order of their code points.
        self._order = sorted(range(len(vocabulary)), key=vocabulary.terms.__getitem__)
        self._runs = _Runs(len(vocabulary), settings)
        self._records = Spool(settings.scratch)
        self._documents = self._impact_sum = 0

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """Nothing is ready before the end."""
        check_shapes(ids, impacts, len(self._terms))
        impacts.validate()
        if self._documents + len(ids) > _INT32:
            raise InputError(f"more than {_INT32:,} documents; CIFF numbers them in 32 bits: write several files")
        sums = np.diff(np.concatenate([[0], impacts.impacts.cumsum(dtype=np.int64)])[impacts.indptr])
        for number, (name, total) in enumerate(zip(ids, sums.tolist(), strict=True), start=self._documents):
            if total > _INT32:
                raise document_error(
                    name, f"the sum of its impacts is {total:,}; CIFF takes {_INT32:,}: lower the scale"
                )
            text = encode(name, [name])
            record = integer_field(1, number) + (bytes_field(2, text) if text else b"") + integer_field(3, total)
            self._records.write(delimited(record))
        self._runs.add(impacts, self._documents)
        self._documents += len(ids)
        self._impact_sum += int(sums.sum())
        return b""

    def finish(self) -> Iterator[bytes]:
        """The whole file."""
        self._runs.close()
        yield delimited(self._header())
        for term in self._order:
            if self._runs.frequency[term]:
                yield delimited(self._posting_list(term))
        yield from self._records.pieces()

    def _header(self) -> bytes:
        lists = int((self._runs.frequency > 0).sum())
        description = b"learned sparse impacts, written by lexlip-infer; the score is the sum of products"
        counts = [(1, 1), (2, lists), (3, self._documents), (4, lists), (5, self._documents), (6, self._impact_sum)]
        return (
            b"".join(integer_field(field, number) for field, number in counts)
            + double_field(7, self._impact_sum / max(self._documents, 1))
            + bytes_field(8, description)
        )

    def _posting_list(self, term: int) -> bytes:
        documents, impacts = self._runs.postings(term)
        gaps = np.diff(documents, prepend=np.int32(0))
        head = bytes_field(1, self._terms[term].encode())
        head += integer_field(2, len(documents)) + integer_field(3, int(impacts.sum(dtype=np.int64)))
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(documents), _BLOCK)]
        return b"".join([head, *(pairs_field(4, gaps[block], impacts[block]) for block in blocks)])


class _Runs:
    """Postings by term: (document, impact) pairs of int32, a run after another, each with its (V+1,) offsets."""

    def __init__(self, vocab_size: int, settings: FormatSettings) -> None:
        self.frequency = np.zeros(vocab_size, np.int64)
        self._spool = Spool(settings.scratch)
        self._offsets: list[npt.NDArray[np.int64]] = []
        self._waiting: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]] = []
        self._postings = 0

    def add(self, impacts: ImpactMatrix, first_document: int) -> None:
        """Take documents, numbered from `first_document`."""
        numbers = np.arange(first_document, first_document + len(impacts), dtype=np.int32)
        self._waiting.append((impacts.indices, np.repeat(numbers, impacts.lengths), impacts.impacts))
        self._postings += len(impacts.indices)
        if self._postings >= RUN:
            self.close()

    def close(self) -> None:
        """Sort what is waiting by term and put it aside."""
        if not self._postings:
            return
        terms, documents, impacts = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        self._waiting, self._postings = [], 0
        counts = np.bincount(terms, minlength=len(self.frequency))
        order = np.argsort(terms, kind="stable")
        pairs = np.stack([documents[order], impacts[order]], axis=1)
        self._offsets.append(self._spool.size + 8 * np.concatenate([[0], counts.cumsum()]))
        self._spool.write(pairs.tobytes())
        self.frequency += counts

    def postings(self, term: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Document numbers, ascending, and impacts of one term."""
        spans = ((int(offsets[term]), int(offsets[term + 1])) for offsets in self._offsets)
        data = b"".join([self._spool.read(start, end - start) for start, end in spans if end > start])
        pairs = np.frombuffer(data, np.int32).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]


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
