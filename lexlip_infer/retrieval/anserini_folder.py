"""An index of Anserini with what it cannot hold itself: its terms by id, and how queries are to be encoded.

IDX/lucene/          the index, for any program that reads Lucene's
IDX/anserini.json    the rest
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
from pydantic import BaseModel, ConfigDict

from lexlip_infer.errors import OutputError
from lexlip_infer.retrieval.impact_index.manifest import EncodedWith
from lexlip_infer.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lexlip_infer.retrieval.anserini import AnseriniEngine

__all__ = ["LUCENE", "SIDECAR", "new_anserini_folder", "open_anserini", "read_sidecar"]

SIDECAR, LUCENE = "anserini.json", "lucene"


class _Sidecar(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    encoded_with: EncodedWith | None
    terms: tuple[str, ...]


@contextlib.contextmanager
def new_anserini_folder(index: Path, vocabulary: Vocabulary, encoded_with: EncodedWith | None) -> Iterator[Path]:
    """Where Anserini is to write; the index is there as a whole when the block has ended without an exception.

    Raises:
        OutputError: the index exists, or cannot be written.
    """
    partial = index.with_name(f".{index.name}.partial")
    if index.exists():
        raise OutputError(f"{index}: exists; name a new folder")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial / LUCENE
        with (partial / SIDECAR).open("wb") as file:
            file.write(_Sidecar(encoded_with=encoded_with, terms=vocabulary.terms).model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        partial.rename(index)
    except OSError as error:
        raise OutputError(f"{error.filename or index}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_sidecar(index: Path) -> tuple[EncodedWith | None, Vocabulary]:
    """How an index was encoded, and its terms.

    Raises:
        OutputError: the file is damaged, or cannot be read.
    """
    try:
        sidecar = _Sidecar.model_validate_json((index / SIDECAR).read_bytes())
    except (pydantic.ValidationError, OSError) as error:
        raise OutputError(f"{index / SIDECAR}: damaged ({type(error).__name__}); build the index again") from None
    return sidecar.encoded_with, Vocabulary(sidecar.terms)


def open_anserini(index: Path, vocabulary: Vocabulary) -> AnseriniEngine:
    """Start Java and open an index.

    Raises:
        MissingExtra: pyserini or a Java for it is not installed.
    """
    from lexlip_infer.retrieval.anserini import AnseriniEngine

    return AnseriniEngine.open(index / LUCENE, vocabulary.terms)
