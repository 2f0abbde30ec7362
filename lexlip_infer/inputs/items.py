"""What a reader delivers: one input at a time, good or bad, each with an id and a place that a message can name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.inputs.frames import Frame

Item = TypeVar("Item")
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

    @property
    def held(self) -> int:
        """Bytes of memory that it takes, but for a few hundred."""
        source = getattr(self.source, "source", self.source)  # of a frame, the animation
        return len(self.id) + (len(source) if isinstance(source, bytes) else 0)


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

    @property
    def held(self) -> int:
        """As of an image."""
        return len(self.id) + sys.getsizeof(self.text)


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

    @property
    def held(self) -> int:
        """As of an image."""
        return len(self.id) + len(self.error)

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


def several(items: Any) -> Iterable[Any]:
    """One text or image as a list of it: Python would take a text apart into letters, an array into its rows.

    Raises:
        InputError: it is neither an input nor an iterable of inputs.
    """
    if isinstance(items, str | bytes | bytearray | Path) or hasattr(items, "read"):
        return [items]
    if isinstance(items, np.ndarray) and items.ndim in (2, 3):
        return [items]
    if isinstance(items, Iterable):
        return items
    from PIL import Image

    from lexlip_infer.inputs.frames import Frame

    if isinstance(items, Frame | Image.Image):
        return [items]
    raise InputError(f"{type(items).__name__} was given; expected a text or an image, or an iterable of them")


def tracked(items: Iterable[Item], what: str, show: bool | None) -> Iterable[Item]:
    """The same items, with a progress bar on stderr.

    Args:
        items: in the order in which they are worked on.
        what: they are, in the plural.
        show: the bar; when absent, only where stderr is a terminal and there are several items.
    """
    if show is None:
        show = sys.stderr.isatty() and not (isinstance(items, Sequence) and len(items) == 1)
    if not show:
        return items
    from rich.console import Console
    from rich.progress import track

    total = float(len(items)) if isinstance(items, Sequence) else None
    return track(items, f"encoding {what}", total=total, console=Console(stderr=True))
