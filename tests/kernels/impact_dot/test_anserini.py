"""impact_dot gives what Anserini gives, from the documents that the project's own writer wrote.

What needs Anserini is skipped without the extra `anserini`. Java runs in a process of its own, so that this one can
still fork.
"""

from __future__ import annotations

from pathlib import Path

import anserini  # tests/support/anserini.py
import numpy as np
import pytest

from lexlip_infer.errors import BackendUnavailable, MissingExtra
from lexlip_kernels.impact_dot import ImpactIndex, SearchResult

DEPTHS = (1, 10, 250)
VOCAB_SIZE = 211
EVERYWHERE = 7
"""A term that every document holds: pyserini drops such terms unless it is told not to."""

TERMS = [f"##t{i}" if i % 5 == 0 else f"t{i}" for i in range(VOCAB_SIZE)]


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        anserini.check_installed()
    except (MissingExtra, BackendUnavailable) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def documents(matrix_from_dense):
    """200 documents; few distinct impacts and 20 documents that occur twice make ties at every rank."""
    random = np.random.default_rng(0)
    dense = random.integers(1, 5, (200, VOCAB_SIZE)) * (random.random((200, VOCAB_SIZE)) < 0.1)
    dense[:, EVERYWHERE] = 3
    dense[100:120] = dense[:20]
    dense[5, 11] = 60_000
    return matrix_from_dense(dense)


@pytest.fixture(scope="module")
def queries(matrix_from_dense):
    random = np.random.default_rng(1)
    dense = random.integers(1, 200, (24, VOCAB_SIZE)) * (random.random((24, VOCAB_SIZE)) < 0.1)
    dense[0] = 0
    dense[0, EVERYWHERE] = 1  # 200 equal scores
    dense[1] = 0
    dense[1, 11] = 2  # fewer hits than k, one of them with a large score
    return matrix_from_dense(dense)


@pytest.fixture(scope="module")
def index(installed, documents, tmp_path_factory) -> Path:
    return anserini.build_index(documents, TERMS, tmp_path_factory.mktemp("anserini"))


@pytest.fixture(scope="module")
def found(queries, index) -> dict[int, SearchResult]:
    """Anserini's hits by k; Java starts once."""
    return dict(zip(DEPTHS, anserini.search_in_new_process(index, queries, TERMS, DEPTHS), strict=True))


@pytest.mark.parametrize("k", DEPTHS)
def test_same_hits_as_anserini(documents, queries, found, k):
    ours = ImpactIndex.build(documents).search(queries, k)
    assert (ours.rows[:, 0] >= 0).all()  # every query finds something
    theirs = SearchResult(found[k].rows[:, : len(documents)], found[k].scores[:, : len(documents)])
    anserini.assert_same_hits(ours, theirs)


def test_the_comparison_can_fail():
    rows, scores = np.array([[4, 2, 9]], np.int32), np.array([[8, 5, 5]], np.int32)
    expected = SearchResult(rows, scores)
    anserini.assert_same_hits(SearchResult(np.array([[4, 9, 3]], np.int32), scores), expected)
    for other in (SearchResult(np.array([[2, 4, 9]], np.int32), scores), SearchResult(rows, scores - 1)):
        with pytest.raises(AssertionError):
            anserini.assert_same_hits(other, expected)
