"""Reads JSON lines of impact vectors back, strictly.

What Anserini would take without a word (a float cut to an integer, a zero that vanishes, the last of two
equal keys) is an error here, with file and line: a collection that reads back cleanly is indexed as it was
meant.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_kernels.impact_matrix import ImpactMatrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    PairsHook = Callable[[list[tuple[str, object]]], dict[str, object]]

__all__ = ["collect_terms", "read_json_lines"]

LARGEST_IMPACT = 2**31 - 1


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
        InputError: malformed JSON, a missing key, an unknown or repeated term, or an impact that is not an
            integer of at least 1; the message names source and line.
    """
    ids: list[str] = []
    lengths, indices, impacts = array("q", [0]), array("i"), array("i")
    for number, line in enumerate(lines, start=first_line):
        try:
            document_id, vector = _parse(line, pairs=_distinct)
            postings = sorted((_term_id(term, term_to_id), _impact(vector, term)) for term in vector)
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
        keys = [key for key, _ in pairs]
        repeated = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise InputError(f"{repeated!r} occurs twice in one object; add the impacts up and write it once")
    return result


def _term_id(term: str, term_to_id: Mapping[str, int]) -> int:
    try:
        return term_to_id[term]
    except KeyError:
        raise InputError(f"unknown term {term!r}; use the vocabulary the vectors were written with") from None


def _impact(vector: Mapping[str, object], term: str) -> int:
    impact = vector[term]
    if type(impact) is not int or not 1 <= impact <= LARGEST_IMPACT:
        raise InputError(
            f"term {term!r} has impact {impact!r}; expected an integer from 1 to {LARGEST_IMPACT} "
            "(Anserini would cut or drop it): quantise the weights first"
        )
    return impact
