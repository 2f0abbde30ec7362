"""What all collections have in common, of whatever kind: they are streams of files, and count what they pass over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Generic, TypeVar

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers.patterns import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lexlip_infer.inputs.readers.places import Place

#: Kinds of files that a message names.
_NAMED_KINDS = 5

Item = TypeVar("Item", bound=ImageItem | TextItem)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Files:
    """One file, a folder, or what matches a pattern below one; each file with the name that ids and messages give it.

    Attributes:
        place: the file, or the folder.
        prefix: of the names.
        pattern: absent for one file, and for a folder as a whole.
    """

    place: Place
    prefix: str = ""
    pattern: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[tuple[str, Place]]:
        """Name and place of each, sorted by name; not of a folder as a whole."""
        if self.pattern is None:
            yield self.prefix + self.place.name, self.place
            return
        for found in walk(self.place, self.pattern):
            if found.kind == "file":
                yield self.prefix + found.path, found.place

    def read_each(self, read: Callable[[str, Place], Iterator[Result]]) -> Iterator[Result | BadItem]:
        """What is read of each file; one that cannot be read (further) is one bad item, and the next is read."""
        for name, place in self:
            try:
                yield from read(name, place)
            except InputError as error:
                yield BadItem.of(name, place, error)

    def __str__(self) -> str:
        return "/".join([str(self.place).rstrip("/"), *(self.pattern or ())])


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


class Source(ABC, Generic[Item]):
    """A collection of one kind, whose ids may still be invalid or stand there twice.

    Attributes:
        files: to read.
        ids_are_unique: whether ids are so by their nature, as paths of one folder are.
        passed: files that the last reading passed over.
    """

    ids_are_unique = False

    def __init__(self, files: Files) -> None:
        self.files, self.passed = files, PassedOver()

    @property
    def count(self) -> int | None:
        """Number of items, where it is to be had without reading them."""
        return None

    @abstractmethod
    def check(self) -> None:
        """Look at the beginning.

        Raises:
            InputError: there is nothing to read, or not what was asked for.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Item | BadItem]:
        """From the start, every time."""
