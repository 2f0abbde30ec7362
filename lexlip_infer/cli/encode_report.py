"""How a run of `lexlip-encode` shows itself: to people a bar and a few lines at the end, to machines lines of JSON.

With `--log-json` every event is one JSON object a line on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lexlip_infer.cli.shell import INTERRUPTED, counted, one_line
from lexlip_infer.collection.manifest import FAILURES, MANIFEST, TRUNCATED, VECTORS, PartRecord, RunManifest
from lexlip_infer.collection.part_file import Failure
from lexlip_infer.errors import LexLIPError
from lexlip_infer.impacts import MOST_LIFTED
from lexlip_infer.pipeline.encode import Encoded
from lexlip_infer.pipeline.progress import Observer

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two reports of progress.
_PAUSE = 1.0


class JsonLog(Observer):
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

    def finished(self, encoded: Encoded) -> None:
        """The output folder, or standard output, has everything."""
        counts: dict[str, object] = {"failed": encoded.failed}
        more: dict[str, object] = {}
        if encoded.texts_cut:
            counts["texts_cut"] = encoded.texts_cut
        if encoded.lifted_share:
            counts["lifted_share"] = round(encoded.lifted_share, 4)
        if (manifest := encoded.manifest) is not None:
            counts = {"documents": manifest.documents} | counts | {"truncated": manifest.truncated}
            timings = None if manifest.timings is None else manifest.timings.model_dump()
            counts, more = counts | {"parts": len(manifest.shards)}, {"timings": timings}
        self.log("done", **counts, passed_over=encoded.passed_over, **more)

    def interrupted(self) -> None:
        """Ctrl-C."""
        self.log("interrupted")

    def refused(self, message: str) -> None:
        """An error that ends the run."""
        self.log("error", message=message)


#: Standard output by name.
STREAM = Path("-")


@contextmanager
def reporting(log_json: bool, output: Path, what: str) -> Iterator[JsonLog | TextReport]:
    """A report to people or machines on what the block does, and the status with which the command ends.

    Args:
        log_json: for machines.
        output: folder, or `STREAM`.
        what: is encoded, in the plural.
    """
    report = JsonLog() if log_json else TextReport(output, what)
    try:
        yield report
    except KeyboardInterrupt:
        report.interrupted()
        raise typer.Exit(INTERRUPTED) from None
    except LexLIPError as error:
        if not isinstance(report, JsonLog) or os.environ.get("LEXLIP_DEBUG"):
            raise
        report.refused(one_line(error))
        raise typer.Exit(2) from None


class TextReport:
    """For people."""

    def __init__(self, output: Path, what: str) -> None:
        self._output = output
        self._what = what

    @contextmanager
    def watching(self) -> Iterator[Observer]:
        """A bar on a terminal, nothing elsewhere; failures as they come where no file will list them."""
        if self._output == STREAM:
            yield _FailureLines()
        elif sys.stderr.isatty():
            bar = _bar()
            try:
                yield _BarObserver(bar, self._what)
            finally:
                if bar.tasks:
                    bar.stop()
        else:
            yield Observer()

    def finished(self, encoded: Encoded) -> None:
        """The output folder, or standard output, has everything."""
        if encoded.manifest is not None:
            _say(self._written(encoded.manifest))
        _say(encoded.passed_over)
        if encoded.manifest is not None:
            self._say_what_is_special(encoded.manifest)
        if encoded.texts_cut:
            texts = counted(encoded.texts_cut, "text was", "texts were")
            _say(f"{texts} longer than the model takes, and cut: words beyond its maximal length are not in the vector")
        if encoded.lifted_share > MOST_LIFTED:
            _say(
                f"warning: {encoded.lifted_share:.0%} of the kept terms have weights that the scale makes less than 1, "
                "and were lifted to 1: give a larger --quant-scale, which lexlip calibrate finds"
            )
        if encoded.failed:
            listed = "" if encoded.manifest is None else f", listed in {self._output / FAILURES}"
            _say(f"{encoded.failed:,} failed{listed}")

    def _written(self, manifest: RunManifest) -> str:
        documents = counted(manifest.documents, self._what.removesuffix("s"))
        size = sum(part.size for part in manifest.shards) / 1e6
        return f"{documents} in {counted(len(manifest.shards), 'part file')}, {size:.1f} MB: {self._output / VECTORS}"

    def _say_what_is_special(self, manifest: RunManifest) -> None:
        if empty := sum(part.empty for part in manifest.shards):
            _say(f"{empty:,} had no positive term and got the placeholder term")
        if manifest.truncated:
            _say(f"{manifest.truncated:,} break off and were accepted, listed in {self._output / TRUNCATED}")

    def interrupted(self) -> None:
        """Ctrl-C."""
        continues = (self._output / MANIFEST).exists()
        _say(f"interrupted; the same command continues {self._output} where it stopped" if continues else "interrupted")


class _FailureLines(Observer):
    """Lines as they would stand in failures.jsonl and truncated.jsonl."""

    def failure(self, failure: Failure) -> None:
        """See `Observer`."""
        _say(failure.line())

    def truncated(self, note: Failure) -> None:
        """See `Observer`."""
        _say(note.line())


def _say(line: str) -> None:
    if line:
        typer.echo(line, err=True)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate, problems = TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[problems]}")
    return Progress(
        BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), problems, console=Console(stderr=True)
    )


class _BarObserver(Observer):
    def __init__(self, bar: Progress, what: str) -> None:
        self._bar = bar
        self._what = what

    def started(self, done: int, failed: int, total: int | None) -> None:
        # What earlier runs did does not count for the speed of this one.
        self._bar.start()
        self._task = self._bar.add_task(self._what, total=total, completed=done, rate="", problems="")
        self.advanced(done, failed)

    def advanced(self, done: int, failed: int) -> None:
        speed = self._bar.tasks[0].speed
        rate = f"{speed:.1f} {self._what}/s" if speed else ""
        problems = f"{failed:,} failed" if failed else ""
        self._bar.update(self._task, completed=done, rate=rate, problems=problems)
