"""What a reader delivers: one input at a time, good or bad, each with an id and a place that a message can name.

And what all collections have in common, of whatever kind: they are streams, and count what they pass over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lexlip_infer.inputs.frames import Frame

__all__ = ["BadItem", "ImageItem", "PassedOver", "Reader", "Source", "TextItem"]

#: Kinds of files that a message names.
_NAMED_KINDS = 5

Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One image, not decoded yet.

    Attributes:
        id: unique in its collection; see docs/inputs.md.
        origin: how messages and failures.jsonl name it: a path, "shards/00.tar:beach.jpg", "data.parquet:17".
        source: what `load_image` takes; whoever decodes reads the path itself.
        size: bytes; -1 if unknown.
    """

    id: str
    origin: str
    source: Path | bytes | Frame
    size: int


@dataclass(frozen=True, slots=True)
class TextItem:
    """One text.

    Attributes:
        id: unique in its collection; see docs/inputs.md.
        origin: how messages and failures.jsonl name it, such as "captions.jsonl:17".
        text: as it was given.
    """

    id: str
    origin: str
    text: str


@dataclass(frozen=True, slots=True)
class BadItem:
    """An input that its reader could not deliver; it takes its place in the stream.

    Attributes:
        id: its id, or its place where it has none.
        origin: as for the others.
        error: one line.
    """

    id: str
    origin: str
    error: str

    @classmethod
    def of(cls, identifier: str, place: object, error: Exception) -> BadItem:
        """What could not be read there; the place that the error may begin with is not said twice."""
        return cls(identifier, str(place), str(error).removeprefix(f"{place}: "))


class Reader(Protocol[Item_co]):
    """A collection that is read lazily, in the same order every time, in memory that does not grow with it."""

    @property
    def count(self) -> int | None:
        """Number of items, bad ones included; None where only reading tells."""
        ...

    @property
    def passed_over(self) -> str:
        """What the last reading saw and did not take, such as "3 other files passed over: 3 x .txt"; or empty."""
        ...

    def __iter__(self) -> Iterator[Item_co | BadItem]:
        """From the start, every time.

        Raises:
            InputError: the collection cannot be read (any more), or is a stream that was read before.
        """
        ...


class PassedOver:
    """Files that a reader saw and did not take, counted by suffix, so that nobody wonders where one went."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a file by its name."""
        self.kinds[PurePosixPath(name).suffix.lower() or "no suffix"] += 1

    def kinds_seen(self) -> str:
        """Such as "2 x .txt, 1 x .svg", the five most frequent kinds; empty if every file was taken."""
        ranked = sorted(self.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        kinds = [f"{count} x {suffix}" for suffix, count in ranked]
        return ", ".join(kinds[:_NAMED_KINDS] + ["…"] * (len(kinds) > _NAMED_KINDS))

    def __str__(self) -> str:
        count = self.kinds.total()
        return f"{count:,} other file{'s' * (count != 1)} passed over: {self.kinds_seen()}" if count else ""


Item = TypeVar("Item", bound=ImageItem | TextItem)


class Source(ABC, Generic[Item]):
    """A collection of one kind, whose ids may still be invalid or stand there twice.

    Attributes:
        ids_are_unique: whether they are so by their nature, as paths of one folder are.
        passed: files that the last reading passed over.
    """

    ids_are_unique = False

    @property
    def count(self) -> int | None:
        """Number of items, where it is to be had without reading them."""
        return None

    def __init__(self) -> None:
        self.passed = PassedOver()

    @abstractmethod
    def check(self) -> None:
        """Look at the beginning.

        Raises:
            InputError: there is nothing to read, or not what was asked for.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Item | BadItem]:
        """From the start, every time."""
