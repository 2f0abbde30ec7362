"""How a run of `lexlip-encode` shows itself to people: a bar on a terminal, and a few lines at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from lexlip_infer.cli.encode_log import JsonLog
from lexlip_infer.cli.interrupts import INTERRUPTED
from lexlip_infer.cli.shell import counted, one_line
from lexlip_infer.collection.manifest import RunManifest
from lexlip_infer.collection.part_file import Failure
from lexlip_infer.errors import LexLIPError
from lexlip_infer.pipeline.observer import Observer, Silent

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["STREAM", "Report", "reporting"]

#: Standard output by name.
STREAM = Path("-")


class Report(Protocol):
    """Told how a command goes."""

    def watching(self) -> AbstractContextManager[Observer]:
        """Entered while a run goes on, which is told of it."""
        ...

    def finished(self, manifest: RunManifest, passed_over: str) -> None:
        """An output folder is complete."""
        ...

    def streamed(self, failed: int, passed_over: str) -> None:
        """Standard output has everything."""
        ...


@contextmanager
def reporting(log_json: bool, output: Path, what: str) -> Iterator[Report]:
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
            yield FailureLines()
        elif sys.stderr.isatty():
            with _bar() as bar:
                yield _BarObserver(bar, self._what)
        else:
            yield Silent()

    def finished(self, manifest: RunManifest, passed_over: str) -> None:
        """An output folder is complete."""
        size, parts = sum(shard.size for shard in manifest.shards), len(manifest.shards)
        _say(
            f"{counted(manifest.documents, self._what.removesuffix('s'))} in {counted(parts, 'part file')}, "
            f"{size / 1e6:.1f} MB: "
            f"{self._output / 'vectors'}"
        )
        _say(passed_over)
        if empty := sum(shard.empty for shard in manifest.shards):
            _say(f"{empty:,} had no positive term and got the placeholder term")
        if manifest.truncated:
            _say(f"{manifest.truncated:,} break off and were accepted, listed in {self._output / 'truncated.jsonl'}")
        if manifest.failed:
            _say(f"{manifest.failed:,} failed, listed in {self._output / 'failures.jsonl'}")

    def streamed(self, failed: int, passed_over: str) -> None:
        """Standard output has everything."""
        _say(passed_over)
        if failed:
            _say(f"{failed:,} failed")

    def interrupted(self) -> None:
        """Ctrl-C."""
        continues = (self._output / "manifest.json").exists()
        _say(f"interrupted; the same command continues {self._output} where it stopped" if continues else "interrupted")


class FailureLines(Silent):
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


class _BarObserver(Silent):
    def __init__(self, bar: Progress, what: str) -> None:
        self._bar = bar
        self._what = what

    def started(self, done: int, failed: int, total: int | None) -> None:
        # What earlier runs did does not count for the speed of this one.
        self._task = self._bar.add_task(self._what, total=total, completed=done, rate="", problems="")
        self.advanced(done, failed)

    def advanced(self, done: int, failed: int) -> None:
        speed = self._bar.tasks[0].speed
        rate = f"{speed:.1f} {self._what}/s" if speed else ""
        problems = f"{failed:,} failed" if failed else ""
        self._bar.update(self._task, completed=done, rate=rate, problems=problems)
