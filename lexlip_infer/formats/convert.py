"""From a stream of documents to one file of any format, whole or not at all, in memory that does not grow with it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lexlip_infer.errors import InputError
from lexlip_infer.files import new_file
from lexlip_infer.formats.compression import open_writer

if TYPE_CHECKING:
    from lexlip_infer.formats.contract import Format, FormatSettings
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels.impact_matrix import ImpactMatrix

__all__ = ["Converted", "convert"]

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
