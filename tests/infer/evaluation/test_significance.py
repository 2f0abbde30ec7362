"""Intervals and tests against scipy, and against what can be counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.significance import bootstrap_interval, compare_paired


def test_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).exponential(size=80)
    reference = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    found = bootstrap_interval(values, np.arange(80), resamples=20_000)
    width = reference.confidence_interval.high - reference.confidence_interval.low
    assert found == pytest.approx(tuple(reference.confidence_interval), abs=0.03 * width)


def test_interval_by_hand() -> None:
    """Two clusters of unequal size: the four equally likely draws have means 0, 0.75, 0.75 and 1."""
    values, clusters = np.array([0.0, 1.0, 1.0, 1.0]), np.array([7, 2, 2, 2])
    assert bootstrap_interval(values, clusters, confidence=0.4) == (0.75, 0.75)
    assert bootstrap_interval(values, clusters, confidence=0.9) == (0.0, 1.0)


def test_queries_of_a_cluster_are_drawn_together() -> None:
    """Five copies of every value tell no more than one, but look like it where clusters are ignored."""
    values = np.random.default_rng(0).random(40)
    alone = bootstrap_interval(values, np.arange(40))
    copies, owner = np.repeat(values, 5), np.repeat(np.arange(40), 5)
    assert bootstrap_interval(copies, owner) == pytest.approx(alone)
    low, high = bootstrap_interval(copies, np.arange(200))
    assert high - low < 0.6 * (alone[1] - alone[0])


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_p_agrees_with_scipy(shift: float) -> None:
    generator = np.random.default_rng(5)
    first, second = generator.random(14), generator.random(14) + shift
    reference = scipy.stats.permutation_test(
        (second, first), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    found = compare_paired(first, second, np.arange(14), resamples=40_000)
    assert found.p_value == pytest.approx(reference.pvalue, abs=0.01)
    assert found.difference == pytest.approx(np.mean(second) - np.mean(first))
    assert (found.first, found.second) == (np.mean(first), np.mean(second))


def test_p_of_clusters_by_hand() -> None:
    """All sixteen ways of swapping four clusters, counted."""
    differences, clusters = np.array([1.0, 1.0, 0.0, 1.0, -1.0, 1.0]), np.array([0, 0, 1, 2, 2, 3])
    sums = [2.0, 0.0, 0.0, 1.0]
    swaps = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=4)]
    expected = np.mean([swap >= 3 for swap in swaps])
    assert expected == 0.5
    found = compare_paired(np.zeros(6), differences, clusters, resamples=40_000)
    assert found.p_value == pytest.approx(expected, abs=0.01)


def test_equal_systems_do_not_differ() -> None:
    values = np.random.default_rng(0).random(30)
    found = compare_paired(values, values, np.arange(30), resamples=200)
    assert (found.difference, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_the_same_seed_gives_the_same_figures() -> None:
    values = np.random.default_rng(0).random((2, 50))
    runs = [compare_paired(*values, np.arange(50) // 2, resamples=300, seed=seed) for seed in (4, 4, 5)]
    assert runs[0] == runs[1] != runs[2]


def test_refused() -> None:
    with pytest.raises(InputError, match="no queries"):
        bootstrap_interval(np.zeros(0), np.zeros(0, np.int64))
    for confidence in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="expected a number between 0 and 1"):
            bootstrap_interval(np.ones(3), np.arange(3), confidence)
    with pytest.raises(InputError, match="expected at least 1"):
        bootstrap_interval(np.ones(3), np.arange(3), resamples=0)
