"""Every id once, and only ids that output files can hold, in memory that grows by tens of bytes an id, not by the id.

Ids are remembered as 64-bit hashes. Of n ids two different ones share a hash with a probability of about n^2 / 2^65
(one in 30,000 for 33 million): the second would be reported as a duplicate and not encoded. A true duplicate is always
found.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Generic, TypeVar

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers.source import PassedOver, Source

Item = TypeVar("Item", bound=ImageItem | TextItem)


class CheckedIds(Generic[Item]):
    """A reader of one or several sources whose items' ids are unique and valid; the others become bad items.

    Args:
        sources: read one after the other. Where it is one whose ids are unique by nature, none is remembered.
    """

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
        together = PassedOver()
        for source in self._sources:
            together.kinds.update(source.passed.kinds)
        return str(together)

    def __iter__(self) -> Iterator[Item | BadItem]:
        table = IdTable()
        unique = len(self._sources) == 1 and self._sources[0].ids_are_unique
        for number, item in enumerate(chain.from_iterable(self._sources), start=1):
            if isinstance(item, BadItem):
                yield item
            elif not is_unicode(item.id):
                yield _bad(item, "the id is not valid Unicode and cannot be written as UTF-8")
            elif unique or (first := table.first(item.id, number)) == number:
                yield item
            else:
                yield _bad(
                    item, f"the id {item.id!r} stands here a second time; the first is item {first:,} of the input"
                )


def _bad(item: Item, error: str) -> BadItem:
    return BadItem(item.id, item.origin, error)


class IdTable:
    """Where each id was seen first: an open-addressing hash table, 16 bytes a slot, at most half full."""

    def __init__(self) -> None:
        self._used = 0
        self._allocate(1 << 10)

    def _allocate(self, slots: int) -> None:
        self._mask = slots - 1
        self._hashes, self._numbers = array("Q", bytes(8 * slots)), array("Q", bytes(8 * slots))

    def first(self, identifier: str, number: int) -> int:
        """The number under which this id came first, which is `number` if it is new."""
        # Python's own hash differs from run to run, and a resumed run has to come to the same result.
        digest = hashlib.blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return self._place(int.from_bytes(digest) or 1, number)

    def _place(self, key: int, number: int) -> int:
        slot = key & self._mask
        while self._hashes[slot]:
            if self._hashes[slot] == key:
                return self._numbers[slot]
            slot = (slot + 1) & self._mask
        self._hashes[slot], self._numbers[slot] = key, number
        self._used += 1
        if 2 * self._used > self._mask:
            self._grow()
        return number

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        self._used = 0
        self._allocate(2 * len(hashes))
        for key, number in zip(hashes, numbers, strict=True):
            if key:
                self._place(key, number)


def identifier_of(value: object, column: str) -> str:
    """An id as a string.

    Raises:
        InputError: it is missing, or neither a string nor an integer.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        kind = "missing" if value is None else f"a {type(value).__name__}"
        raise InputError(f'"{column}" is {kind}; expected a string or a number')
    return str(value)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: a file name, or JSON, may hold half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
