"""Ranks against sorted lists, chunk by chunk or all at once."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.evaluation import ranks
from lexlip_infer.evaluation.ranks import (
    Recall,
    impact_ranks,
    impact_recall,
    ranks_in_lists,
    ranks_in_scores,
    score_recall,
    similarity_ranks,
    similarity_recall,
)
from lexlip_infer.evaluation.small_scale import RankedQueries, Settings, evaluate_small_scale
from lexlip_infer.impacts import QuantisationSettings, quantise


def slow(
    scores: npt.NDArray[np.floating], queries: npt.NDArray[np.int64], documents: npt.NDArray[np.int64], above: float = 0
) -> list[int]:
    found = []
    for row, label in zip(scores.tolist(), queries, strict=True):
        order = sorted((i for i in range(len(row)) if row[i] > above), key=lambda i: (-row[i], i))
        places = [place for place, i in enumerate(order, start=1) if documents[i] == label]
        found.append(min(places, default=max(len(row), 10) + 1))
    return found


def slow_recall(ranked: list[list[int]], relevant: list[set[int]]) -> list[float]:
    return [
        100 * sum(bool(set(row[:cutoff]) & wanted) for row, wanted in zip(ranked, relevant, strict=True)) / len(ranked)
        for cutoff in (1, 5, 10)
    ]


def random_batch(rows: int, seed: int, levels: int = 3) -> SparseBatch:
    dense = np.random.default_rng(seed).integers(0, levels + 1, (rows, 12)) * (
        np.random.default_rng(seed + 1).random((rows, 12)) < 0.3
    )
    row, column = dense.nonzero()
    indptr = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    return SparseBatch(indptr, column.astype(np.int32), dense[row, column].astype(np.float32), 12)


@pytest.fixture(params=[1, 70, 2**23])
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_SCORES", request.param)


@pytest.mark.parametrize("levels", [1, 3, 100])
@pytest.mark.parametrize("above", [0, -np.inf])
def test_ranks_in_scores(levels: int, above: float) -> None:
    generator = np.random.default_rng(levels)
    scores = generator.integers(-1, levels + 1, (40, 17)).astype(np.float32)
    queries, documents = generator.integers(0, 6, 40), generator.integers(0, 5, 17)
    found = ranks_in_scores(scores, queries, documents, above)
    assert found.tolist() == slow(scores, queries, documents, above)


@pytest.mark.parametrize("width", [1, 3, 10, 14])
def test_ranks_in_lists(width: int) -> None:
    generator = np.random.default_rng(width)
    ranked: npt.NDArray[np.int64] = np.array([generator.permutation(20)[:width] for _ in range(50)])
    ranked[::7, width // 2 :] = -1
    queries, documents = generator.integers(0, 9, 50), generator.integers(0, 8, 20)
    relevant = [set(np.flatnonzero(documents == label).tolist()) for label in queries]
    found = ranks_in_lists(ranked, queries, documents)
    assert astuple(Recall.of(found)) == pytest.approx(slow_recall(ranked.tolist(), relevant))
    assert set(found.tolist()) <= {*range(1, width + 1), 21}


def test_a_second_relevant_document_counts_once() -> None:
    found = ranks_in_lists(np.array([[4, 2, 0]]), np.array([1]), np.array([1, 0, 1, 0, 0]))
    assert found.tolist() == [2]
    assert Recall.of(found) == Recall(0.0, 100.0, 100.0)


def test_what_is_not_found_counts_for_no_recall() -> None:
    """Of four documents, rank 5 would be among the first five."""
    for found in (
        ranks_in_scores(np.zeros((1, 4), np.float32), np.array([1]), np.arange(4)),
        ranks_in_lists(np.array([[3, 2, -1]]), np.array([1]), np.arange(4)),
    ):
        assert found.tolist() == [11]
        assert Recall.of(found) == Recall(0.0, 0.0, 0.0)


def test_as_text() -> None:
    assert str(Recall(1.25, 50.0, 100.0)) == "1.2/50.0/100.0"
    assert Recall(1.25, 50.0, 100.0).total() == 151.25


@pytest.mark.usefixtures("chunked")
def test_both_kinds_of_search(encoder: LexLIPEncoder) -> None:
    texts, images = random_batch(31, 0), random_batch(14, 5)
    generator = np.random.default_rng(2)
    queries, documents = generator.integers(0, 9, 31), generator.integers(0, 9, 14)
    full = similarity_ranks(encoder, texts, images, queries, documents)
    assert full.tolist() == slow(encoder.similarity(texts, images), queries, documents)
    settings = QuantisationSettings(1)
    found = impact_ranks(quantise(texts, settings), quantise(images, settings), queries, documents, 1)
    assert found.tolist() == slow(texts.to_dense() @ images.to_dense().T, queries, documents)
    assert 15 in found.tolist()


def test_recall_of_dense_scores_in_both_directions() -> None:
    scores = np.random.default_rng(1).standard_normal((90, 30)).astype(np.float32)
    owner = np.arange(90) // 3
    to_image, to_text = score_recall(scores, owner)
    ranked = np.argsort(-scores, axis=1, kind="stable").tolist()
    assert astuple(to_image) == pytest.approx(slow_recall(ranked, [{row} for row in owner.tolist()]))
    ranked = np.argsort(-scores.T, axis=1, kind="stable").tolist()
    owned = [set(np.flatnonzero(owner == image).tolist()) for image in range(30)]
    assert astuple(to_text) == pytest.approx(slow_recall(ranked, owned))


def test_recall_of_vectors_and_of_impacts_in_both_directions(encoder: LexLIPEncoder) -> None:
    texts, images, owner = random_batch(60, 0, 50), random_batch(20, 5, 50), np.arange(60) // 3
    scores, rows = encoder.similarity(texts, images), np.arange(20)
    assert similarity_recall(encoder, images, texts, owner) == (
        Recall.of(np.array(slow(scores, owner, rows))),
        Recall.of(np.array(slow(scores.T, rows, owner))),
    )
    products = texts.to_dense() @ images.to_dense().T
    quantised = [quantise(batch, QuantisationSettings(1)) for batch in (images, texts)]
    assert impact_recall(quantised[0], quantised[1], owner, 1) == (
        Recall.of(np.array(slow(products, owner, rows))),
        Recall.of(np.array(slow(products.T, rows, owner))),
    )


def test_folds_by_hand() -> None:
    ranked = RankedQueries(np.array([1, 2, 7, 1]), np.arange(4), np.array([0, 0, 0, 1]))
    assert ranked.recall() == Recall(pytest.approx((100 / 3 + 100) / 2), pytest.approx((200 / 3 + 100) / 2), 100.0)
    assert ranked.mean_rank() == pytest.approx((10 / 3 + 1) / 2)
    assert ranked.median_rank() == pytest.approx(1.5)


def test_folds_are_searched_each_for_itself(encoder: LexLIPEncoder) -> None:
    owner = [0, 0, 1, 2, 3, 3]
    images, texts = random_batch(4, 11, 50), random_batch(6, 21, 50)
    data = CaptionedImages(tuple(Path(f"{i}") for i in range(4)), ("",) * 6, tuple(owner))
    settings = Settings(12, 12, 100.0, folds=2)
    found = evaluate_small_scale(encoder, images, texts, data, settings)
    for fold, (rows, captions) in enumerate([([0, 1], [0, 1, 2]), ([2, 3], [3, 4, 5])]):
        half = CaptionedImages(data.images[:2], ("",) * 3, tuple(owner[c] - 2 * fold for c in captions))
        alone = evaluate_small_scale(encoder, images[rows], texts[captions], half, Settings(12, 12, 100.0))
        for kind in ("full", "impacts"):
            for direction, ranked in getattr(alone, kind).items():
                whole = getattr(found, kind)[direction]
                assert whole.ranks[whole.folds == fold].tolist() == ranked.ranks.tolist()
