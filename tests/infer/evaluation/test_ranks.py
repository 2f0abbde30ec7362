"""Ranks against sorted lists, chunk by chunk or all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.evaluation.ranks import impact_ranks, rank_of_best, recall_of, similarity_ranks
from lexlip_infer.evaluation.recall import Recall, rank_rows, recall
from lexlip_infer.evaluation.small_scale import RankedQueries, Settings, evaluate_small_scale
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.search import ranks


def slow(
    scores: npt.NDArray[np.floating], queries: npt.NDArray[np.int64], documents: npt.NDArray[np.int64]
) -> list[int]:
    found = []
    for row, label in zip(scores.tolist(), queries, strict=True):
        order = sorted((i for i in range(len(row)) if row[i] > 0), key=lambda i: (-row[i], i))
        places = [place for place, i in enumerate(order, start=1) if documents[i] == label]
        found.append(min(places, default=len(row) + 1))
    return found


def random_batch(rows: int, seed: int, levels: int = 3) -> SparseBatch:
    dense = np.random.default_rng(seed).integers(0, levels + 1, (rows, 12)) * (
        np.random.default_rng(seed + 1).random((rows, 12)) < 0.3
    )
    row, column = dense.nonzero()
    indptr = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    return SparseBatch(indptr, column.astype(np.int32), dense[row, column].astype(np.float32), 12)


@pytest.fixture(scope="module")
def encoder(bundle_folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(bundle_folder, threads=1)


@pytest.fixture(params=[1, 70, 2**23])
def chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_SCORES", request.param)


@pytest.mark.parametrize("levels", [1, 3, 100])
def test_rank_of_best(levels: int) -> None:
    generator = np.random.default_rng(levels)
    scores = generator.integers(0, levels + 1, (40, 17)).astype(np.float32)
    queries, documents = generator.integers(0, 6, 40), generator.integers(0, 5, 17)
    assert rank_of_best(scores, queries, documents).tolist() == slow(scores, queries, documents)


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


def test_recall_is_that_of_ranked_lists() -> None:
    scores = np.random.default_rng(1).random((200, 30)).astype(np.float32)
    relevant = np.arange(200) % 30
    expected = recall(rank_rows(scores), [[row] for row in relevant])
    assert recall_of(rank_of_best(scores, relevant, np.arange(30))) == expected


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
