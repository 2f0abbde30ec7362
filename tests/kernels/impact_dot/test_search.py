"""impact_dot computes what it is defined to compute, on every backend and any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_kernels import available_backends
from lexlip_kernels.impact_dot import CHUNK_DOCS, MAX_IMPACT, ImpactIndex

BACKENDS = ("native", "reference")
INDEX_ARRAYS = ("term_offsets", "posting_docs", "posting_impacts", "term_max_impacts")
LARGE = 150_000  # documents: more than two blocks of the native search, and enough to split one query


def assert_same(actual, expected):
    np.testing.assert_array_equal(actual.scores, expected.scores)
    np.testing.assert_array_equal(actual.rows, expected.rows)


def by_hand(documents, query, k):
    """The definition once more, in plain Python, sharing no code with any backend."""
    scores = [sum(w * document.get(term, 0) for term, w in query.items()) for document in documents]
    hits = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: (-scores[row], row))[:k]
    padding = k - len(hits)
    return hits + [-1] * padding, [scores[row] for row in hits] + [0] * padding


def test_native_is_built():
    # Without the compiled module, `backend="auto"` would test the reference against itself.
    assert available_backends() == BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
def test_example(matrix_from_dicts, backend):
    index = ImpactIndex.build(matrix_from_dicts([{0: 2, 3: 1}, {}, {3: 5}, {0: 1, 2: 9}], 4), backend)
    found = index.search(matrix_from_dicts([{0: 1, 3: 2}, {1: 7}, {}], 4), 3, backend=backend)
    assert found.rows.tolist() == [[2, 0, 3], [-1, -1, -1], [-1, -1, -1]]
    assert found.scores.tolist() == [[10, 4, 1], [0, 0, 0], [0, 0, 0]]
    assert found.rows.dtype == found.scores.dtype == np.int32


@pytest.mark.parametrize("vocab_size", [1, 61, 4096])
@pytest.mark.parametrize("documents", [0, 1, 7, 1000])
def test_native_equals_reference(random_matrix, documents, vocab_size):
    collection = random_matrix(documents, vocab_size, 40, seed=documents)
    queries = random_matrix(9, vocab_size, 12, seed=1, largest=1000)
    native, reference = (ImpactIndex.build(collection, backend) for backend in BACKENDS)
    for name in INDEX_ARRAYS:
        assert getattr(native, name).dtype == getattr(reference, name).dtype
        np.testing.assert_array_equal(getattr(native, name), getattr(reference, name))
    native.validate()
    for k in (1, 10, documents + 3):
        expected = reference.search(queries, k, backend="reference")
        for threads in (1, 2, 5, 64):
            assert_same(native.search(queries, k, threads, "native"), expected)


@pytest.mark.parametrize("largest", [255, 256])
@pytest.mark.parametrize("documents", [CHUNK_DOCS - 1, CHUNK_DOCS, CHUNK_DOCS + 1, 2 * CHUNK_DOCS])
def test_chunks_of_any_size(random_matrix, documents, largest):
    collection = random_matrix(documents, 5, 2, seed=documents, largest=largest)
    queries = random_matrix(5, 5, 3, seed=1)
    native, reference = (ImpactIndex.build(collection, backend) for backend in BACKENDS)
    assert native.posting_impacts.dtype == (np.uint8 if largest == 255 else np.uint16)
    for name in INDEX_ARRAYS:
        np.testing.assert_array_equal(getattr(native, name), getattr(reference, name))
    native.validate()
    np.testing.assert_array_equal(native.document_frequencies, np.bincount(collection.indices, minlength=5))
    expected = reference.search(queries, 100, backend="reference")
    for threads in (1, 3, 7):
        assert_same(native.search(queries, 100, threads, "native"), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_plain_python(matrix_from_dicts, backend, data):
    vocab_size = data.draw(st.integers(1, 12))
    # Few distinct impacts make ties common.
    impacts = st.one_of(st.integers(1, 3), st.integers(1, MAX_IMPACT))
    vectors = st.lists(st.dictionaries(st.integers(0, vocab_size - 1), impacts, max_size=8), max_size=20)
    # Weights of at most 2000 keep 12 terms of MAX_IMPACT below 2^31.
    weights = st.lists(st.dictionaries(st.integers(0, vocab_size - 1), st.integers(1, 2000), max_size=8), max_size=4)
    documents, queries = data.draw(vectors), data.draw(weights)
    k, threads = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 4))

    index = ImpactIndex.build(matrix_from_dicts(documents, vocab_size), backend)
    found = index.search(matrix_from_dicts(queries, vocab_size), k, threads, backend)
    for row, query in enumerate(queries):
        rows, scores = by_hand(documents, query, min(k, len(documents)))
        assert (found.rows[row].tolist(), found.scores[row].tolist()) == (rows, scores)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [1, 10, 999, 1000])
def test_ties_go_to_the_first_row(matrix_from_dense, backend, k):
    equal = matrix_from_dense(np.full((1000, 3), 7))
    found = ImpactIndex.build(equal).search(matrix_from_dense(np.array([[1, 0, 2]])), k, threads=3, backend=backend)
    assert found.rows.tolist() == [list(range(k))]
    assert found.scores.tolist() == [[21] * k]


@pytest.fixture(scope="module")
def large_collection(matrix_from_dense):
    """Term 0 in every document, term 1 in every third, term 2 at the ends; three impacts, so many ties."""
    impacts = np.random.default_rng(5).integers(1, 4, (LARGE, 3))
    row = np.arange(LARGE)
    impacts[:, 1] *= row % 3 == 0
    impacts[:, 2] *= (row == 0) | (row >= LARGE - 2)
    return ImpactIndex.build(matrix_from_dense(impacts))


@pytest.mark.parametrize("k", [1, 10, 1000, LARGE + 1])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 7])
def test_large_collection(matrix_from_dense, large_collection, k, threads):
    # One query is split over document ranges, five on two threads are not; both cross block boundaries.
    queries = matrix_from_dense(np.array([[1, 2, 3], [0, 1, 0], [0, 0, 5], [0, 0, 0], [1, 2, 3]]))
    expected = large_collection.search(queries, k, backend="reference")
    found = large_collection.search(queries, k, threads, "native")
    assert_same(found, expected)
    np.testing.assert_array_equal(found.rows[0], found.rows[4])
    first = matrix_from_dense(np.array([[1, 2, 3]]))
    np.testing.assert_array_equal(large_collection.search(first, k, threads, "native").rows[0], expected.rows[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_query_order_gives_its_own_rows(random_matrix, matrix_from_dicts, backend):
    queries = random_matrix(12, 61, 9, seed=3)
    order = np.random.default_rng(0).permutation(12)
    rows = [dict(zip(*(part.tolist() for part in queries.row(i)), strict=True)) for i in order]
    index = ImpactIndex.build(random_matrix(300, 61, 20, seed=4))
    straight = index.search(queries, 10, 2, backend)
    shuffled = index.search(matrix_from_dicts(rows, 61), 10, 2, backend)
    np.testing.assert_array_equal(shuffled.rows, straight.rows[order])
    np.testing.assert_array_equal(shuffled.scores, straight.scores[order])


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_up_to_the_last_bit(matrix_from_dicts, backend):
    # weight * MAX_IMPACT + rest * 1 = 2^31 - 1 exactly: the largest score that is accepted.
    index = ImpactIndex.build(matrix_from_dicts([{0: MAX_IMPACT, 1: 1}], 2), backend)
    weight, rest = divmod(2**31 - 1, MAX_IMPACT)
    found = index.search(matrix_from_dicts([{0: weight, 1: rest}], 2), 1, backend=backend)
    assert found.scores.tolist() == [[2**31 - 1]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_queries(random_matrix, matrix_from_dicts, backend):
    found = ImpactIndex.build(random_matrix(7, 61, 9, seed=0)).search(matrix_from_dicts([], 61), 4, 2, backend)
    assert found.rows.shape == found.scores.shape == (0, 4)


def test_index_of_read_only_memory_map(tmp_path, random_matrix):
    built = ImpactIndex.build(random_matrix(100, 61, 9, seed=0))
    queries = random_matrix(5, 61, 9, seed=1)
    for name in INDEX_ARRAYS:
        np.save(tmp_path / f"{name}.npy", getattr(built, name))
    mapped = ImpactIndex(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in INDEX_ARRAYS), num_docs=100)
    mapped.validate()
    assert (len(mapped), mapped.vocab_size) == (100, 61)
    assert_same(mapped.search(queries, 10, backend="native"), built.search(queries, 10, backend="native"))
