"""Everything that decides what an experiment measures; two runs into one folder must agree on all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["exact", "anserini", "faiss-flat", "faiss-hnsw", "faiss-ivfpq", "bm25", "bag-of-words"]

#: In the order of the report.
FAMILIES: tuple[Family, ...] = ("exact", "anserini", "faiss-flat", "faiss-hnsw", "faiss-ivfpq", "bm25", "bag-of-words")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class System(_Section):
    """One row of the report: an engine, and how many terms its documents keep where they are impacts.

    Attributes:
        family: which engine.
        top_k: kept terms of a document; None where documents are no impacts.
    """

    family: Family
    top_k: int | None = None

    @property
    def name(self) -> str:
        """Names files, steps and rows."""
        return self.family if self.top_k is None else f"{self.family}-top-{self.top_k}"

    @property
    def documents(self) -> str:
        """The prepared documents that it indexes, which it shares with other systems."""
        if self.top_k is not None:
            return f"impacts-top-{self.top_k}"
        return "vectors" if self.family.startswith("faiss") else "texts"


class DenseSources(_Section):
    """Real dense vectors: folders that hold `vectors.npy` (rows, D) and `ids.txt` (an id a row).

    Attributes:
        images: of the test collection; an id is the image's path in the captions file.
        texts: of all its captions, in the order of the file.
        distractors: of further images.
    """

    images: str
    texts: str
    distractors: tuple[str, ...] = ()


class Settings(_Section):
    """One experiment.

    Attributes:
        captions: `captions.jsonl` of the test collection, absolute.
        split: its rows.
        model_name: of the bundle.
        model_fingerprint: sha256 of the bundle's manifest.
        top_ks: kept terms of an image that are compared.
        text_top_k: kept terms of a query.
        query_mode: how queries are encoded.
        scale: of the quantiser.
        cap: of the quantiser.
        normalise: L2 over the kept terms before scaling.
        distractors: outputs of lexlip-encode, absolute.
        synthetic: drawn documents on top of them.
        dense: real dense vectors; None means synthetic ones for documents and queries, which have no recall.
        dense_size: dimension of synthetic ones.
        families: engines.
        rounds: how often each system is opened and timed; the systems take turns.
        threads: of the many-threads figures.
        timed_queries: at most so many a pass.
        seconds: a pass ends after so long, whether or not all queries were asked.
        seed: of everything drawn.
    """

    captions: str
    split: str
    model_name: str
    model_fingerprint: str
    top_ks: tuple[int, ...] = Field(min_length=1)
    text_top_k: int = Field(gt=0)
    query_mode: str = "tower"
    scale: float = Field(gt=0)
    cap: int = Field(gt=0)
    normalise: bool
    distractors: tuple[str, ...] = ()
    synthetic: int = Field(ge=0, default=0)
    dense: DenseSources | None = None
    dense_size: int = Field(gt=0, default=768)
    families: tuple[Family, ...] = FAMILIES
    rounds: int = Field(gt=0, default=3)
    threads: int = Field(gt=0, default=1)
    timed_queries: int = Field(gt=0, default=1000)
    seconds: float = Field(gt=0, default=10.0)
    seed: int = 0

    def systems(self) -> Iterator[System]:
        """The rows of the report, in order."""
        for family in self.families:
            kept = self.top_ks if family in ("exact", "anserini") else (None,)
            yield from (System(family=family, top_k=k) for k in kept)
