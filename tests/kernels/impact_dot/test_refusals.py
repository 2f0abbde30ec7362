"""Bad input to impact_dot gets one clear message, before any backend sees it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lexlip_kernels import ImpactMatrix
from lexlip_kernels.errors import InputError
from lexlip_kernels.impact_dot import CHUNK_DOCS, MAX_IMPACT, ImpactIndex, checks


@pytest.fixture
def index(random_matrix):
    return ImpactIndex.build(random_matrix(50, 61, 9, seed=0))


@pytest.fixture
def queries(random_matrix):
    return random_matrix(5, 61, 9, seed=1)


@pytest.mark.parametrize("count", [0, -1, 2.0, "3", None, 2**31])
@pytest.mark.parametrize("argument", ["k", "threads"])
def test_counts(index, queries, argument, count):
    with pytest.raises(InputError, match=f"{argument} must be >= 1 .* not {count!r}"):
        index.search(queries, **{"k": 1, argument: count})


def test_numpy_counts_are_integers(index, queries):
    assert index.search(queries, np.int64(3), np.int32(2)).rows.shape == (5, 3)


def test_other_vocabulary(index, random_matrix):
    with pytest.raises(InputError, match="vocabularies differ: queries have 62 terms, the index 61"):
        index.search(random_matrix(5, 62, 9, seed=1), 1)


@pytest.mark.parametrize("term", [-1, 61])
def test_term_outside_vocabulary(index, matrix_from_dicts, term):
    outside = matrix_from_dicts([{term: 1}], 61)
    with pytest.raises(InputError, match=r"must lie in \[0, 61\)"):
        index.search(outside, 1)
    with pytest.raises(InputError, match=r"must lie in \[0, 61\)"):
        ImpactIndex.build(outside)


def test_impact_above_16_bits(matrix_from_dicts):
    with pytest.raises(InputError, match="largest document impact is 65536; expected at most 65535"):
        ImpactIndex.build(matrix_from_dicts([{0: MAX_IMPACT + 1}], 1))


def test_strided_arrays(queries):
    double = np.repeat(queries.indices, 2)
    strided = ImpactMatrix(queries.indptr, double[::2], queries.impacts, 61)
    with pytest.raises(InputError, match=r"documents\.indices is a strided view.*ascontiguousarray"):
        ImpactIndex.build(strided)


def test_strided_queries(index, queries):
    strided = ImpactMatrix(queries.indptr, queries.indices, np.repeat(queries.impacts, 2)[::2], 61)
    with pytest.raises(InputError, match=r"queries\.impacts is a strided view"):
        index.search(strided, 1)


@pytest.mark.parametrize(
    ("weights", "query"),
    [
        ([{0: 32768}, {0: 32769}], 1),  # 32768 * 65535 is the last multiple below 2^31
        ([{0: 2**31 - 1, 1: 2**31 - 1}], 0),  # the sum of products itself would not fit into 32 bits
        ([dict.fromkeys(range(61), 2**31 - 1)] * 3, 0),
    ],
)
def test_score_bound(matrix_from_dicts, weights, query):
    index = ImpactIndex.build(matrix_from_dicts([dict.fromkeys(range(61), MAX_IMPACT)], 61))
    with pytest.raises(InputError, match=rf"query {query}: score bound exceeds 2\^31-1"):
        index.search(matrix_from_dicts(weights, 61), 1)


def test_score_bound_counts_only_terms_that_documents_hold(matrix_from_dicts):
    index = ImpactIndex.build(matrix_from_dicts([{1: 3}], 61))
    found = index.search(matrix_from_dicts([{0: 2**31 - 1, 1: 2, 60: 2**31 - 1}], 61), 1)
    assert found.scores.tolist() == [[6]]


def test_too_many_documents(monkeypatch, queries):
    monkeypatch.setattr(checks, "INT32_MAX", 4)
    with pytest.raises(InputError, match="number of documents"):
        ImpactIndex.build(queries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_docs": -1}, "num_docs must be >= 0"),
        (
            {"posting_docs": lambda a: a.astype(np.int64)},
            "posting_docs is int64 of rank 1; expected rank 1 uint16",
        ),
        ({"term_offsets": lambda a: a.astype(np.float64)}, "term_offsets is float64"),
        ({"posting_impacts": lambda a: a[:, None]}, "posting_impacts is uint8 of rank 2"),
        (
            {"posting_impacts": lambda a: a.astype(np.int8)},
            "posting_impacts is int8 .* expected rank 1 uint8 or uint16",
        ),
        ({"num_docs": CHUNK_DOCS + 1}, "61 term maxima for 2 chunks of documents, 62 term offsets"),
        ({"num_docs": 0}, "61 term maxima for 0 chunks of documents, 62 term offsets"),
        ({"posting_impacts": lambda a: np.repeat(a, 2)[::2]}, "posting_impacts is a strided view"),
        ({"posting_impacts": lambda a: a[:-1]}, "arrays disagree"),
        ({"term_max_impacts": lambda a: a[:-1]}, "arrays disagree"),
        ({"term_offsets": lambda a: a[:-1]}, "arrays disagree"),
        ({"term_offsets": lambda a: a[:0]}, "arrays disagree"),
        ({"term_offsets": lambda a: np.where(a == 0, -1, a)}, "must start at 0 and not decrease"),
        (
            {"term_offsets": lambda a: np.concatenate([a[:5], a[1:2], a[6:]])},
            "must start at 0 and not decrease",
        ),
    ],
)
def test_unsound_index(index, change, message):
    with pytest.raises(InputError, match=message):
        replaced(index, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"posting_docs": lambda a: a + 10}, r"must lie in \[0, 50\)"),
        ({"posting_docs": lambda a: a - 10}, r"must lie in \[0, 50\)"),
        ({"posting_docs": np.zeros_like}, "strictly ascending within a term"),
        ({"posting_impacts": np.zeros_like}, "at least 1"),
        ({"term_max_impacts": lambda a: a + 1}, "build the index again"),
    ],
)
def test_damaged_index_is_found_and_cannot_reach_outside(index, queries, change, message):
    damaged = replaced(index, change)
    with pytest.raises(InputError, match=message):
        damaged.validate()
    found = damaged.search(queries, 60, 2, "native")  # wrong scores are allowed here, touching other memory is not
    assert found.rows.min() >= -1
    assert found.rows.max() < 50


def replaced(index, change):
    (name, value), *_ = change.items()
    return dataclasses.replace(index, **{name: value(getattr(index, name)) if callable(value) else value})


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_no_room_is_made_for_more_than_all_documents(index, queries, backend):
    found, expected = (index.search(queries, k, backend=backend) for k in (2**31 - 1, 50))
    assert found.rows.shape == found.scores.shape == (5, 50)
    np.testing.assert_array_equal(found.rows, expected.rows)
