"""Queries that were encoded beforehand: an output of lexlip-encode, Anserini's JSON lines, or its topics.

A term that the index does not know has no postings; it is left out of the query and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lexlip_infer.collection.collection import read_finished, read_part
from lexlip_infer.collection.manifest import VECTORS
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import read_json_lines
from lexlip_infer.impacts.terms import JAVA_WHITESPACE
from lexlip_infer.inputs.lines import read_lines
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

__all__ = ["QueryVectors", "read_query_vectors"]


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """Encoded queries.

    Attributes:
        ids: (Q,).
        impacts: (Q, V).
        unknown: number of postings left out because the vocabulary does not have their term.
    """

    ids: list[str]
    impacts: ImpactMatrix
    unknown: int


def read_query_vectors(path: Path, vocabulary: Vocabulary) -> QueryVectors:
    """Read all queries.

    Args:
        path: output folder of lexlip-encode, a file of JSON lines, or topics (`.tsv`: id, tab, and each term as often
            as its impact says).
        vocabulary: of the index.

    Raises:
        InputError: it is none of these, cannot be read, holds no query or a malformed line, or a query id occurs twice.
        OutputError: a part file of the output has changed since it was written.
    """
    terms = _GrowingTerms(vocabulary.ids)
    if path.is_dir():
        ids, impacts = _read_output(path, terms)
    elif path.suffix == ".tsv":
        ids, impacts = _read_topics(path, terms)
    else:
        lines = ((number, line.encode()) for number, line in read_lines(path))
        ids, impacts = _rows([read_json_lines([line], terms, str(path), number) for number, line in lines])
    if not ids:
        raise InputError(f"{path}: no queries")
    for name, count in Counter(ids).items():
        if count > 1:
            raise InputError(f"{path}: query id {name!r} occurs {count} times; every query needs an id of its own")
    return _without_unknown(ids, impacts, len(vocabulary))


def _read_output(folder: Path, terms: _GrowingTerms) -> tuple[list[str], ImpactMatrix]:
    manifest = read_finished(folder)
    return _rows(
        [
            read_json_lines(read_part(folder, shard).splitlines(), terms, str(folder / VECTORS / shard.name))
            for shard in manifest.shards
        ]
    )


def _read_topics(path: Path, terms: _GrowingTerms) -> tuple[list[str], ImpactMatrix]:
    ids, rows = [], []
    for number, line in read_lines(path):
        name, tab, text = line.partition("\t")
        if not name or not tab:
            raise InputError(f"{path}:{number}: expected a query id, a tab, and terms")
        counts = Counter(filter(None, JAVA_WHITESPACE.split(text)))
        ids.append(name)
        rows.append([(terms[term], count) for term, count in counts.items()])
    return ids, ImpactMatrix.from_rows(rows, len(terms))


def _rows(parts: list[tuple[list[str], ImpactMatrix]]) -> tuple[list[str], ImpactMatrix]:
    size = max((part.vocab_size for _, part in parts), default=0)
    return [name for ids, _ in parts for name in ids], ImpactMatrix.concatenate([part for _, part in parts], size)


def _without_unknown(ids: list[str], impacts: ImpactMatrix, vocab_size: int) -> QueryVectors:
    known = impacts.indices < vocab_size
    return QueryVectors(ids, impacts.where(known, vocab_size), int((~known).sum()))


class _GrowingTerms(dict[str, int]):
    """Term to id; a term that is not there yet gets the next id."""

    def __missing__(self, term: str) -> int:
        self[term] = len(self)
        return self[term]
