"""Every id once, and only ids that output files can hold, in memory that grows by tens of bytes an id, not by the id.

Ids are remembered as 64-bit hashes. Of n ids two different ones share a hash with a probability of about n^2 / 2^65
(one in 30,000 for 33 million): the second would be reported as a duplicate and not encoded. A true duplicate is always
found.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Generic, TypeVar

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import Reader

__all__ = ["CheckedIds", "IdTable", "identifier_of", "is_unicode"]

Item = TypeVar("Item", bound=ImageItem | TextItem)


class CheckedIds(Generic[Item]):
    """A reader whose items' ids are unique and valid; the others become bad items in their place.

    Args:
        reader: what to check.
        unique: whether the ids are known to be unique, such as paths of one folder: nothing is remembered then.
    """

    def __init__(self, reader: Reader[Item], unique: bool) -> None:
        self._reader, self._unique = reader, unique

    @property
    def count(self) -> int | None:
        """As of the reader."""
        return self._reader.count

    @property
    def passed_over(self) -> str:
        """As of the reader."""
        return self._reader.passed_over

    def __iter__(self) -> Iterator[Item | BadItem]:
        """In the reader's order."""
        table = IdTable()
        for number, item in enumerate(self._reader, start=1):
            if isinstance(item, BadItem):
                yield item
            elif not is_unicode(item.id):
                yield _bad(item, "the id is not valid Unicode and cannot be written as UTF-8")
            elif self._unique or (first := table.first(item.id, number)) == number:
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
