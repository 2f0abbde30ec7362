"""Several collections as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers.passed_over import PassedOver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lexlip_infer.inputs.readers.source import Source

__all__ = ["Chain"]

Item = TypeVar("Item", bound=ImageItem | TextItem)


class Chain(Generic[Item]):
    """The items of several collections, one after the other."""

    def __init__(self, sources: Sequence[Source[Item]]) -> None:
        self._sources = sources

    @property
    def count(self) -> int | None:
        """The sum, if all have a count."""
        total = 0
        for source in self._sources:
            if (count := source.count) is None:
                return None
            total += count
        return total

    @property
    def passed_over(self) -> str:
        """Of all together."""
        return str(PassedOver.together(source.passed for source in self._sources))

    def __iter__(self) -> Iterator[Item | BadItem]:
        """In order."""
        for source in self._sources:
            yield from source
