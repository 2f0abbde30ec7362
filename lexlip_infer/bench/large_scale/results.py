"""`results.json`: one row a system, medians over the rounds, and what follows from comparing rows, as sentences.

A ratio compares like with like: the same way of calling and the same number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from lexlip_infer.bench.large_scale.files import ExperimentFiles, Facts, Record, read_ranking
from lexlip_infer.bench.large_scale.settings import Family, Settings, System
from lexlip_infer.bench.large_scale.worker import DEPTH
from lexlip_infer.evaluation.ranks import Recall, ranks_in_lists
from lexlip_infer.search.engine import Ranking


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


#: The paper's claim against its dense baseline (ICCV 2023, abstract): times faster, times smaller.
PAPER_SPEED, PAPER_SIZE = 5.8, 19.1

#: Aimed at: the exact engine's QPS over Anserini's and over Faiss Flat's; Flat's bytes over those of an impact index.
_OVER_ANSERINI, _OVER_FLAT, _SMALLER_THAN_FLAT = 5, 20, 15


def statements(results: Results) -> Iterator[str]:
    """One sentence each, in Markdown."""
    yield from _over_anserini(results)
    flat = results.row("faiss-flat")
    if flat is not None:
        yield from _over_flat(results, flat)
        yield from _size(results, flat)
    yield from _approximate(results)


def _impact_rows(results: Results) -> list[Row]:
    return [row for row in results.rows if row.top_k is not None]


def _ratios(one: Row, other: Row) -> dict[str, float]:
    """Of speed, by number of threads and way of calling."""
    found = {}
    for threads, speed in one.speed.items():
        name, theirs = f"{threads} thread{'s' * (threads > 1)}", other.speed[threads]
        found[f"many queries a call, {name}"] = speed.qps / theirs.qps
        found[f"one query a call, {name}"] = speed.single_qps / theirs.single_qps
    return found


def _written(ratios: dict[str, float]) -> str:
    return ", ".join(f"{ratio:.1f}x ({name})" for name, ratio in ratios.items())


def _met(value: float, aim: float) -> str:
    return f"the aim of {aim}x is met" if value >= aim else f"**the aim of {aim}x is missed**"


def _over_anserini(results: Results) -> Iterator[str]:
    for anserini in (row for row in results.rows if row.family == "anserini"):
        exact = results.row("exact", anserini.top_k)
        if exact is not None:
            ratios = _ratios(exact, anserini)
            yield (
                f"The exact engine over Anserini, top-{anserini.top_k}: QPS {_written(ratios)}; "
                f"{_met(min(ratios.values()), _OVER_ANSERINI)} in the least of them; identical ten best for "
                f"{anserini.agreement:.1f} % of the queries."
            )


def _over_flat(results: Results, flat: Row) -> Iterator[str]:
    for row in _impact_rows(results):
        ratios = _ratios(row, flat)
        aim = f"; {_met(min(ratios.values()), _OVER_FLAT)} in the least of them" if row.family == "exact" else ""
        yield f"{row.system} over Faiss Flat (the paper: {PAPER_SPEED}x): QPS {_written(ratios)}{aim}."


def _size(results: Results, flat: Row) -> Iterator[str]:
    size = flat.bytes_per_document
    for row in _impact_rows(results):
        ratio = size / row.bytes_per_document
        recall = "" if row.recall is None else f", recall {'/'.join(f'{value:.1f}' for value in row.recall)}"
        yield (
            f"{row.system} is {ratio:.1f}x smaller than Faiss Flat (the paper: {PAPER_SIZE}x): "
            f"{row.bytes_per_document:,.0f} bytes a document{recall}."
        )
    small = [row.system for row in _impact_rows(results) if row.bytes_per_document * _SMALLER_THAN_FLAT <= size]
    yield f"At least {_SMALLER_THAN_FLAT}x smaller than Faiss Flat (aimed at for one setting): {_listed(small)}."


def _approximate(results: Results) -> Iterator[str]:
    """Where a dense index that approximates beats ours, it is said."""
    ours = [row for row in results.rows if row.family == "exact"]
    for dense in (row for row in results.rows if row.family in ("faiss-hnsw", "faiss-ivfpq")):
        faster = [row.system for row in ours if _beaten_in_speed(dense, row)]
        smaller = [row.system for row in _impact_rows(results) if dense.bytes_per_document < row.bytes_per_document]
        found = "" if dense.agreement is None else f" (it finds {dense.agreement:.0f} % of Flat's ten best)"
        yield (
            f"{dense.system}{found} is faster than {_listed(faster)}, one query a call on one thread, and its index is "
            f"smaller than that of {_listed(smaller)}."
        )


def _beaten_in_speed(dense: Row, row: Row) -> bool:
    return dense.speed[1].single_qps > row.speed[1].single_qps


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none of the impact indexes"
