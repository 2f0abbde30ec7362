"""Every figure of the report against a computation of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lexlip_export.precision.comparison import Comparison, Encoding, encode, kept_terms, retrieval_figures
from lexlip_export.precision.report import TowerFigures
from lexlip_infer import SparseBatch
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.impacts import QuantisationSettings
from lexlip_training import LexLIP

TOP_K = 5


def random_encoding(seed: int, rows: int = 4) -> Encoding:
    generator = torch.Generator().manual_seed(seed)
    return Encoding(torch.randn(rows, 3, 6, generator=generator), 2 * torch.randn(rows, 20, generator=generator) - 1)


def compare(pairs: list[tuple[Encoding, Encoding]], masks: list[torch.Tensor | None]) -> TowerFigures:
    comparison = Comparison(TOP_K)
    for (reference, candidate), mask in zip(pairs, masks, strict=True):
        comparison.add(reference, kept_terms(reference, TOP_K), candidate, mask)
    return comparison.figures()


def test_errors_and_overlap_over_several_batches() -> None:
    pairs = [(random_encoding(0), random_encoding(1)), (random_encoding(2, rows=2), random_encoding(3, rows=2))]
    figures = compare(pairs, [None, None])
    hidden, other = (np.concatenate([pair[i].hidden.numpy() for pair in pairs]) for i in (0, 1))
    assert figures.rows == 6
    assert figures.hidden.max == pytest.approx(np.abs(hidden - other).max())
    assert figures.hidden.mean == pytest.approx(np.abs(hidden - other).mean(), rel=1e-5)
    assert figures.hidden.relative_mean == pytest.approx(
        np.abs(hidden - other).mean() / np.abs(hidden).mean(), rel=1e-5
    )
    logits, others = (np.concatenate([pair[i].pooled.numpy() for pair in pairs]) for i in (0, 1))
    weights, other_weights = (np.log1p(np.maximum(x, 0)) for x in (logits, others))
    used = (weights > 0) | (other_weights > 0)
    assert figures.weights.max == pytest.approx(np.abs(weights - other_weights).max())
    assert figures.weights.mean == pytest.approx(np.abs(weights - other_weights)[used].mean(), rel=1e-5)
    assert figures.weights.magnitude == pytest.approx(weights[used].mean(), rel=1e-5)
    shares = []
    for row, other_row in zip(weights, other_weights, strict=True):
        kept, other_kept = (set(np.argsort(-x)[:TOP_K]) & set(np.flatnonzero(x)) for x in (row, other_row))
        shares.append(len(kept & other_kept) / max(len(kept), len(other_kept)))
    assert figures.overlap == pytest.approx(np.mean(shares))
    assert figures.overlap_min == pytest.approx(min(shares))


def test_padding_is_not_compared() -> None:
    reference, candidate = random_encoding(0), random_encoding(0)
    candidate.hidden[0, 2] += 100
    mask = torch.ones(4, 3, dtype=torch.int64)
    assert compare([(reference, candidate)], [mask]).hidden.max == pytest.approx(100)
    mask[0, 2] = 0
    assert compare([(reference, candidate)], [mask]).hidden.max == 0


def test_the_same_is_the_same() -> None:
    figures = compare([(random_encoding(0), random_encoding(0))], [None])
    assert (figures.hidden.max, figures.hidden.mean, figures.weights.max, figures.overlap) == (0, 0, 0, 1)


def test_empty_vectors_agree_and_differ() -> None:
    empty, full = random_encoding(0), random_encoding(0)
    empty.pooled.fill_(-1.0)
    assert compare([(empty, empty)], [None]).overlap == 1
    assert compare([(empty, full)], [None]).overlap == 0


def test_not_a_number_stays_in_the_figures() -> None:
    reference, candidate = random_encoding(0), random_encoding(0)
    candidate.hidden[1, 1, 1] = torch.nan
    figures = compare([(reference, candidate), (random_encoding(1), random_encoding(1))], [None, None])
    assert np.isnan(figures.hidden.max)
    assert np.isnan(figures.hidden.mean)


def test_encode_is_the_model(random_model: LexLIP) -> None:
    ids = torch.randint(1, 100, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, 3:] = 0
    encoding = encode(random_model, "text", {"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        expected = random_model.text_weights(ids, mask)
    torch.testing.assert_close(torch.log1p(encoding.pooled.relu()), expected)


def impacts(batch: SparseBatch) -> np.ndarray:
    dense = batch.to_dense().astype(np.float64)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    return np.where(dense > 0, np.clip(np.rint(100 * dense), 1, 255), 0)


def test_retrieval_against_brute_force() -> None:
    """40 documents, so that a list of ten says something; two captions each."""
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(40), 2)
    images = generator.random((40, 30)) * (generator.random((40, 30)) < 0.5)
    texts = images[owner] * (generator.random((80, 30)) < 0.4) + 0.01 * (np.arange(30) == 0)
    images[:, 0] += 0.01

    def batch(values: np.ndarray) -> SparseBatch:
        ids = np.argsort(-values, axis=1)
        weights = np.take_along_axis(values, ids, axis=1)
        return SparseBatch.from_ranked(np.where(weights > 0, ids, -1), weights.astype(np.float32), 30)

    def noisy(values: np.ndarray) -> np.ndarray:
        return values * np.exp(0.8 * generator.standard_normal(values.shape))

    reference = {"image": batch(images), "text": batch(texts)}
    candidate = {"image": batch(noisy(images)), "text": batch(noisy(texts))}
    data = CaptionedImages(tuple(Path(f"{i}") for i in range(40)), ("",) * 80, tuple(owner.tolist()))
    figures = retrieval_figures(reference, candidate, data, QuantisationSettings(100.0, 255, normalise=True))
    sides = [impacts(side["text"]) @ impacts(side["image"]).T for side in (reference, candidate)]
    for direction, scores, relevant in (
        (figures.text_to_image, sides, [{row} for row in owner]),
        (figures.image_to_text, [s.T for s in sides], [{2 * i, 2 * i + 1} for i in range(40)]),
    ):
        lists = [np.argsort(-s, axis=1, kind="stable")[:, :10] for s in scores]
        for found, ranked in zip((direction.reference, direction.candidate), lists, strict=True):
            expected = [
                100 * np.mean([bool(set(row[:k]) & good) for row, good in zip(ranked, relevant, strict=True)])
                for k in (1, 5, 10)
            ]
            assert found == pytest.approx(tuple(expected))
        agreement = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*lists, strict=True)])
        assert direction.agreement == pytest.approx(agreement)
        assert direction.same_first == pytest.approx(np.mean(lists[0][:, 0] == lists[1][:, 0]))
        assert direction.loss == pytest.approx(max(0, np.mean(direction.reference) - np.mean(direction.candidate)))
        assert agreement < 1
