"""What impact_dot refuses, each with one message: what was given, what was expected, what to do.

Backends assume checked arguments; the C++ would otherwise read or write outside its arrays. Nothing is
repaired or converted here.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexlip_kernels.errors import InputError
from lexlip_kernels.impact_matrix import ascends

if TYPE_CHECKING:
    from lexlip_kernels.impact_dot import ImpactIndex
    from lexlip_kernels.impact_matrix import ImpactMatrix

Impacts = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Stored impacts: 8 bits where all of them fit."""

CHUNK_DOCS = 2**16
"""Documents of a chunk, so that 16 bits number them; `kChunkDocs` of kernels/cpp/impact_dot/impact_index.hpp."""

INT32_MAX = 2**31 - 1
"""Largest score, row number plus one, k and number of threads."""

MAX_IMPACT = 2**16 - 1
"""Largest impact of a document term: postings hold up to 16 bits. (Query weights may be larger.)"""


def num_chunks(num_docs: int) -> int:
    """C, the chunks that hold N documents."""
    return -(-num_docs // CHUNK_DOCS)


def check_count(name: str, value: int, at_least: int = 1) -> None:
    """Refuse what is not an integer in `[at_least, 2^31 - 1]`.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, Integral) or not at_least <= value <= INT32_MAX:
        raise InputError(f"{name} must be >= {at_least} and an integer below 2^31, not {value!r}")


def check_array(name: str, array: npt.NDArray[Any], *dtypes: npt.DTypeLike) -> None:
    """Refuse an array that is not of rank 1, one of these dtypes, and contiguous.

    Raises:
        InputError: it is not.
    """
    if array.dtype not in dtypes or array.ndim != 1:
        expected = " or ".join(str(np.dtype(dtype)) for dtype in dtypes)
        raise InputError(f"{name} is {array.dtype} of rank {array.ndim}; expected rank 1 {expected}")
    if not array.flags.c_contiguous:
        raise InputError(f"{name} is a strided view; expected a contiguous array: use numpy.ascontiguousarray")


def check_matrix(name: str, matrix: ImpactMatrix) -> None:
    """Refuse a matrix that is strided or breaks its own invariants.

    Raises:
        InputError: it does.
    """
    for part, dtype in (("indptr", np.int64), ("indices", np.int32), ("impacts", np.int32)):
        check_array(f"{name}.{part}", getattr(matrix, part), dtype)
    matrix.validate()


def check_documents(matrix: ImpactMatrix) -> None:
    """Refuse documents that an index cannot hold.

    Raises:
        InputError: as `check_matrix`; or there are 2^31 documents or more, or an impact is above MAX_IMPACT.
    """
    check_count("the number of documents", len(matrix), at_least=0)
    check_matrix("documents", matrix)
    largest = matrix.impacts.max(initial=0)
    if largest > MAX_IMPACT:
        raise InputError(f"the largest document impact is {largest}; expected at most {MAX_IMPACT}: use fewer levels")


def check_offsets(index: ImpactIndex) -> None:
    """Refuse offsets that lead out of the posting arrays; costs O(C*V), not O(nnz).

    Raises:
        InputError: offsets do not run from 0 to the number of postings, or the arrays' lengths disagree.
    """
    offsets = index.term_offsets
    lengths = (len(index.posting_docs), len(index.posting_impacts), index.num_chunks * index.vocab_size + 1)
    if len(offsets) == 0 or lengths != (offsets[-1], offsets[-1], len(offsets)):
        raise InputError(
            f"ImpactIndex arrays disagree: {lengths[0]} documents and {lengths[1]} impacts in the postings, "
            f"{index.vocab_size} term maxima for {index.num_chunks} chunks of documents, "
            f"{len(offsets)} term offsets ending at {offsets[-1:]}"
        )
    if offsets[0] != 0 or not ascends(offsets):
        raise InputError("ImpactIndex.term_offsets must start at 0 and not decrease")


def check_postings(index: ImpactIndex) -> None:
    """Refuse postings that break the invariants of an index; costs O(nnz).

    Raises:
        InputError: documents are out of range or out of order, an impact is 0, or a maximum is wrong.
    """
    # Sixteen bits cannot leave any chunk but the last.
    last = max(index.num_chunks - 1, 0)
    of_last = index.posting_docs[index.term_offsets[last * index.vocab_size] :]
    if of_last.max(initial=0) >= max(index.num_docs - last * CHUNK_DOCS, 1):
        raise InputError(f"ImpactIndex.posting_docs must lie in [0, {index.num_docs})")
    for chunk in range(index.num_chunks):
        offsets = index.term_offsets[chunk * index.vocab_size : (chunk + 1) * index.vocab_size + 1]
        docs = index.posting_docs[offsets[0] : offsets[-1]]
        ascending = np.ones(len(docs) + 1, np.bool_)
        ascending[1:-1] = docs[1:] > docs[:-1]
        ascending[offsets - offsets[0]] = True  # a term's first posting follows nothing
        if not ascending.all():
            raise InputError("ImpactIndex.posting_docs must be strictly ascending within a term")
    if not index.posting_impacts.all():
        raise InputError("ImpactIndex.posting_impacts must be at least 1; leave a zero impact out")
    maxima = term_max_impacts(index.term_offsets, index.posting_impacts, index.vocab_size)
    if not np.array_equal(index.term_max_impacts, maxima):
        raise InputError("ImpactIndex.term_max_impacts are not the maxima of the postings; build the index again")


def check_queries(index: ImpactIndex, queries: ImpactMatrix) -> None:
    """Refuse queries that the index cannot answer.

    Raises:
        InputError: the vocabularies differ in size, or as `check_matrix` and `check_score_bound`.
    """
    if queries.vocab_size != index.vocab_size:
        raise InputError(
            f"vocabularies differ: queries have {queries.vocab_size} terms, the index {index.vocab_size}; "
            "encode both with the same model"
        )
    check_matrix("queries", queries)
    check_score_bound(index, queries)


def check_score_bound(index: ImpactIndex, queries: ImpactMatrix) -> None:
    """Refuse queries whose scores could leave 32 bits.

    The bound is the score of a document that holds every query term with that term's largest impact:
    `sum over terms t of query[t] * term_max_impacts[t]`. Products are cut at 2^31 first: the running sum over
    all queries then fits into 64 bits for up to 2^32 query terms.

    Raises:
        InputError: the bound of some query exceeds 2^31 - 1.
    """
    products = queries.impacts.astype(np.int64) * index.term_max_impacts[queries.indices]
    running = np.concatenate([[0], np.cumsum(np.minimum(products, INT32_MAX + 1))])
    bounds = running[queries.indptr[1:]] - running[queries.indptr[:-1]]
    if (bounds > INT32_MAX).any():
        raise InputError(f"query {bounds.argmax()}: score bound exceeds 2^31-1; quantise queries or documents coarser")


def term_max_impacts(
    term_offsets: npt.NDArray[np.int64], posting_impacts: Impacts, vocab_size: int
) -> npt.NDArray[np.uint16]:
    """The largest impact of each term, (V,), 0 where no document holds it."""
    maxima = np.zeros(vocab_size, np.uint16)
    for first in range(0, len(term_offsets) - 1, max(vocab_size, 1)):  # chunk by chunk
        offsets = term_offsets[first : first + vocab_size + 1]
        held = np.flatnonzero(offsets[:-1] < offsets[1:])
        if len(held):
            # Terms without postings occupy nothing, so each segment ends where the next held term begins.
            of_chunk = np.maximum.reduceat(posting_impacts[: offsets[-1]], offsets[held])
            maxima[held] = np.maximum(maxima[held], of_chunk)
    return maxima
