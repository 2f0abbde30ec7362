"""Medians with intervals, and whether two measurements differ.

Timings of one process resemble each other more than those of two, so the bootstrap draws processes (rounds) first and
batches within them after that: T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

__all__ = ["Interval", "Verdict", "compare_rounds", "median_interval"]

_DRAWS = 2000
#: Rounds below which no interval means anything.
_FEWEST = 3

Rounds = Sequence[Sequence[float]]
Verdict = Literal["faster", "slower", "no difference shown"]


class Interval(BaseModel):
    """A median and the bounds between which it lies with 95 % confidence."""

    model_config = ConfigDict(frozen=True)

    median: float
    low: float
    high: float


def median_interval(rounds: Rounds) -> Interval:
    """Of everything in all rounds; with a single round, of what is in it."""
    draws = _draws(rounds, 0)
    median = float(np.median(np.concatenate([np.asarray(each) for each in rounds])))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(median=median, low=min(float(low), median), high=max(float(high), median))


def compare_rounds(before: Rounds, after: Rounds) -> tuple[Interval, Verdict]:
    """How many times as fast `after` is, of seconds per item, with its 95 % interval.

    Returns:
        The ratio, and what may be said: a difference is shown where 1 lies outside the interval and both sides have at
        least three rounds.
    """
    ratios = _draws(before, 0) / _draws(after, 1)
    point = median_interval(before).median / median_interval(after).median
    low, high = (float(bound) for bound in np.quantile(ratios, [0.025, 0.975]))
    ratio = Interval(median=point, low=min(low, point), high=max(high, point))
    if min(len(before), len(after)) < _FEWEST or ratio.low <= 1 <= ratio.high:
        return ratio, "no difference shown"
    return ratio, "faster" if ratio.low > 1 else "slower"


def _draws(rounds: Rounds, seed: int) -> npt.NDArray[np.float64]:
    """Medians of rounds drawn with replacement, and of what is drawn within them."""
    random = np.random.default_rng(seed)
    arrays = [np.asarray(each, np.float64) for each in rounds]
    medians = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        chosen = [arrays[number] for number in random.integers(0, len(arrays), len(arrays))]
        medians[draw] = np.median(np.concatenate([each[random.integers(0, len(each), len(each))] for each in chosen]))
    return medians
