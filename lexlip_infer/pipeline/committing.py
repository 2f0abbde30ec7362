"""The end of every run, whatever engine encoded it: lines and parts go to the output in order, watchers are told."""

from __future__ import annotations

from typing import Protocol

from lexlip_infer.collection.manifest import PartRecord, RunManifest, RunTimings
from lexlip_infer.collection.part_file import Lines
from lexlip_infer.collection.parts import PartEnd
from lexlip_infer.pipeline.observer import Observer
from lexlip_infer.pipeline.timings import Timings

__all__ = ["Committing", "Output"]


class Output(Protocol):
    """Where lines go."""

    manifest: RunManifest

    def add(self, lines: Lines) -> None:
        """Take the next lines."""
        ...

    def end_part(self, end: PartEnd, timings: RunTimings) -> PartRecord | None:
        """What was added since the last call is a part."""
        ...

    def complete(self) -> None:
        """All parts are written."""
        ...

    def changed(self, where: str) -> Exception:
        """The error for a collection that is not the one it was begun with."""
        ...


class Committing:
    """Takes what was encoded, in the order of the input; counts include what the output holds already.

    Args:
        output: of the run.
        observer: is told at once that the run begins.
        total: inputs of the whole run, if known.
        timings: of this run.
    """

    def __init__(self, output: Output, observer: Observer, total: int | None, timings: Timings) -> None:
        self._output = output
        self._observer = observer
        self._timings = timings
        self._before = output.manifest.timings
        self._done = sum(shard.inputs for shard in output.manifest.shards)
        self.failed = output.manifest.failed
        observer.started(self._done, self.failed, total)

    def add(self, lines: Lines, inputs: int) -> None:
        """Lines that were made of so many inputs."""
        with self._timings.working("write"):
            self._output.add(lines)
        self._done, self.failed = self._done + inputs, self.failed + len(lines.failures)
        for failure in lines.failures:
            self._observer.failure(failure)
        for note in lines.truncated:
            self._observer.truncated(note)
        self._observer.advanced(self._done, self.failed)

    def end_part(self, end: PartEnd) -> None:
        """What was added since the last call is a part."""
        with self._timings.working("write"):
            record = self._output.end_part(end, self._timings.record(self._before))
            if record is not None:
                self._observer.shard(record)

    def complete(self) -> None:
        """There is no more."""
        if not self._output.manifest.complete:
            self._output.complete()
