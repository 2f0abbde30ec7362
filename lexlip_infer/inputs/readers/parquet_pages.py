"""How much memory the pages of a Parquet file take, known before pyarrow makes room for them.

A page is decompressed as a whole, to the size that its own header says, and a value of a dictionary is copied for every
row that has it: a file of a kilobyte may ask for gigabytes. Neither pyarrow nor the file's footer tells these sizes, so
the headers are read here: Thrift's compact protocol, of which only lengths matter but for three numbers.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from lexlip_infer.errors import InputError

#: Bytes that a page may expand to.
MOST_OF_A_PAGE = 2**29

#: Bytes of the rows that are read together.
_MOST_TOGETHER = 2**27

#: Bytes of a page's header: what most have, and all that pyarrow takes.
_USUAL, _LONGEST = 2**10, 2**24

#: Kinds of fields.
_BOOLEANS, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), (4, 5, 6), 7, 8, (9, 10), 11, 12


def rows_together(file: BinaryIO, group: Any, columns: list[str]) -> int:
    """How many rows of a row group fit into memory, at least one.

    Args:
        file: open for reading, of this place only.
        group: of pyarrow's metadata.
        columns: that are read.

    Raises:
        InputError: a page is too large, or its header is damaged.
    """
    largest = 1
    for number in range(group.num_columns):
        chunk = group.column(number)
        if any(f"{chunk.path_in_schema}.".startswith(f"{column}.") for column in columns):
            for size in page_sizes(file, chunk):
                if size > MOST_OF_A_PAGE:
                    raise InputError(
                        f"a page of {size >> 20:,} MiB, at most {MOST_OF_A_PAGE >> 20} are read; "
                        "write the file with smaller pages or row groups"
                    )
                largest = max(largest, size)
    return max(1, _MOST_TOGETHER // largest)


def page_sizes(file: BinaryIO, chunk: Any) -> Iterator[int]:
    """Bytes that each page of a column chunk expands to; arguments and errors as above."""
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = start + chunk.total_compressed_size
    while start < end:
        length, expanded, stored = _read_header(file, start)
        yield expanded
        start += length + stored


def _read_header(file: BinaryIO, start: int) -> tuple[int, int, int]:
    """Of the header there: its own length, and the page's in memory and in the file."""
    for most in (_USUAL, _LONGEST):
        file.seek(start)
        header = _Header(file.read(most))
        try:
            numbers = header.numbers()
        except (IndexError, RecursionError, OverflowError):
            continue
        if min(numbers.get(2, -1), numbers.get(3, -1)) >= 0:
            return header.at, numbers[2], numbers[3]
    raise InputError("cannot be read further (damaged in the header of a page)")


class _Header:
    """A struct in Thrift's compact protocol, read as far as `at`. Raises IndexError where it breaks off."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def numbers(self) -> dict[int, int]:
        """Integers of the struct that begins here, by the numbers of their fields; the rest is passed over."""
        found: dict[int, int] = {}
        field = 0
        while (byte := self._byte()) != 0:
            field = field + (byte >> 4) if byte >> 4 else self._integer()
            if byte & 15 in _INTEGERS:
                found[field] = self._integer()
            elif byte & 15 not in _BOOLEANS:
                self._pass(byte & 15)
        return found

    def _pass(self, kind: int) -> None:
        if kind == _STRUCT:
            self.numbers()
        elif kind in _LISTS:
            byte = self._byte()
            for _ in range(byte >> 4 if byte >> 4 < 15 else self._varint()):
                self._pass(byte & 15)
        elif kind == _MAP:
            raise IndexError("no header of a page has one")
        elif kind in _INTEGERS:
            self._varint()
        else:
            size = self._varint() if kind == _BINARY else 8 if kind == _DOUBLE else 1
            self.at += size  # not in one: reading the size moves us

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
