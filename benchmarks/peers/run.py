"""Peers and ourselves, on the same model and the same inputs, in turn, in one run.

    python benchmarks/peers/run.py --preset lexlip-base              # random weights; lexlip-bench --peers calls this
    python benchmarks/peers/run.py --model BUNDLE --checkpoint DIR   # a trained model, in both of its forms

What is timed is pixels, or texts, to the kept terms: reading and writing files is the same for everybody and left
out, tokenising is inside. Every engine stays loaded in a process of its own and encodes all inputs once a round. Those
that promise our vectors are held to it, with every batch size, before anything is timed. Writes
results/peers_<machine>.json when all is done; interrupted, it leaves nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from child import Child
from PIL import Image

from lexlip_infer.bench.inputs import make_random_bundle, write_inputs
from lexlip_infer.bench.machine import listen, machine_info, processor
from lexlip_infer.bench.report import median_interval
from lexlip_infer.bundle import Bundle
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable, InputError, LexLIPError
from lexlip_infer.runtime.machine import thread_count
from lexlip_infer.vectors.sparse_batch import SparseBatch

sys.path.append(str(Path(__file__).parents[1]))
from harness import RESULTS, save, say

#: Largest difference of a weight that the order of additions may make.
TOLERANCE = 1e-3
PAUSE = 0.05  # until the threads of the engine before have stopped waiting for work

OURS = "ours f32"
#: Other float32 engines with our mathematics, and last a model of another kind; see engines.py.
FLOAT32 = ["torch eager", "torch compile", "onnxruntime", "openvino f32"]
ENGINES = {
    "image": [*FLOAT32, "clip"],
    "text": [*FLOAT32, "sparse_encoder torch", "sparse_encoder onnx", "sparse_encoder openvino"],
}
#: Engines with fewer bits, by the precision of ours that they stand beside.
ROUNDED = {"openvino:bf16": ["openvino bf16"], "openvino:int8": ["openvino int8"]}

#: Made as sparse_encoder.txt says; these engines do not run beside our own packages.
OPTIMUM = Path(__file__).parents[2] / ".venv-sparse-encoder" / "bin" / "python"
NEED_OPTIMUM = ("sparse_encoder onnx", "sparse_encoder openvino")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        model: folder of the bundle.
        checkpoint: of the same model.
        precisions: of ours, beside f32: "int8", "openvino:bf16", "openvino:int8".
        batch_sizes: inputs at a time.
        items: inputs a round.
        words: of a text.
        rounds: turns.
        threads: of every engine.
        only: parts of the names of engines to measure beside ours; all where there are none.
    """

    model: Path
    checkpoint: Path
    precisions: Sequence[str]
    batch_sizes: Sequence[int]
    items: int
    words: int
    rounds: int
    threads: int
    only: Sequence[str]


def engines(plan: Plan, modality: str) -> list[str]:
    """Ours first, exact before rounded."""
    rounded = [each for each in dict.fromkeys(plan.precisions) if each != "f32"]
    beside = [*(f"ours {each}" for each in rounded), *ENGINES[modality]]
    beside += [engine for each in rounded for engine in ROUNDED.get(each, [])]
    return [OURS, *(each for each in beside if not plan.only or any(word in each for word in plan.only))]


def measure(plan: Plan, modality: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the record, and one line for each engine that cannot run here.

    Raises:
        InputError: an engine that promises our vectors has others.
        BackendUnavailable: we cannot run here, or an engine died.
    """
    skipped: list[str] = []
    with ExitStack() as stack:
        children: list[Child] = []
        outputs = []
        for engine in engines(plan, modality):
            say(f"{modality}s: loading {engine}")
            try:
                child = _start(plan, engine, modality, folder)
            except BackendUnavailable as error:
                if engine == OURS:
                    raise
                skipped.append(f"{engine}, {modality}s: {error}")
                continue
            stack.callback(child.close)
            children.append(child)
            outputs.append({size: compare(child, children[0], size) for size in plan.batch_sizes})
        times = _rounds(children, plan, modality)
    return [
        row for size in plan.batch_sizes for row in _rows(children, outputs, times[size], modality, size, plan.items)
    ], skipped


def _rows(
    children: Sequence[Child],
    outputs: Sequence[dict[int, str]],
    times: Sequence[Sequence[float]],
    modality: str,
    batch_size: int,
    items: int,
) -> Iterator[dict[str, Any]]:
    for child, output, took in zip(children, outputs, times, strict=True):
        rate = median_interval([[seconds] for seconds in took])
        row = {"peer": child.name, "modality": modality, "batch_size": batch_size, "output": output[batch_size]}
        row |= {"peak_mb": child.peak_mb, "cpu_ms": round(1e3 * median(child.cpu_seconds[batch_size]) / items, 2)}
        row |= {"items_per_s": 1 / rate.median, "low": 1 / rate.high, "high": 1 / rate.low}
        ratio = float(np.median(np.array(times[0]) / np.array(took)))
        yield row | {"speed_of_ours_f32": ratio, "seconds_per_item": list(took)}


def _start(plan: Plan, engine: str, modality: str, folder: Path) -> Child:
    name, _, variant = engine.partition(" ")
    bundle = Bundle.open(plan.model)
    values = {
        "model": plan.model,
        "checkpoint": plan.checkpoint,
        "modality": modality,
        "inputs": folder / ("pixels.npy" if modality == "image" else "texts.json"),
        "threads": plan.threads,
        "top-k": getattr(bundle.manifest.top_k, modality),
        "variant": variant,
    }
    arguments = [name, *(word for option, value in values.items() for word in (f"--{option}", str(value)))]
    arguments += ["--batch-sizes", *map(str, plan.batch_sizes)]
    vectors = folder / f"{re.sub('[^a-z0-9]+', '-', engine)}_{modality}"
    apart = engine in NEED_OPTIMUM and OPTIMUM.exists()
    return Child(arguments, vectors, plan.threads, OPTIMUM if apart else Path(sys.executable))


def _rounds(children: Sequence[Child], plan: Plan, modality: str) -> dict[int, list[list[float]]]:
    """Seconds an item of every round, by batch size, for each; they take turns."""
    times: dict[int, list[list[float]]] = {size: [[] for _ in children] for size in plan.batch_sizes}
    for turn in range(plan.rounds):
        for size in plan.batch_sizes:
            say(f"{modality}s: round {turn + 1} of {plan.rounds}, batch {size}, {len(children)} engines in turn")
            for child, took in zip(children, times[size], strict=True):
                time.sleep(PAUSE)
                took.append(child.seconds(size) / plan.items)
    return times


def compare(child: Child, exact: Child, batch_size: int) -> str:
    """What an engine's vectors are beside our exact ones.

    Raises:
        InputError: it promised the same.
    """
    if child.output not in ("equal", "rounded"):
        return child.output
    ours, found = SparseBatch.load(exact.vectors(batch_size)), SparseBatch.load(child.vectors(batch_size))
    rows = [(ours.row(i), found.row(i)) for i in range(len(ours))]
    if child.output == "equal" and (len(found) != len(ours) or not all(_same(*pair) for pair in rows)):
        raise InputError(f"{child.name}: promises the vectors of lexlip-infer f32 and has others; nothing was timed")
    shares = [len(np.intersect1d(a[0], b[0])) / len(a[0]) for a, b in rows if len(a[0])]
    return "equal" if child.output == "equal" else f"{np.mean(shares):.1%} of the terms"


def _same(ours: tuple[Any, Any], found: tuple[Any, Any]) -> bool:
    """Equal weights at every rank; terms whose weights hardly differ may stand in for one another."""
    a, b = (np.sort(weights) for _, weights in (ours, found))
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=0, atol=TOLERANCE))


def prepare(plan: Plan, folder: Path) -> list[str]:
    """Pixels and texts, and the modalities that the model has."""
    bundle = Bundle.open(plan.model)
    write_inputs(bundle, folder, plan.items, plan.items, plan.words)
    if bundle.has_tower("image"):
        files, preprocess = sorted((folder / "images").iterdir()), LexLIPEncoder(bundle).preprocess
        np.save(folder / "pixels.npy", np.stack([preprocess(Image.open(path)) for path in files]))
    lines = (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "texts.json").write_text(json.dumps([json.loads(line)["text"] for line in lines]), encoding="utf-8")
    return [modality for modality in ENGINES if bundle.has_tower(modality)]  # type: ignore[arg-type]


def run(plan: Plan, modality: str) -> dict[str, Any]:
    """The whole record.

    Raises:
        LexLIPError: see `measure`.
    """
    noise, results, skipped = [listen()], [], []
    with tempfile.TemporaryDirectory(prefix="lexlip-peers-") as name:
        for found in prepare(plan, Path(name)):
            if modality in ("both", found):
                rows, missing = measure(plan, found, Path(name))
                results += rows
                skipped += missing
    noise.append(listen())
    return {
        "benchmark": "peers",
        "model": Bundle.open(plan.model).manifest.name,
        "rounds": plan.rounds,
        "inputs": f"{plan.items} made-up photographs, texts of {plan.words} words; {plan.rounds} rounds",
        "threads": plan.threads,
        "machine": machine_info(),
        "noise": [each.model_dump() for each in noise],
        "skipped": skipped,
        "results": results,
    }


def _default_output() -> Path:
    return RESULTS / f"peers_{re.sub('[^a-z0-9]+', '_', processor().lower()).strip('_')}.json"


def random_model(preset: str, precisions: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """A bundle of random weights, and its checkpoint: one function and seed make both, so their weights are equal."""
    from lexlip_export.random_bundle import random_parts
    from lexlip_training.checkpoint import save_checkpoint

    paths = [each.rpartition(":")[::2] for each in precisions]
    bundle = make_random_bundle(preset, folder, paths, say)
    say(f"making a checkpoint of {preset}")
    model, tokenizer = random_parts(preset)
    save_checkpoint(folder / "checkpoint", model, tokenizer, {"notice": "Random weights: for benchmarks."})
    return bundle.folder, folder / "checkpoint"


def print_table(record: dict[str, Any]) -> None:
    """One line an engine, modality and batch size."""
    print("\npeers and ourselves in turn: pixels or texts to kept terms")
    print(f"{'engine':52s} {'of':5s} {'batch':>5s} {'items/s':>8s} {'95 %':>16s} {'x ours f32':>10s}  output")
    for row in record["results"]:
        rate, low, high = (f"{row[name]:.3g}" for name in ("items_per_s", "low", "high"))
        figures = f"{row['batch_size']:5d} {rate:>8s} {f'{low} - {high}':>16s} {row['speed_of_ours_f32']:10.2f}"
        print(f"{row['peer']:52s} {row['modality']:5s} {figures}  {row['output']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Peers and ourselves, on the same model and inputs, in turn.")
    parser.add_argument("--preset", help="lexlip-base or lexlip-tiny, with random weights, instead of a model")
    parser.add_argument("--model", type=Path, help="bundle")
    parser.add_argument("--checkpoint", type=Path, help="of the same model")
    parser.add_argument("--modality", choices=["image", "text", "both"], default="both")
    parser.add_argument("--batch-sizes", nargs="+", default=["1,16"], help="commas or blanks between them")
    parser.add_argument(
        *("--precisions", "--precision"),
        nargs="*",
        default=[],
        help="of ours, beside f32: int8, openvino:bf16, ...",
    )
    parser.add_argument("--items", type=int, default=16, help="inputs of a round, the largest batch at least")
    parser.add_argument("--words", type=int, default=38, help="of a text; [CLS] and [SEP] come on top")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=thread_count(None))
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="peers whose name or variant has it")
    parser.add_argument("--output", "--save", type=Path, default=_default_output())
    parser.add_argument("--json", action="store_true", help="print the record alone")
    parser.add_argument("--table", action="store_true", help="print the table alone")
    return parser


def _words(given: Sequence[str]) -> list[str]:
    return [word.strip() for each in given for word in each.split(",")]


def main() -> None:
    """Read the command line; the record is the last line of standard output."""
    given = _parser().parse_args()
    if (given.preset is None) == (given.model is None or given.checkpoint is None):
        sys.exit("error: give --preset NAME, or both --model BUNDLE and --checkpoint DIR")
    precisions = [each.replace("auto", "f32").removeprefix("onnxruntime:") for each in _words(given.precisions)]
    sizes = [int(size) for size in _words(given.batch_sizes)]
    try:
        with tempfile.TemporaryDirectory(prefix="lexlip-peers-") as name:
            model, checkpoint = given.model, given.checkpoint
            if given.preset is not None:
                model, checkpoint = random_model(given.preset, precisions, Path(name))
            items = max(given.items, *sizes)
            plan = Plan(
                model, checkpoint, precisions, sizes, items, given.words, given.rounds, given.threads, given.only
            )
            record = run(plan, given.modality)
    except LexLIPError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing was saved")
    for line in record["skipped"]:
        say(f"not measured: {line}")
    save(record, given.output)
    if not given.json:
        print_table(record)
    if not given.table:
        print(json.dumps(record))


if __name__ == "__main__":
    main()
