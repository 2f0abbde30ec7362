"""Draw a roofline of every kernel from the results that lie in `results/`.

Run `python benchmarks/plot_rooflines.py`; with --ceilings it first measures what this CPU can do at most, and nothing
else is measured. A point's height is what the op achieved, useful operations a second; its
place from left to right is how many operations it does for every byte it must move at least: inputs read once, results
written once. The roof over it is what this machine can do, measured as well (`lexlip_infer.bench.ceilings` on a
CPU; a copy and the bare product on a GPU). Left of the ridge the memory is the limit, right of it arithmetic. A point
above the memory slope found its bytes in a cache.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from harness import RESULTS, Report, machine, options, save

from lexlip_infer.bench.ceilings import measure_ceilings
from lexlip_infer.bench.presentation import draw_roofs

THREADS = 2


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        name: engine and size.
        intensity: useful operations per byte that has to move.
        rate: 10^9 useful operations a second.
    """

    name: str
    intensity: float
    rate: float


@dataclass(frozen=True)
class Roofline:
    """One picture.

    Attributes:
        op: file name and title.
        machine: for the title.
        gb_per_s: of a copy in memory.
        ceilings: 10^9 operations a second at most, by number format.
        points: what was measured.
    """

    op: str
    machine: str
    gb_per_s: float
    ceilings: dict[str, float]
    points: list[Point]


def read(name: str) -> Report | None:
    """A result, or nothing where it was not measured."""
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def lexicon_head_points(report: Report) -> list[Point]:
    """The model-sized shape; a head reads hidden states and decoder once and writes next to nothing."""
    points = []
    for part in (part for part in report["shapes"] if part["vocab"] > 10_000):
        batch, width = part["batch"], part["hidden"]
        for row in (row for row in part["results"] if row["threads"] == THREADS):
            decoder_bytes = part["vocab"] * width * (1 if "exact" in row["engine"] else 4)
            moved = decoder_bytes + 4 * batch * part["tokens"] * width
            work = part["gflop_per_image"] * batch * 1e9
            rate = part["gflop_per_image"] / row["median_ms_per_image"] * 1e3
            points.append(Point(f"{row['engine']}, B={batch}", work / moved, rate))
    return points


def impact_dot_points(report: Report) -> list[Point]:
    """A multiplication and an addition for each posting of 3 bytes; accumulators stay in a cache."""
    return [
        Point(
            f"{row['engine']}, k={row['k']}, {row['threads']} thread{'s' * (row['threads'] > 1)}",
            2 / 3,
            2e-6 * report["postings_per_query"] / row["median_ms_per_query"],
        )
        for row in report["results"]
    ]


def cpu_rooflines() -> list[Roofline]:
    """Ops that were measured on a CPU."""
    ceilings = read("ceilings_cpu.json")
    if ceilings is None:
        return []
    processor = ceilings["machine"]["cpu"]
    (limits,) = (row for row in ceilings["ceilings"] if row["threads"] == THREADS)
    sources = (
        ("lexicon_head", "lexicon_head_cpu.json", lexicon_head_points),
        ("impact_dot", "impact_dot.json", impact_dot_points),
    )
    return [
        Roofline(op, f"{processor}, {THREADS} threads", limits["copy_gb_per_s"], limits["gflop_per_s"], points(report))
        for op, name, points in sources
        if (report := read(name)) is not None
    ]


def gpu_points(report: Report, op: str) -> list[Point]:
    """Half-precision operands; logits exist only where the op takes them as its input."""
    tokens, width, vocab = report["tokens"], report["hidden_size"], report["vocab_size"]
    points = []
    for row in (row for row in report["results"] if row["op"] == op):
        batch = row["batch"]
        if op == "lexicon_topk":
            moved, work = 2 * batch * tokens * vocab, batch * tokens * vocab
        else:
            passes = 1 if op == "lexicon_head" else 3
            moved, work = 2 * (batch * tokens * width + vocab * width) * passes, 2 * batch * tokens * width * vocab
        points.append(Point(f"{row['engine']}, B={batch}", work / moved, work / row["median_ms"] / 1e6))
    return points


def gpu_rooflines(report: Report) -> list[Roofline]:
    """Ops that were measured on this GPU; the bare product is the ceiling of arithmetic."""
    heads = gpu_points(report, "lexicon_head")
    product = max(point.rate for point in heads if point.name.startswith("bare product"))
    return [
        Roofline(op, report["machine"]["gpu"], report["copy_gb_per_s"], {"bare product": product}, points)
        for op in dict.fromkeys(row["op"] for row in report["results"])
        if (points := gpu_points(report, op))
    ]


def draw(roofline: Roofline, path: Path) -> None:
    """One picture: roofs in grey, measurements in colour."""
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    draw_roofs(axes, roofline.ceilings, roofline.gb_per_s, [point.intensity for point in roofline.points])
    markers = "os^vDP*X<>ph"
    for number, point in enumerate(sorted(roofline.points, key=lambda point: -point.rate)):
        style = {"marker": markers[number % len(markers)], "color": f"C{number % 10}", "linestyle": "none"}
        axes.plot(
            point.intensity, point.rate, label=f"{point.name}: {point.rate:,.{0 if point.rate >= 10 else 2}f}", **style
        )
    axes.set(xscale="log", yscale="log", xlabel="operations per byte that has to move")
    axes.set(
        ylabel="10$^9$ operations a second", title=f"{roofline.op}: {roofline.machine}, {roofline.gb_per_s:,.0f} GB/s"
    )
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure the roofs if asked to, draw what there is."""
    parser = options("Draw a roofline of every kernel.")
    parser.add_argument("--ceilings", action="store_true", help="measure this CPU first")
    if parser.parse_args().ceilings:
        ceilings = [measure_ceilings("cpu", threads).model_dump() for threads in (1, THREADS)]
        save({"benchmark": "ceilings_cpu", "machine": machine(), "ceilings": ceilings}, RESULTS / "ceilings_cpu.json")
    pictures = [(roofline, f"roofline_{roofline.op}_cpu.png") for roofline in cpu_rooflines()]
    for source in sorted(RESULTS.glob("triton_ops_*.json")):
        gpu = source.stem.removeprefix("triton_ops_")
        rooflines = gpu_rooflines(json.loads(source.read_text(encoding="utf-8")))
        pictures += [(roofline, f"roofline_{roofline.op.replace(' ', '_')}_{gpu}.png") for roofline in rooflines]
    for roofline, name in pictures:
        draw(roofline, RESULTS / name)
        print(RESULTS / name)


if __name__ == "__main__":
    main()
