"""A stream of items cut into part files, and those into what is encoded at a time, always in the same places.

Parts end after `items_per_shard` items, bad ones included, whatever else happens: so a run that continues another cuts
where that one cut. It reads what the finished parts were made of once more, to be sure that it is the same, and keeps
none of it: memory does not grow with the collection.

Of N runs that share one collection by hand, number I takes the parts whose number leaves I when divided by N. They
are the parts a single run would have made, byte for byte, under the same names.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lexlip_infer.collection.manifest import RunManifest, RunSettings
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.read_ahead import gather

AnyItem = ImageItem | TextItem | BadItem


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive items of one part, to be encoded together."""

    items: list[AnyItem]

    @property
    def held(self) -> int:
        """Bytes of memory that they take."""
        return sum(item.held for item in self.items)


@dataclass(frozen=True, slots=True)
class PartEnd:
    """Here a part file is complete.

    Attributes:
        inputs: items of the part.
        digest: sha256 of what they are; see `PartRecord`.
    """

    inputs: int
    digest: str

    @property
    def held(self) -> int:
        """Nothing, other than a unit."""
        return 0


def unfinished_steps(
    items: Iterator[AnyItem], manifest: RunManifest, unit_size: int, changed: Callable[[str], Exception]
) -> Iterator[Unit | PartEnd]:
    """Units of the parts that are not finished yet, each part followed by its end.

    Args:
        items: the collection, from its start.
        manifest: of the run, with the parts that are finished.
        unit_size: items at a time, or fewer where these take much memory (see `gather`).
        changed: makes the error for a collection that is not the one that finished parts were made of, from a few
            words that say where.

    Raises:
        Exception: what `changed` made.
    """
    settings = manifest.settings
    finished = iter(manifest.shards)
    for number in itertools.count():
        part = itertools.islice(items, settings.items_per_shard)
        digest = _Digest()
        if number % settings.shard_num != settings.shard_id:
            digest.add(part)
        elif (record := next(finished, None)) is not None:
            digest.add(part)
            if digest.end() != PartEnd(record.inputs, record.inputs_digest):
                raise changed(f"first in {record.name}")
        else:
            while unit := gather(part, unit_size):
                if manifest.complete:
                    raise changed("and there are more")
                digest.add(unit)
                yield Unit(unit)
            if digest.inputs:
                yield digest.end()
        if digest.inputs < settings.items_per_shard:
            break
    if (record := next(finished, None)) is not None:
        raise changed(f"{record.name} has none any more")


class _Digest:
    def __init__(self) -> None:
        self.inputs = 0
        self._hash = hashlib.sha256()

    def add(self, items: Iterable[AnyItem]) -> None:
        for item in items:
            self.inputs += 1
            # A file name may hold bytes that are no text.
            self._hash.update(f"{item.id}\0{_content(item)}\0".encode("utf-8", "surrogatepass"))

    def end(self) -> PartEnd:
        return PartEnd(self.inputs, self._hash.hexdigest())


def _content(item: AnyItem) -> str:
    """To read every image once more would take as long as to encode some of them: its size stands for it."""
    if isinstance(item, ImageItem):
        return str(item.size)
    return item.text if isinstance(item, TextItem) else "\0"


def share(count: int | None, settings: RunSettings) -> int | None:
    """How many of `count` items are in the parts of this run."""
    if count is None:
        return None
    step, parts = settings.items_per_shard, settings.shard_num
    whole, rest = divmod(count, step * parts)
    return whole * step + min(step, max(0, rest - settings.shard_id * step))
