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
from lexlip_kernels.impact_dot.checks import MAX_IMPACT

if TYPE_CHECKING:
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["MAX_IMPACT", "ImpactIndex", "SearchResult"]


class _Implementation(Protocol):
    """What reference.py and native.py have in common; mypy holds both to it."""

    def build_postings(
        self, matrix: ImpactMatrix
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.uint16]]: ...

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
    """The k best documents of Q queries, score descending, then row ascending.

    Attributes:
        rows: (Q, k), row numbers of documents, -1 where a query matches fewer than k.
        scores: (Q, k), their scores, 0 where padded.
    """

    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class ImpactIndex:
    """N documents as postings: for each term, which documents hold it and with which impact.

    The arrays may be read-only memory maps. Construction checks what keeps memory access in bounds;
    `validate` checks everything.

    Attributes:
        term_offsets: (V+1,), term t occupies `[term_offsets[t], term_offsets[t+1])` of the posting arrays.
        posting_docs: (nnz,), rows of documents, strictly ascending within a term, in [0, N).
        posting_impacts: (nnz,), each in [1, MAX_IMPACT].
        term_max_impacts: (V,), the largest impact of each term, 0 where no document holds it.
        num_docs: N, at most 2^31 - 1.

    Raises:
        InputError: an array has another dtype, rank, layout or length, or offsets decrease.
    """

    term_offsets: npt.NDArray[np.int64]
    posting_docs: npt.NDArray[np.int32]
    posting_impacts: npt.NDArray[np.uint16]
    term_max_impacts: npt.NDArray[np.uint16]
    num_docs: int

    def __post_init__(self) -> None:
        checks.check_count("ImpactIndex.num_docs", self.num_docs, at_least=0)
        checks.check_array("ImpactIndex.term_offsets", self.term_offsets, np.int64)
        checks.check_array("ImpactIndex.posting_docs", self.posting_docs, np.int32)
        checks.check_array("ImpactIndex.posting_impacts", self.posting_impacts, np.uint16)
        checks.check_array("ImpactIndex.term_max_impacts", self.term_max_impacts, np.uint16)
        checks.check_offsets(self)

    @classmethod
    def build(cls, matrix: ImpactMatrix, backend: Backend = "auto") -> ImpactIndex:
        """Transpose documents into postings; takes about 6 bytes of memory per impact.

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
        term_offsets, posting_docs, posting_impacts = implementation.build_postings(matrix)
        maxima = checks.term_max_impacts(term_offsets, posting_impacts)
        return cls(term_offsets, posting_docs, posting_impacts, maxima, len(matrix))

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.term_offsets) - 1

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
            k: results per query, at least 1; may exceed N.
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
        return SearchResult(*implementation.search(self, queries, int(k), int(threads)))
