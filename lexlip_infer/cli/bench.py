"""`lexlip-bench`: how fast a model runs here, stage by stage, against what this machine can do at most."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.options import BundleOrHubId
from lexlip_infer.cli.shell import HELP_OPTIONS, Version, application, console, run_application
from lexlip_infer.errors import InputError, OutputError, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lexlip_infer.bench.report import Report
    from lexlip_infer.bench.run import Tell
    from lexlip_infer.bench.settings import Setting
    from lexlip_infer.bundle import Bundle, Modality

#: Measures other engines; beside it lie those. It is run where the repository is the current folder.
_PEERS = Path("benchmarks") / "peers" / "run.py"

app = application("Measure how fast a model runs here, stage by stage.")


# Options that take more than a line.
_Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="lexlip-base or lexlip-tiny, with --random-weights (extra export)"),
]
_RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="make a bundle of --preset with random weights, and measure that")
]
_Precision = Annotated[
    str, typer.Option(metavar="LIST", help="of auto, f32, fp16, int8, openvino:f32, openvino:bf16, openvino:int8")
]
_Images = Annotated[Path | None, typer.Option(metavar="DIR", help="images to encode, the first --items of them")]
_Synthetic = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=100_000, help="made-up images instead  [default: 64]")
]
_Items = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="encoded in each round, again where inputs are fewer  [default: 256; peers 16]"
    ),
]
_Rounds = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=1000, help="turns of every setting  [default: 5; peers 4]")
]
_Peers = Annotated[
    bool,
    typer.Option(
        "--peers", help="measure other engines on the same model instead, with --preset (checkout, extra dev)"
    ),
]
_Plot = Annotated[Path | None, typer.Option(metavar="DIR", help="draw roofline, stages and throughput (extra viz)")]


@app.command(context_settings=HELP_OPTIONS)
def bench(
    model: BundleOrHubId = None,
    preset: _Preset = None,
    random_weights: _RandomWeights = False,
    modality: Annotated[str, typer.Option(metavar="WHICH", help="image, text, or both that the model has")] = "both",
    device: Annotated[str, typer.Option(metavar="LIST", help="of auto, cpu, cuda, cuda:N")] = "auto",
    precision: _Precision = "auto",
    batch_sizes: Annotated[str, typer.Option(metavar="LIST", help="images or texts at a time")] = "1,16",
    threads: Annotated[str | None, typer.Option(metavar="LIST", help="CPU threads  [default: all available]")] = None,
    images: _Images = None,
    synthetic: _Synthetic = None,
    words: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="in each made-up text")] = 12,
    items: _Items = None,
    rounds: _Rounds = None,
    stages: Annotated[bool, typer.Option("--stages", help="also print where the time of each setting goes")] = False,
    peers: _Peers = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the whole record as one JSON object")] = False,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="keep the record, for --compare")] = None,
    compare: Annotated[Path | None, typer.Option(metavar="FILE", help="a record to compare with")] = None,
    plot: _Plot = None,
    version: Version = False,  # noqa: ARG001  (its callback does the work)
) -> None:
    """Measure throughput, latency, memory and the share of every stage, against ceilings measured first.

    Lists have commas between their values; every combination is a setting. Each runs in processes of its own, in turn
    with the others: one for the rate of lexlip-encode from files to a file, one with a stage after the other. Ctrl-C
    ends it early and keeps the rounds that are complete.
    """
    from lexlip_infer.bench.report import read_report, save_report
    from lexlip_infer.bench.run import telling
    from lexlip_infer.bench.settings import parse_numbers, settings_grid
    from lexlip_infer.runtime.machine import thread_count

    _check_choices(model, preset, random_weights, images, synthetic)
    _check_outputs(save, plot)
    baseline = None if compare is None else read_report(compare)
    counts = [thread_count(None)] if threads is None else parse_numbers(threads, "--threads")
    sizes = parse_numbers(batch_sizes, "--batch-sizes")
    grid = settings_grid(_modalities(modality), device, precision, counts, sizes)
    if peers:
        others = (("--plot", plot), ("--compare", compare), ("--images", images), ("--synthetic", synthetic))
        _check_peers(preset, counts, (*others, ("--stages", stages or None)))
        given: dict[str, object] = {"preset": preset, "modality": modality, "precision": precision}
        given |= {"batch-sizes": batch_sizes, "threads": counts[0], "words": words, "items": items, "rounds": rounds}
        raise typer.Exit(_run_peers(given | {"save": save}, as_json))
    with tempfile.TemporaryDirectory(prefix="lexlip-bench-") as name, telling() as tell:
        folder = Path(name)
        bundle = _bundle(model, preset, grid, folder, tell)
        present = [each for each in grid if modality != "both" or bundle.has_tower(each.modality)]
        report = _measure(bundle, present, folder, (images, synthetic or 64, words, items or 256, rounds or 5), tell)
    if save is not None:
        save_report(report, save)
    _show(report, stages, as_json, plot)
    if baseline is not None:
        _print_changes(baseline, report, as_json)


def _show(report: Report, stages: bool, as_json: bool, plot: Path | None) -> None:
    if as_json:
        typer.echo(report.model_dump_json())
    else:
        _print(report, stages)
    if plot is not None:
        from lexlip_infer.bench.presentation import draw_report

        draw_report(report, plot)


def _run_peers(options: dict[str, object], as_json: bool) -> int:
    """Other engines and ours in turn: a script of the repository, which needs packages that an install has not."""
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    command = [sys.executable, str(_PEERS), *words, "--json" if as_json else "--table"]
    return 2 if subprocess.run(command, check=False).returncode else 0  # noqa: S603  (checked to be the repository's)


def _check_choices(
    model: str | None, preset: str | None, random_weights: bool, images: Path | None, synthetic: int | None
) -> None:
    if (preset is not None) != random_weights:
        raise InputError("--preset NAME and --random-weights go together; a trained model is given with --model")
    if preset is not None and model is not None:
        raise InputError("give either --model MODEL or --preset NAME --random-weights")
    if images is not None and synthetic is not None:
        raise InputError("give either --images DIR or --synthetic N")


def _check_peers(preset: str | None, counts: Sequence[int], others: Sequence[tuple[str, object]]) -> None:
    if not _PEERS.is_file():
        raise InputError(
            f"--peers runs {_PEERS}, which the repository alone has; clone it, pip install -e '.[dev]' there, and give "
            "the same command in its folder"
        )
    if preset is None:
        raise InputError(
            "--peers needs the model for torch too: give --preset NAME --random-weights, or run "
            f"python {_PEERS} on a bundle and its checkpoint"
        )
    if len(counts) != 1:
        raise InputError(f"--peers compares engines on one number of threads, and --threads names {len(counts)}")
    if given := [name for name, value in others if value is not None]:
        raise InputError(f"--peers measures engines, not stages, on made-up inputs; leave out {' and '.join(given)}")


def _check_outputs(save: Path | None, plot: Path | None) -> None:
    """Now, not after an hour of measuring."""
    if save is not None and not save.parent.is_dir():
        raise OutputError(f"{save.parent}: no such folder; make it, or name another file for --save")
    if save is not None and save.is_dir():
        raise OutputError(f"{save}: a folder; name a file for --save")
    if plot is not None and plot.exists() and not plot.is_dir():
        raise OutputError(f"{plot}: a file; name a folder for --plot")
    if plot is not None:
        require("matplotlib", extra="viz")


def _modalities(word: str) -> Sequence[Modality]:
    known: dict[str, tuple[Modality, ...]] = {"image": ("image",), "text": ("text",), "both": ("image", "text")}
    if word not in known:
        raise InputError(f"--modality is {word!r}; expected image, text or both")
    return known[word]


def _bundle(model: str | None, preset: str | None, grid: Sequence[Setting], folder: Path, tell: Tell) -> Bundle:
    from lexlip_infer.bench.inputs import make_random_bundle
    from lexlip_infer.encoder import LexLIPEncoder

    if preset is None:
        return LexLIPEncoder.from_pretrained(model).bundle
    return make_random_bundle(preset, folder, ((each.backend, each.precision) for each in grid), tell)


def _measure(
    bundle: Bundle, grid: Sequence[Setting], folder: Path, inputs: tuple[Path | None, int, int, int, int], tell: Tell
) -> Report:
    from lexlip_infer.bench.inputs import write_inputs
    from lexlip_infer.bench.run import Plan, run_benchmark

    images, synthetic, words, items, rounds = inputs
    made = folder / "inputs"
    write_inputs(bundle, made, 0 if images is not None else synthetic, 256, words)
    described = f"{synthetic} made-up photographs" if images is None else "photographs of a folder"
    plan = Plan(
        bundle=bundle,
        settings=grid,
        inputs={"image": made / "images" if images is None else images, "text": made / "texts.jsonl"},
        items=items,
        rounds=rounds,
        described=f"{described}, texts of {words} words, {items} a round",
    )
    return run_benchmark(plan, tell)


def _print(report: Report, stages: bool) -> None:
    from lexlip_infer.bench.presentation import ceilings_table, name_of, results_table, stages_table, warnings_of

    out = console()
    machine = report.machine
    out.print(f"{report.model['name']} on {machine['cpu']} ({machine['cpus_usable']} cores), {report.rounds} rounds")
    out.print(f"{report.inputs}\n")
    out.print(ceilings_table(report.ceilings))
    out.print()
    out.print(results_table(report))
    for result in report.results if stages else ():
        out.print(f"\n{name_of(result.setting)}, head {result.head}: a stage after the other, per item")
        out.print(stages_table(result))
    for warning in warnings_of(report):
        typer.echo(f"noisy: {warning}", err=True)


def _print_changes(baseline: Report, report: Report, as_json: bool) -> None:
    from lexlip_infer.bench.presentation import changes_table
    from lexlip_infer.bench.report import compare_reports, differences

    changes = compare_reports(baseline, report)
    if as_json:
        typer.echo(json.dumps([change.model_dump() for change in changes]))
    else:
        out = console()
        out.print("\nhow many times as fast as the baseline")
        out.print(changes_table(changes))
    for text in differences(baseline, report):
        typer.echo(f"not the same conditions: {text}", err=True)


def run() -> None:
    """Console entry."""
    run_application(app, "lexlip-bench")
