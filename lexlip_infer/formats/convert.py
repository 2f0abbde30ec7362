"""From a stream of documents to one file of any format, whole or not at all, in memory that does not grow with it.

A name that ends in `.gz` asks for gzip around any writer, and nothing else: it is what Anserini's reader and most
engines' tools open by themselves.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import new_file

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import Format, FormatSettings, FormatWriter
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

#: These compress what they hold themselves.
_COMPRESSED = (".npz", ".parquet")

#: zlib's way of asking for a gzip header: it has no name and no time in it, so that equal contents give equal bytes.
_GZIP = 16 + zlib.MAX_WBITS

Chunk = tuple[list[str], "ImpactMatrix"]


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written.

    Attributes:
        documents: number.
        impacts: stored impacts.
        size: bytes.
    """

    documents: int
    impacts: int
    size: int


def convert(
    chunks: Callable[[], Iterator[Chunk]],
    vocabulary: Vocabulary,
    destination: Path,
    output_format: Format,
    settings: FormatSettings,
) -> Converted:
    """Write all documents.

    Args:
        chunks: begins the stream; called again only to name an id that occurs twice.
        vocabulary: of the impacts.
        destination: a new file, named with the format's suffix, and perhaps `.gz` after it.
        output_format: how.
        settings: its choices.

    Raises:
        InputError: an id occurs twice, or a document or term breaks a rule of the format; nothing is left behind.
        OutputError: the file exists, cannot be written, or is named for another format.
        MissingExtra: the format needs a package that is not installed.
    """
    writer = open_writer(output_format, vocabulary, settings, destination.name)
    hashes = array("q")
    impacts = size = 0
    with new_file(destination) as file:
        for ids, matrix in chunks():
            size += file.write(writer.add(ids, matrix))
            impacts += len(matrix.indices)
            hashes.extend(map(hash, ids))
        for piece in writer.finish():
            size += file.write(piece)
        _refuse_duplicates(np.frombuffer(hashes, np.int64), chunks)
    return Converted(len(hashes), impacts, size)


def _refuse_duplicates(hashes: np.ndarray, chunks: Callable[[], Iterator[Chunk]]) -> None:
    """Eight bytes a document say whether two may be equal; only then their ids are read again, and compared."""
    values, counts = np.unique(hashes, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    if not suspects:
        return
    names = Counter(name for ids, _ in chunks() for name in ids if hash(name) in suspects)
    for name, count in names.items():
        if count > 1:
            raise InputError(
                f"document id {name!r} occurs {count} times; an engine would keep one of them: rename them"
            )


def open_writer(
    output_format: Format, vocabulary: Vocabulary, settings: FormatSettings, file_name: str
) -> FormatWriter:
    """The writer for a file of that name, compressed if it ends in `.gz`.

    Raises:
        OutputError: the name is not one of this format's, or asks for a compression that engines do not read.
        InputError: the format cannot hold the vocabulary.
        MissingExtra: the format needs a package that is not installed.
    """
    suffix = output_format.suffix
    if file_name.endswith((".zst", ".zstd")):
        raise OutputError(
            f"{file_name}: Zstandard is refused, because Anserini and most engines' tools read plain and gzip files "
            "only: end the name in .gz"
        )
    zipped = file_name.endswith(f"{suffix}.gz") and suffix not in _COMPRESSED
    if not zipped and not file_name.endswith(suffix):
        alternative = "" if suffix in _COMPRESSED else f" or {suffix}.gz"
        raise OutputError(f"{file_name}: {output_format.name} files end in {suffix}{alternative}; name it so")
    writer = output_format.open(vocabulary, settings)
    return GzipWriter(writer) if zipped else writer


class GzipWriter:
    """Compresses what another writer gives."""

    def __init__(self, writer: FormatWriter) -> None:
        self._writer = writer
        self._gzip = zlib.compressobj(wbits=_GZIP)

    def add(self, ids: Sequence[str], impacts: ImpactMatrix) -> bytes:
        """See `FormatWriter.add`."""
        return self._gzip.compress(self._writer.add(ids, impacts))

    def finish(self) -> Iterator[bytes]:
        """See `FormatWriter.finish`."""
        for piece in self._writer.finish():
            yield self._gzip.compress(piece)
        yield self._gzip.flush()
