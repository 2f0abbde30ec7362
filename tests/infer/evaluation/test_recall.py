"""Recall, ranking and pruning against definitions short enough to be read as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_infer import SparseBatch
from lexlip_infer.evaluation.evaluation import CaptionedImages
from lexlip_infer.evaluation.recall import Recall, rank_rows, recall


@pytest.mark.parametrize(("queries", "rows", "levels"), [(7, 23, 3), (5, 4, 2), (1, 1, 1), (3, 12, 1)])
def test_rank_rows(queries: int, rows: int, levels: int) -> None:
    scores = np.random.default_rng(0).integers(0, levels, (queries, rows)).astype(np.float32)
    expected = [sorted(range(rows), key=lambda row: (-line[row], row))[:10] for line in scores]
    assert rank_rows(scores).tolist() == expected


@pytest.mark.parametrize("width", [1, 3, 10, 14])
def test_recall(width: int) -> None:
    generator = np.random.default_rng(width)
    ranked: npt.NDArray[np.int64] = np.array([generator.permutation(20)[:width] for _ in range(50)])
    ranked[::7, width // 2 :] = -1
    relevant = [list(generator.permutation(20)[: generator.integers(0, 4)]) for _ in range(50)]
    expected = [
        100 * sum(bool(set(row[:cutoff]) & set(wanted)) for row, wanted in zip(ranked.tolist(), relevant, strict=True))
        / 50
        for cutoff in (1, 5, 10)
    ]  # fmt: skip
    found = recall(ranked, relevant)
    assert [found.at_1, found.at_5, found.at_10] == pytest.approx(expected)
    assert found.total() == pytest.approx(sum(expected))


def test_a_second_relevant_row_counts_once() -> None:
    assert recall(np.array([[4, 2, 0]]), [[2, 0]]) == Recall(0.0, 100.0, 100.0)


def test_as_text() -> None:
    assert str(Recall(1.25, 50.0, 100.0)) == "1.2/50.0/100.0"


@pytest.mark.parametrize("k", [1, 2, 3, 7, 100])
def test_kept_terms_with_ties(k: int) -> None:
    generator = np.random.default_rng(k)
    dense = generator.integers(0, 4, (9, 12)).astype(np.float32)
    dense[3] = 0
    dense[8] = 0
    row, column = dense.nonzero()
    indptr = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    batch = SparseBatch(indptr, column.astype(np.int32), dense[row, column], 12)
    kept = batch.top_k(k)
    kept.validate()
    for number, line in enumerate(dense):
        best = sorted(line.nonzero()[0].tolist(), key=lambda term: (-line[term], term))[:k]
        ids, weights = kept.row(number)
        assert ids.tolist() == sorted(best)
        assert weights.tolist() == [line[term] for term in sorted(best)]


def test_captions_of() -> None:
    data = CaptionedImages(images=(), captions=(), owner=())
    assert data.captions_of() == []
    data = CaptionedImages((Path("a"), Path("b")), ("x", "y", "z"), (0, 1, 1))
    assert data.captions_of() == [[0], [1, 2]]
