"""What travels from inference to writing: ids and vectors side by side, so that they cannot drift apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from lexlip_infer.collection.part_file import Failure
from lexlip_infer.inputs.items import BadItem
from lexlip_infer.vectors.sparse_batch import SparseBatch

__all__ = ["EncodedBatch", "not_read"]


@dataclass(slots=True)
class EncodedBatch:
    """A few consecutive items: vectors of those that worked, and the others.

    Attributes:
        ids: of the rows of `vectors`.
        vectors: absent if no item worked.
        failures: items without a row.
        truncated: items with a row, of an image that breaks off and was accepted all the same.
    """

    ids: list[str] = field(default_factory=list)
    vectors: SparseBatch | None = None
    failures: list[Failure] = field(default_factory=list)
    truncated: list[Failure] = field(default_factory=list)


def not_read(item: BadItem) -> Failure:
    """What the reader could not deliver."""
    return Failure(item.id, item.origin, "read", item.error)
