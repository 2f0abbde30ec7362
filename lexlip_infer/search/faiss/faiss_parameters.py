"""How the three kinds of Faiss index are set up. The numbers are common defaults, recorded with every index.

HNSW: 32 neighbours a vector, 200 candidates while building and 64 while searching. IVF-PQ: 4 sqrt(N) cells, a byte for
8 numbers (D/8 bytes a vector), and a sixteenth of the cells searched.
"""

from __future__ import annotations

import math
from typing import Any

from lexlip_infer.errors import InputError

__all__ = ["choose_parameters", "make_index"]

#: A product quantiser of 8 bits has 256 centroids, and Faiss wants 39 vectors to learn each.
_LEARNABLE = 39


def choose_parameters(kind: str, count: int, dimensions: int) -> dict[str, int]:
    """Parameters of an index of (count, dimensions) vectors, by Faiss' names.

    Raises:
        InputError: the kind is unknown, or there are too few vectors for it.
    """
    if kind == "flat":
        return {}
    if kind == "hnsw":
        return {"M": 32, "efConstruction": 200, "efSearch": 64}
    if kind != "ivfpq":
        raise InputError(f"index kind {kind!r}; expected flat, hnsw or ivfpq")
    if count < 256 * _LEARNABLE:
        raise InputError(f"{count} vectors are too few for ivfpq; expected {256 * _LEARNABLE}: use flat or hnsw")
    nlist = min(round(4 * math.sqrt(count)), count // _LEARNABLE)
    return {"nlist": nlist, "m": _pieces(dimensions), "nbits": 8, "nprobe": max(1, nlist // 16)}


def _pieces(dimensions: int) -> int:
    """The largest divisor of D that is at most D/8."""
    return next(pieces for pieces in range(max(1, dimensions // 8), 0, -1) if dimensions % pieces == 0)


def make_index(faiss: Any, kind: str, dimensions: int, parameters: dict[str, int]) -> Any:
    """An empty index by inner product. Search parameters are stored in the file with it."""
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlat(dimensions, metric)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimensions, parameters["M"], metric)
        index.hnsw.efConstruction = parameters["efConstruction"]
        index.hnsw.efSearch = parameters["efSearch"]
        return index
    cells = faiss.IndexFlat(dimensions, metric)
    index = faiss.IndexIVFPQ(cells, dimensions, parameters["nlist"], parameters["m"], parameters["nbits"], metric)
    cells.this.disown()  # the index frees it
    index.own_fields = True
    index.nprobe = parameters["nprobe"]
    return index
