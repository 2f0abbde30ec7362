"""BM25 over captions, through Anserini: the baseline that reads words instead of images.

English analysis as Anserini has it by default: lower case, stop words out, Porter's stems; k1 = 0.9 and b = 0.4.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lexlip_infer.errors import InputError
from lexlip_infer.files import new_folder
from lexlip_infer.inputs.items import BadItem
from lexlip_infer.inputs.readers import open_texts
from lexlip_infer.search.anserini import lucene
from lexlip_infer.search.anserini.java import anserini_jar
from lexlip_infer.search.engine import Ranking


def build_bm25_index(texts: Path, index: Path, threads: int) -> lucene.AnseriniRecord:
    """Index texts.

    Args:
        texts: JSON lines `{"id", "text"}` (.jsonl), `id<TAB>text` (.tsv), or whatever else `open_texts` reads; what one
            document is (one caption of an image, or all) is the caller's choice.
        index: folder to write.
        threads: of the indexer.

    Raises:
        MissingExtra: the extra is not installed.
        BackendUnavailable: Java does not run, or the indexer failed.
        InputError: a line is malformed, its text is empty or its id stood there before (the message names it), or
            there is none.
        OutputError: the index exists or cannot be written.
    """
    jar = anserini_jar().name
    with new_folder(index) as partial:
        collection = partial / "texts"
        collection.mkdir()
        expected = _write_collection(texts, collection / "texts.jsonl")
        found = lucene.run_indexer("JsonCollection", collection, partial / lucene.LUCENE, threads)
        if found != expected:
            raise InputError(f"{texts}: Anserini indexed {found} of {expected} texts; an id or a text is malformed")
        shutil.rmtree(collection)
        record = lucene.AnseriniRecord(engine="bm25", anserini=jar, source=str(texts.absolute()), documents=found)
        lucene.write_record(partial, record)
    return record


def _write_collection(texts: Path, file: Path) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as lines:
        for item in open_texts([str(texts)]):
            if isinstance(item, BadItem):
                raise InputError(f"{item.origin}: {item.error}")
            if not item.text.strip():
                raise InputError(f"{item.origin}: the text is empty; leave the line out")
            lines.write(json.dumps({"id": item.id, "contents": item.text}) + "\n")
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class BM25Engine(lucene.LuceneIndex):
    """A BM25 index of Anserini's, opened for search. Make it with `open`; see `LuceneIndex`."""

    @classmethod
    def open(cls, index: Path) -> Self:
        """Start Java in this process and open an index.

        Raises:
            OutputError: the folder is no such index.
            MissingExtra: the extra is not installed.
            BackendUnavailable: Java does not run.
        """
        return cls(*lucene.open_lucene(index, "bm25"))

    def search(self, queries: Sequence[str], k: int, threads: int = 1) -> Ranking:
        """See `SearchEngine.search`; a text of stop words only finds nothing.

        Raises:
            InputError: k or threads is below 1, or a single str was given.
            BackendUnavailable: Anserini failed.
        """
        if isinstance(queries, str):
            raise InputError("a single str was given; expected a list of texts: [text]")
        return lucene.search_batch(self._searcher, list(queries), k, threads)
