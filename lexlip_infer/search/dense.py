"""Dense vectors in Faiss: the baseline that LexLIP is measured against. Extra `faiss`.

FILE is Faiss' own; `FILE.json` beside it holds ids and parameters, and is written last: without it there is no index.
Vectors are read through a memory map. Flat and HNSW still keep them all in memory, 4 bytes a number; IVF-PQ does not.

How the kinds are set up are common defaults, recorded with every index. HNSW: 32 neighbours a vector, 200 candidates
while building and 64 while searching. IVF-PQ: 4 sqrt(N) cells, a byte for 8 numbers (D/8 bytes a vector), and a
sixteenth of the cells searched.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pydantic
from pydantic import BaseModel, ConfigDict, FailFast

from lexlip_infer.errors import InputError, OutputError, require
from lexlip_infer.files import new_file, open_regular, read_regular
from lexlip_infer.files.reading import in_bytes
from lexlip_infer.search.engine import Ranking

DenseKind = Literal["flat", "hnsw", "ivfpq"]

RECORD_LIMIT = 64_000_000
"""Bytes of `FILE.json` that are read, the ids of all vectors: these, or as many as the index file has."""

#: Vectors that are read at a time.
_CHUNK = 65_536
#: Most vectors that IVF-PQ learns its cells from, of each cell: Faiss takes no more.
_TRAINED_PER_CELL = 256
#: How far a vector's length may be from 1, which is what half precision costs.
_LENGTH_TOLERANCE = 1e-2
#: A product quantiser of 8 bits has 256 centroids, and Faiss wants 39 vectors to learn each.
_LEARNABLE = 39


class DenseRecord(BaseModel):
    """`FILE.json`.

    Attributes:
        format_version: of this layout.
        kind: of index.
        parameters: of the index and of its search, as Faiss names them.
        dimensions: D.
        faiss: version that built it.
        ids: of the N vectors, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    kind: DenseKind
    parameters: dict[str, int]
    dimensions: int
    faiss: str
    ids: Annotated[tuple[str, ...], FailFast()]


def build_dense_index(vectors: Path, ids: Path | Sequence[str], kind: str, file: Path, threads: int) -> DenseRecord:
    """Index unit vectors for their inner product, the cosine.

    Args:
        vectors: `.npy`, (N, D) float32 or float16, each of length 1.
        ids: N ids, or a file with one a line.
        kind: "flat" (exact), "hnsw" (a graph), "ivfpq" (cells and product quantisation).
        file: to write, with `FILE.json` beside it.
        threads: of Faiss. The graph of HNSW depends on them.

    Raises:
        MissingExtra: faiss is not installed.
        InputError: the vectors are of another kind, not finite or not of length 1, too few for the kind of index, or
            not as many as ids; or their ids take more room than is read of them.
        OutputError: a file exists or cannot be written.
    """
    faiss = require("faiss", "faiss")
    matrix = open_vectors(vectors)
    names = _read_ids(ids) if isinstance(ids, Path) else tuple(ids)
    if len(names) != len(matrix):
        raise InputError(f"{vectors}: {len(matrix)} vectors and {len(names)} ids; expected as many")
    parameters = choose_parameters(kind, *matrix.shape)
    with new_file(_record_path(file)) as record_file, new_file(file) as index_file, _using(faiss, threads):
        index = _make_index(faiss, kind, matrix.shape[1], parameters)
        _fill(index, matrix, vectors, parameters)
        faiss.write_index(index, faiss.PyCallbackIOWriter(index_file.write))
        record = DenseRecord(
            kind=cast("DenseKind", kind),
            parameters=parameters,
            dimensions=matrix.shape[1],
            faiss=faiss.__version__,
            ids=names,
        )
        data = record.model_dump_json(indent=1).encode()
        if len(data) > (limit := max(RECORD_LIMIT, index_file.tell())):
            raise InputError(f"{len(names):,} ids take {in_bytes(len(data))}; at most {in_bytes(limit)} are read")
        record_file.write(data)
    return record


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


def _make_index(faiss: Any, kind: str, dimensions: int, parameters: dict[str, int]) -> Any:
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


def _fill(index: Any, matrix: npt.NDArray[np.floating], source: Path, parameters: dict[str, int]) -> None:
    if not index.is_trained:
        sample = _TRAINED_PER_CELL * max(parameters["nlist"], 2 ** parameters["nbits"])
        rows = np.random.default_rng(0).permutation(len(matrix))[:sample]
        index.train(_checked(matrix[np.sort(rows)], str(source)))
    for first in range(0, len(matrix), _CHUNK):
        index.add(_checked(matrix[first : first + _CHUNK], str(source)))


def open_vectors(path: Path) -> npt.NDArray[np.floating]:
    """Map an `.npy` of (N, D) float32 or float16.

    Raises:
        InputError: it is none.
    """
    try:
        open_regular(path, refuse=ValueError).close()  # before NumPy waits for a FIFO
        matrix: npt.NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise InputError(f"{path}: cannot be read as .npy ({error})") from None
    if matrix.ndim != 2 or matrix.dtype not in (np.float32, np.float16) or not matrix.size:
        raise InputError(f"{path}: {matrix.dtype} of shape {matrix.shape}; expected (N, D) float32 or float16")
    return matrix


def _read_ids(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as lines of UTF-8 ({error})") from None
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _checked(rows: npt.NDArray[np.floating], source: str) -> npt.NDArray[np.float32]:
    """Contiguous float32, after a look at every row."""
    found = np.ascontiguousarray(rows, np.float32)
    # A NaN is not within the tolerance either.
    if not (np.abs(np.linalg.norm(found, axis=1) - 1) <= _LENGTH_TOLERANCE).all():
        raise InputError(f"{source}: a vector is not finite or not of length 1; divide each by its L2 norm")
    return found


def _record_path(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def read_dense_record(file: Path) -> tuple[DenseRecord, int]:
    """What an index holds, and the bytes of both its files; Faiss is not needed.

    Raises:
        OutputError: a file is missing, or `FILE.json` is damaged.
    """
    path = _record_path(file)
    try:
        with open_regular(file, refuse=lambda reason: OutputError(f"{file}: {reason}; index again")) as opened:
            size = os.fstat(opened.fileno()).st_size
        limit = max(RECORD_LIMIT, size)
        data = read_regular(path, limit, refuse=lambda reason: OutputError(f"{path}: {reason}; index again"))
        return DenseRecord.model_validate_json(data), len(data) + size
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{error.filename or file}: cannot be read ({error.strerror})") from None
    except pydantic.ValidationError as error:
        raise OutputError(f"{path}: damaged, or of another version ({error.errors()[0]['msg']})") from None


@contextmanager
def _using(faiss: Any, threads: int) -> Iterator[None]:
    """Faiss knows one number of threads for the whole process."""
    if threads < 1:
        raise InputError(f"threads is {threads}; expected at least 1")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@dataclass(frozen=True, slots=True)
class DenseEngine:
    """A dense index, opened for search. Make it with `open`.

    Attributes:
        record: kind, parameters and ids.
    """

    record: DenseRecord
    _index: Any

    @classmethod
    def open(cls, file: Path) -> Self:
        """Read an index into memory.

        Raises:
            MissingExtra: faiss is not installed.
            OutputError: a file is missing or damaged, or the two do not belong together.
        """
        faiss = require("faiss", "faiss")
        record, _ = read_dense_record(file)
        try:
            index = faiss.read_index(os.fspath(file))
        except RuntimeError as error:
            raise OutputError(f"{file}: Faiss cannot read it ({str(error).splitlines()[0]}); index again") from None
        if (index.ntotal, index.d) != (len(record.ids), record.dimensions):
            raise OutputError(f"{file}: holds other vectors than {_record_path(file)} says; index again")
        return cls(record, index)

    @property
    def documents(self) -> int:
        """N."""
        return len(self.record.ids)

    def search(self, queries: npt.NDArray[np.float32], k: int, threads: int = 1) -> Ranking:
        """See `SearchEngine.search`; scores are cosines, of IVF-PQ approximate ones.

        Raises:
            InputError: k or threads is below 1, or queries are not (Q, D) unit vectors.
        """
        faiss = require("faiss", "faiss")
        if k < 1:
            raise InputError(f"k is {k}; expected at least 1")
        if queries.ndim != 2 or queries.shape[1] != self.record.dimensions:
            raise InputError(f"queries of shape {queries.shape}; expected (Q, {self.record.dimensions})")
        with _using(faiss, threads):
            scores, rows = self._index.search(_checked(queries, "queries"), min(k, self.documents))
        ids = [[self.record.ids[row] for row in found if row >= 0] for found in rows.tolist()]
        return Ranking(
            ids, [row_scores[: len(hits)].astype(np.float64) for row_scores, hits in zip(scores, ids, strict=True)]
        )
