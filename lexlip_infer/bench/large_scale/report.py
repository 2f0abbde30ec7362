"""`report.md` and its pictures, made of `results.json` alone: tables and sentences follow from its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lexlip_infer.bench.large_scale.comparing import statements
from lexlip_infer.bench.large_scale.plots import PICTURES, draw
from lexlip_infer.bench.large_scale.results import Results, Row
from lexlip_infer.files import write_whole

__all__ = ["markdown", "write_report"]

_COLUMNS = ("system", "recall@1/5/10", "agreement", "index", "bytes a document", "build", "open", "resident", "peak")


def write_report(results: Results, folder: Path) -> None:
    """Write `report.md` and pictures into the folder of the experiment.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    draw(results, folder)
    write_whole(folder / "report.md", markdown(results).encode())


def markdown(results: Results) -> str:
    """The text of the report."""
    paragraphs = [
        "# LexLIP among other search engines, at scale",
        *_introduction(results),
        "## Quality, size and memory",
        _table(_COLUMNS, [_quality(row) for row in results.rows]),
        _QUALITY_NOTES,
        *_speeds(results),
        "## What follows",
        "\n".join(f"- {line}" for line in statements(results)),
        *(f"![{text}]({name})" for name, text in PICTURES.items()),
        "## Machine and versions",
        _table(("what", "value"), [(name, _flat(value)) for name, value in results.machine.items()]),
        "## Settings",
        _table(("what", "value"), [(name, _flat(value)) for name, value in results.settings.model_dump().items()]),
    ]
    return "\n\n".join(paragraphs) + "\n"


_QUALITY_NOTES = (
    "*Agreement*: of Anserini with the exact engine at the same number of terms, the share of queries with equal "
    "scores and documents in the first ten; of HNSW and IVF-PQ, how many of Flat's ten best documents they find. "
    "*Build*: from prepared documents on disk to an index on disk. *Open*: to the first query, libraries and Java "
    "included. *Resident*: of the process after all searches, Python itself included; in brackets, what is no page of "
    "a mapped file. *Peak*: of the searching process / of the building one."
)


def _introduction(results: Results) -> Iterator[str]:
    settings, documents = results.settings, max(row.documents for row in results.rows)
    yield (
        f"{documents:,} documents: {results.images:,} test photographs (split {settings.split} of "
        f"`{Path(settings.captions).name}`), {documents - results.images - settings.synthetic:,} real distractors and "
        f"{settings.synthetic:,} **synthetic** ones. {results.queries:,} queries: all captions but the first of each "
        f"photograph, which is its document for BM25 and bag of words. Model {settings.model_name}, "
        f"{results.terms_per_query:.1f} terms a query."
    )
    if settings.synthetic:
        yield (
            "**Synthetic documents are for speed and size only.** Vectors are drawn from the term and weight "
            "distributions of real ones, texts from the words of real captions; they are about nothing, and easier or "
            "harder to tell from a test photograph than a real one would be. **Recall among synthetic documents is no "
            "measure of quality at scale.**"
        )
    if settings.dense is None:
        yield (
            f"**Dense vectors are synthetic**: random unit vectors of {settings.dense_size} float32, documents and "
            "queries alike. They have no recall. Random directions are the hardest case for HNSW and IVF-PQ."
        )
    yield (
        "Every system ran in processes of its own, on the same machine in the same run; rounds in which the systems "
        f"took turns: {settings.rounds}; figures are medians of the rounds. Queries are encoded beforehand; what is "
        f"timed is the search for ten results, after a warm-up. A pass asked up to {settings.timed_queries:,} queries "
        f"and ended after {settings.seconds:g} s."
    )


def _quality(row: Row) -> Sequence[str]:
    synthetic = " *(synthetic)*" if row.documents == row.synthetic else ""
    return (
        row.system + synthetic,
        "-" if row.recall is None else "/".join(f"{value:.1f}" for value in row.recall),
        "-" if row.agreement is None else f"{row.agreement:.1f} %",
        f"{row.bytes / 1e6:,.1f} MB",
        f"{row.bytes_per_document:,.0f}",
        f"{row.build_seconds:,.1f} s",
        f"{row.open_seconds:.2f} s",
        f"{row.resident / 1e6:,.0f} ({row.anonymous / 1e6:,.0f}) MB",
        f"{row.peak / 1e6:,.0f} / {row.build_peak / 1e6:,.0f} MB",
    )


def _speeds(results: Results) -> Iterator[str]:
    for threads in results.rows[0].speed:
        yield f"## Speed, {threads} thread{'s' * (threads > 1)}"
        columns = ("system", "QPS, many a call", "QPS, one a call", "p50", "p95", "p99", "cores used", "queries timed")
        yield _table(columns, [_speed(row, threads) for row in results.rows])


def _speed(row: Row, threads: int) -> Sequence[str]:
    speed = row.speed[threads]
    return (
        row.system,
        f"{speed.qps:,.0f}" if speed.qps >= 100 else f"{speed.qps:.1f}",
        f"{speed.single_qps:,.0f}" if speed.single_qps >= 100 else f"{speed.single_qps:.1f}",
        *(f"{value:.2f} ms" for value in (speed.p50_ms, speed.p95_ms, speed.p99_ms)),
        f"{speed.cores:.1f}",
        f"{speed.batch_queries:,.0f}, {speed.single_queries:,.0f}",
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_flat, value)) or "none"
    return "none" if value is None else str(value)
