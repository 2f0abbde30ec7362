"""What every kind of collection has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers.passed_over import PassedOver

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Source"]

Item = TypeVar("Item", bound=ImageItem | TextItem)


class Source(ABC, Generic[Item]):
    """A collection of one kind: a `Reader` whose ids may still be invalid or stand there twice.

    Attributes:
        ids_are_unique: whether they are so by their nature, as paths of one folder are.
        passed: files that the last reading passed over.
    """

    ids_are_unique = False

    def __init__(self) -> None:
        self.passed = PassedOver()

    @property
    def count(self) -> int | None:
        """Number of items, where it is to be had without reading them."""
        return None

    @property
    def passed_over(self) -> str:
        """See `Reader`."""
        return str(self.passed)

    @abstractmethod
    def check(self) -> None:
        """Look at the beginning.

        Raises:
            InputError: there is nothing to read, or not what was asked for.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Item | BadItem]:
        """From the start, every time."""
