"""Pictures of an experiment: recall against size, speed against recall, speed against size."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexlip_infer.bench.large_scale.results import Results, Row
from lexlip_infer.errors import require
from lexlip_infer.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURES", "draw"]

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
    speed = ("queries a second, one a call, 1 thread", _speed)
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


def _speed(row: Row) -> float:
    return row.speed[1].single_qps


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
