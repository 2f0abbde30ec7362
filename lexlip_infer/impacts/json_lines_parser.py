"""Reads the JSON lines of most writers at the speed of a disk, and all others as `read_json_lines` does.

Building an index reads every line once, and Python's own JSON would take most of that time. Lines in a usual spelling
go through a numba kernel; any other line goes to the strict reader, so that both accept and refuse the same.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.impacts._packed import pack
from lexlip_infer.impacts.json_lines_reader import read_json_lines
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from lexlip_infer.vocabulary import Vocabulary

__all__ = ["JsonLinesParser"]


class JsonLinesParser:
    """Reads documents over one vocabulary. Safe to share between threads.

    Args:
        vocabulary: V terms.

    Raises:
        InputError: a term is not valid Unicode.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        from lexlip_infer.impacts._json_parse_kernel import fill_table

        self._vocabulary = vocabulary
        self._keys = pack(['id"', 'contents"', 'vector"'])
        try:
            self._terms = pack(f"{encode_basestring(term)}:" for term in vocabulary.terms)
        except UnicodeEncodeError as error:
            raise InputError(f"the vocabulary holds a term that is not valid Unicode ({error}); repair it") from None
        self._table = np.full(1 << (2 * len(vocabulary) + 1).bit_length(), -1, np.int32)
        fill_table(self._terms, self._table)

    def parse(self, data: bytes, source: str = "JSON lines", first_line: int = 1) -> tuple[list[str], ImpactMatrix]:
        """As `read_json_lines`, of whole lines.

        Args:
            data: UTF-8 lines.
            source: how messages name them.
            first_line: number of the first.

        Raises:
            InputError: as `read_json_lines`.
        """
        from lexlip_infer.impacts._json_parse_kernel import parse_lines

        text = np.frombuffer(data, np.uint8)
        lines, postings = data.count(b"\n") + 1, data.count(b":")
        spans, indptr = np.full((lines, 2), -1, np.int64), np.zeros(lines + 1, np.int64)
        indices, impacts = np.empty(postings, np.int32), np.empty(postings, np.int32)
        names: dict[int, str] = {}
        at = row = 0
        while at < len(data):
            at, row = parse_lines(text, at, row, self._keys, self._terms, self._table, spans, indptr, indices, impacts)
            if at < len(data):
                at, end = _line_end(data, at), at
                line_ids, line = read_json_lines([data[end:at]], self._vocabulary.ids, source, first_line + row)
                start, stop = indptr[row], indptr[row] + len(line.indices)
                indices[start:stop], impacts[start:stop] = line.indices, line.impacts
                names[row], indptr[row + 1] = line_ids[0], stop
                row += 1
        ids = [
            names[i] if i in names else _decode(data, start, end, source, first_line + i)
            for i, (start, end) in enumerate(spans[:row].tolist())
        ]
        stop = int(indptr[row])
        matrix = ImpactMatrix(indptr[: row + 1], indices[:stop], impacts[:stop], len(self._vocabulary))
        return ids, matrix


def _line_end(data: bytes, at: int) -> int:
    end = data.find(b"\n", at)
    return len(data) if end < 0 else end + 1


def _decode(data: bytes, start: int, end: int, source: str, number: int) -> str:
    try:
        return data[start:end].decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source}, line {number}: not valid JSON in UTF-8 ({error}); expected one document a line"
        ) from None
