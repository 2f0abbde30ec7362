"""The files that one spec names, each with the name that ids and messages give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexlip_infer.inputs.readers.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.places import Place

__all__ = ["Files"]


@dataclass(frozen=True, slots=True)
class Files:
    """One file, or those below a folder that match a pattern.

    Attributes:
        place: the file, or the folder.
        prefix: of the names.
        pattern: absent for one file.
    """

    place: Place
    prefix: str = ""
    pattern: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[tuple[str, Place]]:
        """Name and place of each, sorted by name."""
        if self.pattern is None:
            yield self.prefix + self.place.name, self.place
            return
        for found in walk(self.place, self.pattern):
            if found.kind == "file":
                yield self.prefix + found.path, found.place

    def __str__(self) -> str:
        return "/".join([str(self.place).rstrip("/"), *(self.pattern or ())])
