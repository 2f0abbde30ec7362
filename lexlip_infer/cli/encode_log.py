"""`lexlip-encode --log-json`: how a run goes and ends, for machines, one JSON object a line on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from lexlip_infer.collection.manifest import PartRecord, RunManifest
from lexlip_infer.collection.part_file import Failure
from lexlip_infer.pipeline.observer import Observer

__all__ = ["JsonLog"]

#: Seconds between two reports of progress.
_PAUSE = 1.0


class JsonLog:
    """Every line has `event`, and `seconds` since the command began; see docs/output.md for the others."""

    def __init__(self) -> None:
        self._began = self._reported = time.monotonic()
        self._started_at = self._began
        self._done_before = 0
        self._total: int | None = None

    def log(self, event: str, **fields: object) -> None:
        """Write one line."""
        seconds = round(time.monotonic() - self._began, 3)
        print(json.dumps({"event": event, "seconds": seconds} | fields), file=sys.stderr, flush=True)

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        """This log as an observer."""
        yield self

    def started(self, done: int, failed: int, total: int | None) -> None:
        """See `Observer`."""
        self._started_at = self._reported = time.monotonic()
        self._done_before, self._total = done, total
        self.log("start", done=done, failed=failed, total=total)

    def advanced(self, done: int, failed: int) -> None:
        """See `Observer`; at most once a second, and at the end."""
        now = time.monotonic()
        if now - self._reported < _PAUSE and done != self._total:
            return
        self._reported = now
        rate = (done - self._done_before) / max(now - self._started_at, 1e-9)
        eta = None if self._total is None else round((self._total - done) / rate, 1)
        self.log("progress", done=done, failed=failed, total=self._total, per_second=round(rate, 2), eta_seconds=eta)

    def failure(self, failure: Failure) -> None:
        """See `Observer`."""
        self.log("failure", **asdict(failure))

    def truncated(self, note: Failure) -> None:
        """See `Observer`."""
        self.log("truncated", **asdict(note))

    def shard(self, record: PartRecord) -> None:
        """See `Observer`."""
        self.log("shard", **record.model_dump())

    def finished(self, manifest: RunManifest, passed_over: str) -> None:
        """An output folder is complete."""
        timings = None if manifest.timings is None else manifest.timings.model_dump()
        counts = {"documents": manifest.documents, "failed": manifest.failed, "truncated": manifest.truncated}
        self.log("done", **counts, parts=len(manifest.shards), passed_over=passed_over, timings=timings)

    def streamed(self, failed: int, passed_over: str) -> None:
        """Standard output has everything."""
        self.log("done", failed=failed, passed_over=passed_over)

    def interrupted(self) -> None:
        """Ctrl-C."""
        self.log("interrupted")

    def refused(self, message: str) -> None:
        """An error that ends the run."""
        self.log("error", message=message)
