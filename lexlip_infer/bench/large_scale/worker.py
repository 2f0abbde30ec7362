"""One step of one system in a process of its own, so that its time and its memory are its own.

    python -m lexlip_infer.bench.large_scale.worker build|search FOLDER SYSTEM

SYSTEM is its description in JSON. The last line of standard output is what was found, as JSON. Status 2: one line on
standard error says why not.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from lexlip_infer.bench.large_scale.engines import build, load_queries, open_engine
from lexlip_infer.bench.large_scale.files import ExperimentFiles, write_ranking
from lexlip_infer.bench.large_scale.journal import JOURNAL, Record
from lexlip_infer.bench.large_scale.measuring import measure, rank_all
from lexlip_infer.bench.large_scale.settings import Settings, System
from lexlip_infer.bench.machine import children_peak, memory
from lexlip_infer.errors import LexLIPError

__all__ = ["main"]

Facts = dict[str, Any]


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
        write_ranking(files.ranking(system.name), rank_all(engine, queries, settings.threads))
    return {"open_seconds": opened, "bytes": engine.bytes_on_disk, "memory": found, "threads": timings}


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
