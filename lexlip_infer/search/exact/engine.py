"""An opened index. Its answers are those of one index over all documents that are not deleted.

Every segment is searched, and what they found is merged by score, then id. A deleted document still has postings, so
a segment is asked for more results than k, and asked again for twice as many where too few of them are left.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search.engine import Ranking
from lexlip_infer.search.exact.manifest import (
    INDEX_MANIFEST,
    IndexManifest,
    damaged,
    opened,
    read_index_manifest,
    read_terms,
    unreadable,
)
from lexlip_infer.search.exact.segment import Segment, open_segment
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import CHUNK_DOCS, ImpactIndex

if TYPE_CHECKING:
    from lexlip_infer.collection.collection import Collection

Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class ExactEngine:
    """A state of an index; later changes to the folder do not reach it. Build it with `open`.

    Attributes:
        path: of the folder.
        manifest: of this state.
        segments: mapped.
        vocab: terms by id.
    """

    path: Path
    manifest: IndexManifest
    segments: tuple[Segment, ...]
    vocab: Vocabulary

    @classmethod
    def open(cls, index: Path) -> ExactEngine:
        """Map an index; reads the manifest, the vocabulary and the sizes of all files, whatever they hold.

        Raises:
            OutputError: there is no index, or it is damaged, truncated, unreadable, or of another format version.
        """
        with opened(index) as folder:
            while True:
                manifest = read_index_manifest(folder)
                try:
                    segments = tuple(open_segment(folder, record, manifest.vocab_size) for record in manifest.segments)
                    return cls(index, manifest, segments, read_terms(folder, manifest))
                except OutputError:
                    raise
                except OSError as error:
                    # A writer may have replaced segments between the manifest and here.
                    if read_index_manifest(folder).generation == manifest.generation:
                        raise unreadable(error) from None

    @property
    def documents(self) -> int:
        """That a search can find."""
        return self.manifest.documents

    @property
    def bytes_on_disk(self) -> int:
        """Of all files."""
        return self.manifest.size + (self.path / INDEX_MANIFEST).stat().st_size

    def search(self, queries: ImpactMatrix, k: int, threads: int = 1) -> Ranking:
        """The k best documents of each query by integer dot product, ties by id ascending.

        Args:
            queries: Q queries over the index's terms; one without terms finds nothing.
            k: at least 1; may exceed the number of documents.
            threads: at least 1.

        Raises:
            InputError: k or threads is below 1, the vocabularies differ, or a score might exceed 2^31 - 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        found = [_search_segment(segment, queries, k, threads) for segment in self.segments]
        ids: list[list[str]] = []
        scores: list[npt.NDArray[np.float64]] = []
        for query in range(len(queries)):
            best = self._merge([of_segment[query] for of_segment in found], k)
            ids.append([self._decoded(name) for _, name in best])
            scores.append(np.array([-score for score, _ in best], np.float64))
        return Ranking(ids, scores)

    def _merge(self, found: list[Found], k: int) -> list[tuple[int, bytes]]:
        """(-score, id) of the best."""
        hits = [
            (-score, segment.ids[row])
            for segment, (rows, scores) in zip(self.segments, found, strict=True)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
        return sorted(hits)[:k] if len(self.segments) > 1 else hits

    def _decoded(self, name: bytes) -> str:
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise damaged(self.path, "a document id is not UTF-8") from None

    def impacts_of(self, name: str, terms: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Impacts that a document has for some terms, 0 where it has none."""
        for segment in self.segments:
            row = segment.find(name.encode())
            if row is not None:
                return np.array([_impact(segment, int(term), row) for term in terms], np.int32)
        return np.zeros(len(terms), np.int32)


@dataclass(frozen=True, slots=True)
class OutputEngine:
    """What lexlip-encode wrote, read and indexed in memory. Build it with `open`."""

    ids: list[str]
    matrix: ImpactMatrix
    index: ImpactIndex

    @classmethod
    def open(cls, documents: Collection) -> OutputEngine:
        """Read all documents; see `Collection.in_id_order` for what is refused."""
        ids, matrix = documents.in_id_order()
        return cls(ids, matrix, ImpactIndex.build(matrix))

    @property
    def documents(self) -> int:
        """N."""
        return len(self.ids)

    def search(self, queries: ImpactMatrix, k: int, threads: int = 1) -> Ranking:
        """As `ExactEngine.search`."""
        found = self.index.search(queries, min(k, len(self.ids)), threads)
        kept = [rows >= 0 for rows in found.rows]
        return Ranking(
            [[self.ids[row] for row in rows[keep].tolist()] for rows, keep in zip(found.rows, kept, strict=True)],
            [scores[keep].astype(np.float64) for scores, keep in zip(found.scores, kept, strict=True)],
        )

    def impacts_of(self, name: str, terms: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """As `ExactEngine.impacts_of`."""
        indices, impacts = self.matrix.row(bisect_left(self.ids, name))
        at = np.minimum(np.searchsorted(indices, terms), len(indices) - 1)
        return np.where(indices[at] == terms, impacts[at], 0).astype(np.int32)


def _impact(segment: Segment, term: int, row: int) -> int:
    chunk, number = divmod(row, CHUNK_DOCS)
    docs, impacts = segment.impacts.postings(chunk, term)
    at = int(np.searchsorted(docs, np.uint16(number)))
    return int(impacts[at]) if at < len(docs) and docs[at] == number else 0


def _search_segment(segment: Segment, queries: ImpactMatrix, k: int, threads: int) -> list[Found]:
    """For each query the k best rows that are not deleted, and their scores."""
    documents, gone = segment.record.documents, len(segment.deleted)
    asked = min(k + min(k, gone), max(documents, 1))
    pending, results = np.arange(len(queries)), [_NOTHING] * len(queries)
    live = segment.live() if gone else None
    while len(pending):
        chosen = queries if len(pending) == len(queries) else queries[pending]
        hits = segment.impacts.search(chosen, asked, threads)
        unfinished = []
        for query, rows, scores in zip(pending.tolist(), hits.rows, hits.scores, strict=True):
            kept = rows >= 0
            exhausted = asked >= documents or not kept.all()
            if live is not None:
                kept &= live[rows]
            if kept.sum() < min(k, documents) and not exhausted:
                unfinished.append(query)
            results[query] = rows[kept][:k], scores[kept][:k]
        pending, asked = np.array(unfinished, np.int64), min(2 * asked, documents)
    return results


_NOTHING: Found = (np.zeros(0, np.int32), np.zeros(0, np.int32))
