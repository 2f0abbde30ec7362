"""Who wants to know how a run goes: a progress bar, a log, a test."""

from __future__ import annotations

from typing import Protocol

from lexlip_infer.collection.manifest import PartRecord
from lexlip_infer.collection.part_file import Failure

__all__ = ["Observer", "Silent"]


class Observer(Protocol):
    """Told from the thread that runs the pipeline; counts include what earlier runs into the same folder did."""

    def started(self, done: int, failed: int, total: int | None) -> None:
        """The run begins: `total` items are to do in all, if that is known, `done` are behind us, `failed` of them."""
        ...

    def advanced(self, done: int, failed: int) -> None:
        """A batch was written."""
        ...

    def failure(self, failure: Failure) -> None:
        """An input gave no vector."""
        ...

    def truncated(self, note: Failure) -> None:
        """An image breaks off and was accepted."""
        ...

    def shard(self, record: PartRecord) -> None:
        """A part file is finished."""
        ...


class Silent:
    """Nobody."""

    def started(self, done: int, failed: int, total: int | None) -> None:
        """See `Observer`."""

    def advanced(self, done: int, failed: int) -> None:
        """See `Observer`."""

    def failure(self, failure: Failure) -> None:
        """See `Observer`."""

    def truncated(self, note: Failure) -> None:
        """See `Observer`."""

    def shard(self, record: PartRecord) -> None:
        """See `Observer`."""
