"""JSON lines as Anserini's JsonVectorCollection reads them, written straight from arrays and read back strictly.

    {"id":"000000391895","contents":"","vector":{"motorcycle":231,"mountain":188}}

Each written line is byte for byte what `json.dumps(..., ensure_ascii=False, separators=(",", ":"))` gives, with the
vector's keys in ascending term id. Building a Python dictionary per document would cost more than all else, so every
term is escaped once and a numba kernel copies its bytes.

What Anserini would take without a word (a float cut to an integer, the last of two equal keys) is an error to the
reader, with file and line: a collection that reads back cleanly is indexed as it was meant. Terms of impact 0, which
published collections hold, add nothing to any score and are left out. Python's own JSON would take most of the time of
building an index, so lines in a usual spelling go through a numba kernel; any other line goes to `read_json_lines`, so
that both accept and refuse the same. No files are opened here.
"""

from __future__ import annotations

import json
from array import array
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.impacts.terms import SPARE, SURROGATE, Packed, check_shapes, check_terms, pack
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lexlip_infer.vocabulary import Vocabulary

    PairsHook = Callable[[list[tuple[str, object]]], dict[str, object]]

LARGEST_IMPACT = 2**31 - 1


class JsonLinesWriter:
    """Encodes impact rows over one vocabulary as JSON lines. Safe to share between threads.

    Args:
        terms: V term strings by id, as `Vocabulary.terms` has them.

    Raises:
        InputError: a term that Anserini could not index as it stands; see `check_terms`.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        check_terms(terms)
        self._terms = pack(f"{encode_basestring(term)}:" for term in terms)
        # Impacts of four digits cover all but the odd entry; larger ones are written digit by digit.
        self._numbers = pack(f"{number}," for number in range(10_000))

    def encode(self, ids: Sequence[str], matrix: ImpactMatrix) -> bytes:
        r"""Encode one line per row, each ended by ``\n``.

        Args:
            ids: (N,) document ids, any valid Unicode.
            matrix: (N, V) impacts; an empty row gives `"vector":{}`, which Anserini drops (see `fill_empty`).

        Raises:
            InputError: ids and rows differ in number, vocabularies differ in size, an id is not valid
                Unicode, or the matrix breaks one of its invariants.
        """
        from lexlip_infer.impacts._kernels import fill, measure

        check_shapes(ids, matrix, len(self._terms.starts) - 1)
        heads = _pack_heads(ids)
        rows = (matrix.indptr, matrix.indices, matrix.impacts)
        size = measure(rows, heads, self._terms, self._numbers)
        if size < 0:
            matrix.validate()
            raise AssertionError("the kernel refused a matrix that is valid")
        out = np.empty(size + SPARE, np.uint8)
        fill(rows, heads, self._terms, self._numbers, out)
        return out[:size].tobytes()


def _pack_heads(ids: Sequence[str]) -> Packed:
    try:
        return pack([f'{{"id":{encode_basestring(name)},"contents":"","vector":{{' for name in ids])
    except (TypeError, UnicodeEncodeError):
        row = next(row for row, name in enumerate(ids) if not _is_unicode(name))
        raise InputError(
            f"document id {ids[row]!r} (row {row}) is not valid Unicode and cannot stand in JSON; "
            "if it is a file name, rename the file"
        ) from None


def _is_unicode(text: str) -> bool:
    return isinstance(text, str) and not SURROGATE.search(text)


class JsonLinesParser:
    """Reads documents over one vocabulary. Safe to share between threads.

    Args:
        vocabulary: V terms.

    Raises:
        InputError: a term is not valid Unicode.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        from lexlip_infer.impacts._parse_kernels import fill_table

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
        from lexlip_infer.impacts._parse_kernels import parse_lines

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


def read_json_lines(
    lines: Iterable[bytes], term_to_id: Mapping[str, int], source: str = "JSON lines", first_line: int = 1
) -> tuple[list[str], ImpactMatrix]:
    """Read the documents of one stream.

    Args:
        lines: UTF-8 lines, such as a file opened in binary mode.
        term_to_id: the vocabulary; V is its largest id plus one.
        source: how messages name the stream, such as its path.
        first_line: number of the first line, where the stream is a later part of a file.

    Returns:
        (N,) document ids in the order of the lines (a whole number becomes its text, as in Anserini), and
        their (N, V) impacts.

    Raises:
        InputError: malformed JSON, a missing key, an unknown or repeated term, or an impact that is not a whole number
            of at least 0; the message names source and line.
    """
    ids: list[str] = []
    lengths, indices, impacts = array("q", [0]), array("i"), array("i")
    for number, line in enumerate(lines, start=first_line):
        try:
            document_id, vector = _parse(line, pairs=_distinct)
            postings = sorted((_term_id(term, term_to_id), _impact(vector, term)) for term in vector)
            postings = [posting for posting in postings if posting[1] > 0]
        except InputError as error:
            raise InputError(f"{source}, line {number}: {error}") from None
        ids.append(document_id)
        lengths.append(len(postings))
        indices.extend(term_id for term_id, _ in postings)
        impacts.extend(impact for _, impact in postings)
    return ids, ImpactMatrix(
        np.cumsum(np.array(lengths, np.int64)),
        np.array(indices, np.int32),
        np.array(impacts, np.int32),
        max(term_to_id.values(), default=-1) + 1,
    )


def collect_terms(lines: Iterable[bytes], source: str, first_line: int = 1) -> Iterator[str]:
    """The terms of every document as often as it has one; impacts are not looked at, nor keys that occur twice.

    Raises:
        InputError: malformed JSON, or a missing key; the message names source and line.
    """
    for number, line in enumerate(lines, start=first_line):
        try:
            _, vector = _parse(line, pairs=None)
        except InputError as error:
            raise InputError(f"{source}, line {number}: {error}") from None
        yield from vector


def _parse(line: bytes, pairs: PairsHook | None) -> tuple[str, dict[str, object]]:
    try:
        document = json.loads(line.decode(), object_pairs_hook=pairs)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON in UTF-8 ({error}); expected one document a line") from None
    if not isinstance(document, dict):
        raise InputError(f"a JSON {type(document).__name__}; expected an object with the keys id and vector")
    for key, kinds in (("id", (str, int)), ("vector", (dict,))):
        if key not in document:
            raise InputError(f"the key {key!r} is missing; expected an object with the keys id and vector")
        if not isinstance(document[key], kinds) or isinstance(document[key], bool):
            expected = "a string" if key == "id" else "an object of term: impact"
            raise InputError(f"{key!r} is a JSON {type(document[key]).__name__}; expected {expected}")
    return str(document["id"]), document["vector"]


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        repeated = first_repeated(key for key, _ in pairs)
        raise InputError(f"{repeated!r} occurs twice in one object; add the impacts up and write it once")
    return result


def first_repeated(keys: Iterable[str]) -> str:
    """The first of the keys that has come before."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise AssertionError("all of them differ")


def _term_id(term: str, term_to_id: Mapping[str, int]) -> int:
    try:
        return term_to_id[term]
    except KeyError:
        raise InputError(f"unknown term {term!r}; use the vocabulary the vectors were written with") from None


def _impact(vector: Mapping[str, object], term: str) -> int:
    impact = vector[term]
    if type(impact) is int and 0 <= impact <= LARGEST_IMPACT:
        return impact
    if isinstance(impact, float) and impact.is_integer():
        advice = "write whole numbers without a point"
    elif isinstance(impact, float):
        advice = "quantise the weights first, since Anserini cuts fractions off"
    else:
        advice = "lexlip check tells what Anserini makes of it"
    raise InputError(
        f"term {term!r} has impact {impact!r}; expected an integer from 1 to {LARGEST_IMPACT}, or 0 for a term that is "
        f"left out: {advice}"
    )
