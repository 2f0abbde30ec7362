"""How a queue holds its keys: all numbers, or the strongest terms of each.

At the paper's size two dense float32 queues take 2.8 GB. Only a chunk of a compact queue is ever dense, in the forward
and again in the backward pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["DenseRows", "KeyRows", "Packed", "SparseRows"]

#: Keys that are dense at a time: 125 MB at 30,522 terms.
CHUNK = 1024

#: Tensors of B rows each, see `KeyRows.pack`.
Packed = tuple[Tensor, ...]


class KeyRows(nn.Module, ABC):
    """N rows of width V in buffers. A row is packed once, and moves between processes packed.

    Args:
        size: N.
        width: V.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size, self.width = size, width

    @abstractmethod
    def pack(self, keys: Tensor) -> Packed:
        """Keys (B, V) as they are stored; the last tensor holds numbers, any other says which terms they are of."""

    @abstractmethod
    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """Packed rows as keys (B, V) again, without what packing took from them."""

    @abstractmethod
    def stored(self) -> Packed:
        """The buffers, in the order of `pack`."""

    def dense(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Rows (stop - start, V)."""
        return self.unpack(tuple(part[start:stop] for part in self.stored()), dtype)

    def write(self, slots: Tensor, packed: Packed) -> None:
        """Store packed rows in these slots."""
        for buffer, rows in zip(self.stored(), packed, strict=True):
            buffer[slots] = rows.to(buffer.dtype)

    def scores(self, queries: Tensor) -> Tensor:
        """Products (B, N) of queries (B, V) with all rows; the rows have no gradient."""
        products: Tensor = _Scores.apply(queries, self)  # type: ignore[no-untyped-call]
        return products


class DenseRows(KeyRows):
    """All numbers of a row.

    Args:
        size: N.
        width: V.
        dtype: float32, or float16 for half of it.
    """

    values: Tensor

    def __init__(self, size: int, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(size, width)
        self.register_buffer("values", torch.zeros(size, width, dtype=dtype))

    def pack(self, keys: Tensor) -> Packed:
        """The keys in the dtype of the buffer."""
        return (keys.to(self.values.dtype),)

    def stored(self) -> Packed:
        """The one buffer."""
        return (self.values,)

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """A view, or a copy in another dtype."""
        return packed[0].to(dtype)


class SparseRows(KeyRows):
    """The k strongest terms of a row: ids in int32, weights in float16.

    Args:
        size: N.
        width: V.
        top_k: k; what a key loses beyond it is its similarity to nothing else.
    """

    ids: Tensor
    values: Tensor

    def __init__(self, size: int, width: int, top_k: int) -> None:
        super().__init__(size, width)
        self.top_k = min(top_k, width)
        self.register_buffer("ids", torch.zeros(size, self.top_k, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(size, self.top_k, dtype=torch.float16))

    def pack(self, keys: Tensor) -> Packed:
        """Ids and weights, strongest first; not normalised again, so that a score is only ever too small."""
        strongest = keys.topk(self.top_k, dim=1)
        return strongest.indices.to(torch.int32), strongest.values.to(self.values.dtype)

    def stored(self) -> Packed:
        """Ids and weights."""
        return self.ids, self.values

    def unpack(self, packed: Packed, dtype: torch.dtype) -> Tensor:
        """Scattered; an empty slot is a row of zeros."""
        ids, values = packed
        rows = torch.zeros(len(ids), self.width, dtype=dtype, device=values.device)
        return rows.scatter_(1, ids.long(), values.to(dtype))


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, rows: KeyRows) -> Tensor:
        ctx.rows = rows
        chunks = _chunks(rows.size)
        return torch.cat([queries @ rows.dense(start, stop, queries.dtype).T for start, stop in chunks], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows: KeyRows = ctx.rows
        total = gradient.new_zeros(len(gradient), rows.width)
        for start, stop in _chunks(rows.size):
            total += gradient[:, start:stop] @ rows.dense(start, stop, gradient.dtype)
        return total, None


def _chunks(size: int) -> list[tuple[int, int]]:
    return [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
