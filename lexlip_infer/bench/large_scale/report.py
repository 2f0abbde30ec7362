"""`report.md` and its pictures, made of `results.json` alone: tables and sentences follow from its figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexlip_infer.bench.large_scale.results import Results, Row, statements
from lexlip_infer.errors import require
from lexlip_infer.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


#: File names, and what they show.
PICTURES = {
    "recall_size.png": "Recall at 10 against bytes a document",
    "speed_recall.png": "Queries a second against recall at 10",
    "speed_size.png": "Queries a second against bytes a document",
}

_MARKERS = {
    "exact": "o",
    "anserini": "s",
    "faiss-flat": "D",
    "faiss-hnsw": "^",
    "faiss-ivfpq": "v",
    "bm25": "P",
    "bag-of-words": "X",
}

Figure = Callable[[Row], float]


def draw(results: Results, folder: Path) -> None:
    """Write all pictures.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a picture cannot be written.
    """
    require("matplotlib", extra="viz")
    found = [row for row in results.rows if row.recall is not None]
    note = f"{results.settings.synthetic:,} synthetic documents: " * bool(results.settings.synthetic)
    speed = ("queries a second, one a call, 1 thread", lambda row: row.speed[1].single_qps)
    size = ("bytes of index a document", lambda row: row.bytes_per_document)
    quality = (f"recall at 10 over {results.queries:,} queries, per cent", _recall)
    axes = {
        "recall_size.png": (found, size, quality, "log", "linear"),
        "speed_recall.png": (found, quality, speed, "linear", "log"),
        "speed_size.png": (results.rows, size, speed, "log", "log"),
    }
    for name, (rows, x, y, x_scale, y_scale) in axes.items():
        title = f"{PICTURES[name]}\n{note}{max(row.documents for row in results.rows):,} in all"
        write_whole(folder / name, _picture(rows, x, y, {"title": title, "xscale": x_scale, "yscale": y_scale}))


def _recall(row: Row) -> float:
    assert row.recall is not None, "only rows with recall are drawn over it"
    return row.recall[2]


def _picture(rows: Sequence[Row], x: tuple[str, Figure], y: tuple[str, Figure], look: dict[str, Any]) -> bytes:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(7, 4.5), layout="constrained")
    axes = canvas.subplots()
    for family in dict.fromkeys(row.family for row in rows):
        _line([row for row in rows if row.family == family], x[1], y[1], axes)
    axes.set(xlabel=x[0], ylabel=y[0], **look)
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(frameon=False, fontsize="small")
    out = io.BytesIO()
    canvas.savefig(out, format="png", dpi=120)
    return out.getvalue()


def _line(rows: Sequence[Row], x: Figure, y: Figure, axes: Axes) -> None:
    family = rows[0].family
    label = family + " (synthetic vectors)" * (rows[0].recall is None)
    axes.plot([x(row) for row in rows], [y(row) for row in rows], f"{_MARKERS[family]}-", label=label, markersize=5)
    for row in rows:
        if row.top_k is not None:
            place = (x(row), y(row))
            axes.annotate(
                f"{row.top_k}", place, textcoords="offset points", xytext=(0, 6), ha="center", fontsize="x-small"
            )
