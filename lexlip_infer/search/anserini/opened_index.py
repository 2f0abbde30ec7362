"""An index of Lucene's, opened for search: what the engines of impacts and of BM25 have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lexlip_infer.errors import OutputError, require
from lexlip_infer.search.anserini.index_folder import LUCENE, AnseriniRecord, read_record, size_of
from lexlip_infer.search.anserini.java import java_class

__all__ = ["OpenedIndex", "open_index"]

#: Anserini's searcher of each engine.
_SEARCHERS = {"anserini": "io.anserini.search.SimpleImpactSearcher", "bm25": "io.anserini.search.SimpleSearcher"}


@dataclass(frozen=True, slots=True)
class OpenedIndex:
    """An index folder and Anserini's searcher of it.

    Attributes:
        record: what the index holds.
        bytes_on_disk: all files of the index.
    """

    record: AnseriniRecord
    bytes_on_disk: int
    _searcher: Any

    @property
    def documents(self) -> int:
        """N."""
        return self.record.documents


def open_index(index: Path, engine: Literal["anserini", "bm25"]) -> tuple[AnseriniRecord, int, Any]:
    """The fields of an `OpenedIndex`; starts Java in this process.

    Raises:
        OutputError: the folder is no index of this engine, or Lucene cannot read it.
        MissingExtra: the extra is not installed.
        BackendUnavailable: Java does not run.
    """
    record = read_record(index, engine)
    searcher = java_class(_SEARCHERS[engine])
    try:
        return record, size_of(index), searcher(str(index / LUCENE))
    except require("jnius", "anserini").JavaException as error:
        raise OutputError(f"{index / LUCENE}: Lucene cannot read the index ({error}); index again") from None
