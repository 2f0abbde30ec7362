"""One step of one system in a process of its own, so that its time and its memory are its own.

    python -m lexlip_infer.bench.large_scale.worker build|search FOLDER SYSTEM

SYSTEM is its description in JSON. The last line of standard output is what was found, as JSON. Status 2: one line on
standard error says why not.

An opened engine is asked one query at a time, and many in one call, on one thread and on several. Queries are encoded
beforehand; what is timed is the search alone, to the ids and scores that a caller gets. A pass ends when all its
queries were asked or its time is up, so that slow engines are timed on fewer; how many is recorded.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bench.large_scale.engines import build, index_bytes, load_queries, open_engine
from lexlip_infer.bench.large_scale.files import JOURNAL, ExperimentFiles, Facts, Record, write_ranking
from lexlip_infer.bench.large_scale.settings import Settings, System
from lexlip_infer.bench.machine import children_peak, memory
from lexlip_infer.errors import LexLIPError
from lexlip_infer.search.engine import SearchEngine
from lexlip_kernels import ImpactMatrix

#: Results of a query: as far as recall looks. What evaluates is not imported here, where memory is measured.
DEPTH = 10

#: Queries of one call where many are asked at once.
BATCH = 100

#: Share of a pass's time that is spent unmeasured before it: Java compiles what runs often, files come into memory.
_WARM_UP = 0.25

Queries = ImpactMatrix | npt.NDArray[np.float32] | Sequence[str]
Engine = SearchEngine[Any]


def measure(
    engine: Engine,
    queries: Queries,
    threads: int,
    limit: int,
    seconds: float,
    now: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, float]]:
    """Time an engine at one thread and at `threads`.

    Args:
        engine: opened.
        queries: at least one.
        threads: of the second half; 1 leaves it out.
        limit: queries of a pass, at most.
        seconds: time of a pass, at most.
        now: tells the time, in seconds.

    Returns:
        For "1" and for the number of threads: `qps` and `batch_queries` (many queries in one call), `single_qps`,
        `p50_ms`, `p95_ms`, `p99_ms` and `single_queries` (one query a call), and `cores`, the processor time over the
        time by the clock while many were asked, all threads of the process together.
    """
    count = min(limit, len(queries))
    batches = [queries[first : min(first + BATCH, count)] for first in range(0, count, BATCH)]
    single = [queries[row : row + 1] for row in range(count)]
    return {
        str(number): _batches(_Pass(engine, number, seconds, now), batches)
        | _single(_Pass(engine, number, seconds, now), single)
        for number in sorted({1, threads})
    }


class _Pass:
    """An engine that is asked for some seconds."""

    def __init__(self, engine: Engine, threads: int, seconds: float, now: Callable[[], float]) -> None:
        self._engine, self._threads, self._seconds, self._now = engine, threads, seconds, now

    def warm_up(self, items: Sequence[Queries]) -> None:
        deque(self._asked(itertools.cycle(items), _WARM_UP * self._seconds), maxlen=0)

    def run(self, items: Sequence[Queries]) -> list[tuple[int, float]]:
        """Queries and seconds of each call."""
        return list(self._asked(items, self._seconds))

    def _asked(self, items: Iterable[Queries], seconds: float) -> Iterator[tuple[int, float]]:
        """The first one at least, until the time is up."""
        end = self._now() + seconds
        for item in items:
            start = self._now()
            found = self._engine.search(item, DEPTH, self._threads)
            stop = self._now()
            yield len(found.ids), stop - start
            if stop >= end:
                return


def _batches(timed: _Pass, batches: Sequence[Queries]) -> dict[str, float]:
    timed.warm_up(batches)
    processor = time.process_time()
    asked = timed.run(batches)
    processor = time.process_time() - processor
    queries, elapsed = sum(number for number, _ in asked), sum(taken for _, taken in asked)
    return {"qps": queries / elapsed, "batch_queries": queries, "cores": processor / elapsed}


def _single(timed: _Pass, single: Sequence[Queries]) -> dict[str, float]:
    timed.warm_up(single)
    taken = np.array([elapsed for _, elapsed in timed.run(single)])
    p50, p95, p99 = np.percentile(taken * 1e3, (50, 95, 99)).tolist()
    rate = len(taken) / float(taken.sum())
    return {"single_qps": rate, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "single_queries": len(taken)}


def _build(system: System, files: ExperimentFiles, settings: Settings) -> Facts:
    """Build time by the clock, and the largest memory of this process or of the one that it started."""
    index = files.index(system.name)
    shutil.rmtree(index, ignore_errors=True)  # of a run that was killed
    start = time.perf_counter()
    build(system, files, settings.threads)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": max(memory()["peak"], children_peak())}


def _search(system: System, files: ExperimentFiles, settings: Settings) -> Facts:
    """Open, time, and at the end rank all queries, unless that was done in an earlier round."""
    queries = load_queries(system, files)
    before = memory()
    start = time.perf_counter()
    engine = open_engine(system, files)
    opened = time.perf_counter() - start
    after = memory()
    timings = measure(engine, queries, settings.threads, settings.timed_queries, settings.seconds)
    found = {"before_open": before, "after_open": after, "after_search": memory()}
    if not files.ranking(system.name).exists():
        write_ranking(files.ranking(system.name), engine.search(queries, DEPTH, settings.threads))
    return {"open_seconds": opened, "bytes": index_bytes(system, files, engine), "memory": found, "threads": timings}


def main() -> None:
    """Do the step that the command line names."""
    what, folder, described = sys.argv[1:]
    files = ExperimentFiles(Path(folder))
    system = System.model_validate_json(described)
    settings = Record.model_validate_json((files.root / JOURNAL).read_bytes()).settings
    try:
        found = (_build if what == "build" else _search)(system, files, settings)
    except LexLIPError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
