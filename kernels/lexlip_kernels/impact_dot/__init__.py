"""impact_dot: the exact integer dot product of queries with a collection, and its k best documents.

`score(d) = sum over terms t of query[t] * document d[t]`, as Anserini's impact search computes it: documents
that share no term with the query are never returned, ties go to the document that comes first. Nothing is
approximated or pruned. This file checks the arguments and chooses a backend; it computes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from lexlip_kernels.backends import Backend, choose_backend
from lexlip_kernels.impact_dot import checks
from lexlip_kernels.impact_dot.checks import CHUNK_DOCS, MAX_IMPACT, Impacts

if TYPE_CHECKING:
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["CHUNK_DOCS", "MAX_IMPACT", "ImpactIndex", "Impacts", "SearchResult"]


class _Implementation(Protocol):
    """What reference.py and native.py have in common; mypy holds both to it."""

    def build_postings(
        self, matrix: ImpactMatrix, dtype: type[np.uint8 | np.uint16]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], Impacts]: ...

    def search(
        self, index: ImpactIndex, queries: ImpactMatrix, k: int, threads: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]: ...


def _implementation(backend: Backend) -> _Implementation:
    if choose_backend(backend) == "native":
        from lexlip_kernels.impact_dot import native

        return native
    from lexlip_kernels.impact_dot import reference

    return reference


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The K best documents of Q queries, score descending, then row ascending; K = min(k, N).

    Attributes:
        rows: (Q, K), row numbers of documents, -1 where a query matches fewer than K.
        scores: (Q, K), their scores, 0 where padded.
    """

    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class ImpactIndex:
    """N documents as postings: for each term, which documents hold it and with which impact.

    Documents are taken in chunks of `CHUNK_DOCS`, C = ceil(N / CHUNK_DOCS), whose rows 16 bits number. The arrays may
    be read-only memory maps. Construction checks what keeps memory access in bounds; `validate` checks everything.

    Attributes:
        term_offsets: (C*V+1,), term t of chunk c occupies `[term_offsets[c*V+t], term_offsets[c*V+t+1])` of the
            posting arrays.
        posting_docs: (nnz,), rows of documents less `c*CHUNK_DOCS`, strictly ascending within a term of a chunk.
        posting_impacts: (nnz,), uint8 or uint16, each in [1, MAX_IMPACT].
        term_max_impacts: (V,), the largest impact of each term, 0 where no document holds it.
        num_docs: N, at most 2^31 - 1.

    Raises:
        InputError: an array has another dtype, rank, layout or length, or offsets decrease.
    """

    term_offsets: npt.NDArray[np.int64]
    posting_docs: npt.NDArray[np.uint16]
    posting_impacts: Impacts
    term_max_impacts: npt.NDArray[np.uint16]
    num_docs: int

    def __post_init__(self) -> None:
        checks.check_count("ImpactIndex.num_docs", self.num_docs, at_least=0)
        checks.check_array("ImpactIndex.term_offsets", self.term_offsets, np.int64)
        checks.check_array("ImpactIndex.posting_docs", self.posting_docs, np.uint16)
        checks.check_array("ImpactIndex.posting_impacts", self.posting_impacts, np.uint8, np.uint16)
        checks.check_array("ImpactIndex.term_max_impacts", self.term_max_impacts, np.uint16)
        checks.check_offsets(self)

    @classmethod
    def build(cls, matrix: ImpactMatrix, backend: Backend = "auto") -> ImpactIndex:
        """Transpose documents into postings; takes 3 bytes of memory per impact, 4 where one exceeds 255.

        Args:
            matrix: N documents over V terms, impacts in [1, MAX_IMPACT].
            backend: `"auto"` takes the first of `available_backends()`.

        Raises:
            InputError: the matrix breaks its own invariants, is strided, has 2^31 rows or more, or an impact
                above MAX_IMPACT.
            BackendUnavailable: the backend asked for cannot run here.
        """
        implementation = _implementation(backend)
        checks.check_documents(matrix)
        dtype = np.uint8 if matrix.impacts.max(initial=0) <= np.iinfo(np.uint8).max else np.uint16
        term_offsets, posting_docs, posting_impacts = implementation.build_postings(matrix, dtype)
        maxima = checks.term_max_impacts(term_offsets, posting_impacts, matrix.vocab_size)
        return cls(term_offsets, posting_docs, posting_impacts, maxima, len(matrix))

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.term_max_impacts)

    @property
    def num_chunks(self) -> int:
        """C."""
        return checks.num_chunks(self.num_docs)

    @property
    def document_frequencies(self) -> npt.NDArray[np.int64]:
        """(V,), how many documents hold each term."""
        lengths = np.diff(self.term_offsets).reshape(self.num_chunks, self.vocab_size)
        frequencies: npt.NDArray[np.int64] = lengths.sum(axis=0, dtype=np.int64)
        return frequencies

    @property
    def nbytes(self) -> int:
        """Of the arrays."""
        arrays = (self.term_offsets, self.posting_docs, self.posting_impacts, self.term_max_impacts)
        return sum(array.nbytes for array in arrays)

    def postings(self, chunk: int, term: int) -> tuple[npt.NDArray[np.uint16], Impacts]:
        """Rows, counted from `chunk * CHUNK_DOCS`, that hold a term, and their impacts, as views."""
        bucket = chunk * self.vocab_size + term
        held = slice(self.term_offsets[bucket], self.term_offsets[bucket + 1])
        return self.posting_docs[held], self.posting_impacts[held]

    def __len__(self) -> int:
        return self.num_docs

    def validate(self) -> None:
        """Check every invariant, the expensive ones included; for an index that was read from a file.

        Raises:
            InputError: documents are out of range or out of order, an impact is 0, or a maximum is not one.
        """
        checks.check_postings(self)

    def search(self, queries: ImpactMatrix, k: int, threads: int = 1, backend: Backend = "auto") -> SearchResult:
        """The k best documents of each query. The result does not depend on `threads` or `backend`.

        Args:
            queries: Q queries over the same V terms, weights >= 1.
            k: results per query, at least 1; may exceed N, but no more than N are made room for.
            threads: at least 1; spread over queries, or over document ranges when there are fewer queries.
            backend: `"auto"` takes the first of `available_backends()`.

        Raises:
            InputError: k or threads is below 1, the vocabularies differ, or a score might exceed 2^31 - 1.
            BackendUnavailable: the backend asked for cannot run here.
        """
        implementation = _implementation(backend)
        checks.check_count("k", k)
        checks.check_count("threads", threads)
        checks.check_queries(self, queries)
        return SearchResult(*implementation.search(self, queries, min(int(k), self.num_docs), int(threads)))
