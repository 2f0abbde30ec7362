"""How long an opened engine takes: one query at a time, and many in one call, on one thread and on several.

Queries are encoded beforehand; what is timed is the search alone, to the ids and scores that a caller gets. A pass
ends when all its queries were asked or its time is up, so that slow engines are timed on fewer; how many is recorded.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lexlip_infer.evaluation.ranks import CUTOFFS
from lexlip_infer.search.engine import Ranking, SearchEngine
from lexlip_kernels import ImpactMatrix

__all__ = ["DEPTH", "Queries", "measure", "rank_all"]

#: Results of a query.
DEPTH = CUTOFFS[-1]

#: Queries of one call where many are asked at once.
BATCH = 100

#: Share of a pass's time that is spent unmeasured before it: Java compiles what runs often, files come into memory.
_WARM_UP = 0.25

Queries = ImpactMatrix | npt.NDArray[np.float32] | Sequence[str]
Engine = SearchEngine[Any]
T = TypeVar("T")


def measure(engine: Engine, queries: Queries, threads: int, limit: int, seconds: float) -> dict[str, dict[str, float]]:
    """Time an engine at one thread and at `threads`.

    Args:
        engine: opened.
        queries: at least one.
        threads: of the second half; 1 leaves it out.
        limit: queries of a pass, at most.
        seconds: time of a pass, at most.

    Returns:
        For "1" and for the number of threads: `qps` and `batch_queries` (many queries in one call), `single_qps`,
        `p50_ms`, `p95_ms`, `p99_ms` and `single_queries` (one query a call), and `cores`, the processor time over the
        time by the clock while many were asked, all threads of the process together.
    """
    count = min(limit, len(queries))
    batches = [queries[first : first + BATCH] for first in range(0, count, BATCH)]
    single = [queries[row : row + 1] for row in range(count)]
    return {
        str(number): _batches(engine, batches, number, seconds) | _single(engine, single, number, seconds)
        for number in sorted({1, threads})
    }


def rank_all(engine: Engine, queries: Queries, threads: int) -> Ranking:
    """The ten best documents of every query."""
    return engine.search(queries, DEPTH, threads)


def _batches(engine: Engine, batches: Sequence[Queries], threads: int, seconds: float) -> dict[str, float]:
    def ask(queries: Queries) -> int:
        return len(engine.search(queries, DEPTH, threads).ids)

    _warm_up(_WARM_UP * seconds, batches, ask)
    processor = time.process_time()
    asked = list(_timed(seconds, batches, ask))
    processor = time.process_time() - processor
    queries, elapsed = sum(number for number, _ in asked), sum(taken for _, taken in asked)
    return {"qps": queries / elapsed, "batch_queries": queries, "cores": processor / elapsed}


def _single(engine: Engine, single: Sequence[Queries], threads: int, seconds: float) -> dict[str, float]:
    def ask(query: Queries) -> Ranking:
        return engine.search(query, DEPTH, threads)

    _warm_up(_WARM_UP * seconds, single, ask)
    taken = np.array([elapsed for _, elapsed in _timed(seconds, single, ask)])
    p50, p95, p99 = np.percentile(taken * 1e3, (50, 95, 99)).tolist()
    rate = len(taken) / float(taken.sum())
    return {"single_qps": rate, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "single_queries": len(taken)}


def _timed(seconds: float, items: Sequence[Queries], ask: Callable[[Queries], T]) -> Iterator[tuple[T, float]]:
    """Answer and time of each, the first one at least, until the time is up."""
    end = time.perf_counter() + seconds
    for item in items:
        start = time.perf_counter()
        answer = ask(item)
        now = time.perf_counter()
        yield answer, now - start
        if now >= end:
            return


def _warm_up(seconds: float, items: Sequence[Queries], ask: Callable[[Queries], object]) -> None:
    end = time.perf_counter() + seconds
    for item in itertools.cycle(items):
        ask(item)
        if time.perf_counter() >= end:
            return
