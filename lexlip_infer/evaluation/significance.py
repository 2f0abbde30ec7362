"""How sure a figure is, and whether two systems differ: bootstrap intervals and a paired randomisation test.

The captions of one photograph are not independent, so that photographs (clusters), not queries, are drawn and flipped.
Intervals are percentiles of the bootstrap (Efron and Tibshirani, 1993, chapter 13). The test is Fisher's randomisation
test as Smucker, Allan and Carterette (CIKM 2007) recommend it: under the null hypothesis the names of the two systems
can be swapped in every cluster; p is the share of swaps whose difference is at least as large, the observed one counted
(two-sided). Values are of one query each, a measure is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError

Floats = npt.NDArray[np.float64]
Clusters = npt.NDArray[np.int64]
#: Low and high end.
Interval = tuple[float, float]

RESAMPLES = 10_000
SEED = 0

#: Drawn clusters held at a time.
_DRAWN = 2**21

#: Sums of the same numbers in another order differ by rounding, and still are as large as the observed one.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems under one measure.

    Attributes:
        first: mean of the first system.
        second: mean of the second.
        difference: second less first.
        interval: of the difference.
        p_value: of the randomisation test, two-sided, not corrected for the number of measures.
    """

    first: float
    second: float
    difference: float
    interval: Interval
    p_value: float


def bootstrap_interval(
    values: Floats, clusters: Clusters, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Percentile interval of the mean of `values` (Q,).

    Args:
        values: one a query.
        clusters: (Q,), equal numbers belong together.
        confidence: share of resampled means inside.
        resamples: number of draws.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        InputError: there are no values, or a setting is out of range.
    """
    sums, counts = _per_cluster(values, clusters)
    _check(confidence, resamples)
    generator = np.random.default_rng(seed)
    means = []
    for size in _chunks(resamples, len(sums)):
        drawn = generator.integers(0, len(sums), (size, len(sums)), dtype=np.int32)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)


def compare_paired(
    first: Floats,
    second: Floats,
    clusters: Clusters,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare two systems on the same queries.

    Args:
        first: (Q,), of the first system.
        second: (Q,), of the second.
        clusters: (Q,), equal numbers belong together.
        confidence: of the interval of the difference.
        resamples: draws of the bootstrap, and swaps of the test.
        seed: of both.

    Raises:
        InputError: there are no values, or a setting is out of range.
    """
    differences = second - first
    interval = bootstrap_interval(differences, clusters, confidence, resamples, seed)
    p_value = _randomisation_test(_per_cluster(differences, clusters)[0], resamples, seed)
    return Comparison(float(first.mean()), float(second.mean()), float(differences.mean()), interval, p_value)


def _randomisation_test(sums: Floats, resamples: int, seed: int) -> float:
    """Of the summed differences of clusters (C,): the number of queries does not change under swaps."""
    generator = np.random.default_rng(seed)
    observed = abs(sums.sum()) - _ROUNDING
    as_large = 0
    for size in _chunks(resamples, len(sums)):
        signs = generator.integers(0, 2, (size, len(sums)), dtype=np.int8).astype(np.float64) * 2 - 1
        as_large += int((np.abs(signs @ sums) >= observed).sum())
    return (as_large + 1) / (resamples + 1)


def _per_cluster(values: Floats, clusters: Clusters) -> tuple[Floats, Floats]:
    """Sum and number of the values of each cluster."""
    if len(values) == 0:
        raise InputError("there are no queries to compute statistics of")
    _, rows = np.unique(clusters, return_inverse=True)
    return np.bincount(rows, values).astype(np.float64), np.bincount(rows).astype(np.float64)


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95")
    if resamples < 1:
        raise InputError(f"the number of resamples is {resamples}; expected at least 1")


def _chunks(resamples: int, clusters: int) -> list[int]:
    size = max(1, _DRAWN // clusters)
    return [min(size, resamples - start) for start in range(0, resamples, size)]
