"""Compressed files: what a name asks for, and gzip around any writer.

gzip only: it is what Anserini's reader and most engines' tools open by themselves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lexlip_infer.errors import OutputError

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import Format, FormatSettings, FormatWriter
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["GzipWriter", "open_writer"]

#: These compress what they hold themselves.
_COMPRESSED = (".npz", ".parquet")

#: zlib's way of asking for a gzip header: it has no name and no time in it, so that equal contents give equal bytes.
_GZIP = 16 + zlib.MAX_WBITS


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
