"""What rows say about each other, as sentences: ratios beside the paper's, and what was aimed at.

A ratio compares like with like: the same way of calling and the same number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from lexlip_infer.bench.large_scale.results import Results, Row

__all__ = ["PAPER_SIZE", "PAPER_SPEED", "statements"]

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
