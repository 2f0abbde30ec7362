"""`results.json`: one row a system, medians over the rounds, and what follows from comparing rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.large_scale.files import ExperimentFiles, read_ranking
from lexlip_infer.bench.large_scale.journal import Facts, Record
from lexlip_infer.bench.large_scale.measuring import DEPTH
from lexlip_infer.bench.large_scale.settings import Family, Settings, System
from lexlip_infer.evaluation.ranks import Recall, ranks_in_lists
from lexlip_infer.search.engine import Ranking

__all__ = ["Results", "Row", "Speed", "agreement", "collect"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class Speed(_Section):
    """One number of threads; each figure is the median of the rounds.

    Attributes:
        qps: queries a second, many in one call.
        single_qps: queries a second, one a call.
        p50_ms: of one query a call; so are the next two.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        batch_queries: that `qps` was timed on, in each round.
        single_queries: that the latencies were timed on, in each round.
        cores: processor time over time by the clock, of the whole process.
    """

    qps: float
    single_qps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    batch_queries: float
    single_queries: float
    cores: float


class Row(_Section):
    """One system.

    Attributes:
        system: its name.
        family: which engine.
        top_k: kept terms of a document, where documents are impacts.
        documents: in the index.
        synthetic: of them.
        postings: impacts of a document, on average.
        recall: at 1, 5 and 10 in per cent; None where queries are synthetic.
        agreement: share of queries, in per cent, whose ten best are those of the exact search over the same documents:
            for Anserini the exact engine's, with equal scores; for HNSW and IVF-PQ the share of Flat's ten best.
        speed: by number of threads.
        bytes: of the index on disk.
        build_seconds: from prepared documents on disk to the index on disk.
        build_peak: largest resident memory of a process that builds, in bytes.
        open_seconds: from an index on disk to an engine that takes queries, libraries and Java included.
        resident: memory after all searches, in bytes.
        anonymous: of it, what is no page of a mapped file.
        peak: largest resident memory, in bytes.
    """

    system: str
    family: Family
    top_k: int | None
    documents: int
    synthetic: int
    postings: float | None
    recall: tuple[float, float, float] | None
    agreement: float | None
    speed: dict[int, Speed]
    bytes: int
    build_seconds: float
    build_peak: int
    open_seconds: float
    resident: int
    anonymous: int
    peak: int

    @property
    def bytes_per_document(self) -> float:
        """Of the index on disk."""
        return self.bytes / self.documents


class Results(_Section):
    """All that the report is made of.

    Attributes:
        settings: of the experiment.
        machine: it ran on.
        images: of the test collection.
        queries: all of them.
        terms_per_query: of their impacts, on average.
        rows: one a system.
    """

    settings: Settings
    machine: Facts
    images: int
    queries: int
    terms_per_query: float
    rows: tuple[Row, ...]

    def row(self, family: Family, top_k: int | None = None) -> Row | None:
        """The row of a system, if it took part."""
        return next((row for row in self.rows if (row.family, row.top_k) == (family, top_k)), None)


def collect(files: ExperimentFiles, record: Record) -> Results:
    """Put a finished experiment together."""
    settings, steps = record.settings, record.steps
    relevant = files.read_queries()["relevant"]
    rankings = {system.name: read_ranking(files.ranking(system.name)) for system in settings.systems()}
    encoded = steps["encode the test collection"]
    return Results(
        settings=settings,
        machine=record.machine,
        images=encoded["images"],
        queries=encoded["queries"],
        terms_per_query=encoded["terms_per_query"],
        rows=tuple(_row(system, settings, steps, rankings, relevant) for system in settings.systems()),
    )


def _row(
    system: System, settings: Settings, steps: dict[str, Facts], rankings: dict[str, Ranking], relevant: list[str]
) -> Row:
    documents, build = steps[f"documents {system.documents}"], steps[f"build {system.name}"]
    turns = [steps[f"search {system.name} round {turn}"] for turn in range(1, settings.rounds + 1)]
    has_recall = system.documents != "vectors" or settings.dense is not None
    memory = _medians([turn["memory"]["after_search"] for turn in turns])
    return Row(
        system=system.name,
        family=system.family,
        top_k=system.top_k,
        documents=documents["documents"],
        synthetic=documents["synthetic"],
        postings=documents["postings"] / documents["documents"] if "postings" in documents else None,
        recall=_recall(rankings[system.name], relevant) if has_recall else None,
        agreement=_agreement_with_exact(system, rankings),
        speed={
            int(threads): Speed(**_medians([turn["threads"][threads] for turn in turns]))
            for threads in turns[0]["threads"]
        },
        bytes=turns[0]["bytes"],
        build_seconds=build["seconds"],
        build_peak=build["peak"],
        open_seconds=float(np.median([turn["open_seconds"] for turn in turns])),
        **{name: int(value) for name, value in memory.items()},
    )


def _medians(turns: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.median([turn[name] for turn in turns])) for name in turns[0]}


def _recall(ranking: Ranking, relevant: list[str]) -> tuple[float, float, float]:
    """Each query has one relevant document, row 0 of its own; everything else is row 1."""
    ranked = np.full((len(relevant), DEPTH), -1)
    for query, (found, wanted) in enumerate(zip(ranking.ids, relevant, strict=True)):
        ranked[query, : len(found)] = [0 if name == wanted else 1 for name in found]
    at = Recall.of(ranks_in_lists(ranked, np.zeros(len(relevant), np.int64), np.arange(2)))
    return at.at_1, at.at_5, at.at_10


def _agreement_with_exact(system: System, rankings: dict[str, Ranking]) -> float | None:
    ours = rankings[system.name]
    if system.family == "anserini":
        exact = rankings.get(System(family="exact", top_k=system.top_k).name)
        return None if exact is None else agreement(ours, exact)
    flat = rankings.get("faiss-flat")
    if system.family not in ("faiss-hnsw", "faiss-ivfpq") or flat is None:
        return None
    shares = [len(set(a) & set(b)) / max(1, len(b)) for a, b in zip(ours.ids, flat.ids, strict=True)]
    return 100 * float(np.mean(shares))


def agreement(one: Ranking, other: Ranking) -> float:
    """Share of queries, in per cent, with equal results: equal integer scores at every rank, and equal documents.

    Documents may differ inside the tie at the last rank, where either choice is right, and in order inside a tie.
    """
    pairs = zip(one.ids, one.scores, other.ids, other.scores, strict=True)
    return 100 * float(np.mean([_same(*pair) for pair in pairs]))


def _same(ids: list[str], scores: Any, other_ids: list[str], other_scores: Any) -> bool:
    ours, theirs = np.rint(scores), np.rint(other_scores)
    if len(ours) != len(theirs) or (ours != theirs).any():
        return False
    if not len(ours):
        return True
    # Where a query matches fewer than ten, there is no cut, and the last rank is as settled as any.
    last = ours[-1] if len(ours) == DEPTH else -1
    settled = {name for name, score in zip(ids, ours, strict=True) if score > last}
    return settled == {name for name, score in zip(other_ids, theirs, strict=True) if score > last}
