"""Peers and ourselves, on the same model and the same inputs, in turn, in one run.

    lexlip-bench --peers --preset lexlip-base --random-weights       # makes everything and calls this
    python benchmarks/peers/run.py --model BUNDLE --checkpoint DIR   # a trained model, in both of its forms

What is timed is pixels, or texts, to the kept terms: reading and writing files is the same for everybody and left
out, tokenising is inside. Every engine stays loaded in a process of its own and encodes all inputs once a round. Those
that promise our vectors are held to it before anything is timed. Writes results/peers_<machine>.json.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from child import Child
from PIL import Image

from lexlip_infer.bench.inputs import write_images, write_texts
from lexlip_infer.bench.intervals import median_interval
from lexlip_infer.bench.machine import machine_info, processor
from lexlip_infer.bench.noise import listen
from lexlip_infer.bundle import Bundle
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import BackendUnavailable, InputError, LexLIPError
from lexlip_infer.runtime.threads import thread_count
from lexlip_infer.sparse import SparseBatch

RESULTS = Path(__file__).parents[1] / "results"
#: Largest difference of a weight that the order of additions may make.
TOLERANCE = 1e-3
PAUSE = 0.05  # until the threads of the engine before have stopped waiting for work

OURS = "ours.py f32"
ENGINES = {
    "image": [
        OURS,
        "ours.py int8",
        "ours.py openvino:bf16",
        "ours.py openvino:int8",
        "plain_torch.py eager",
        "plain_torch.py compile",
        "plain_onnxruntime.py",
        "plain_openvino.py f32",
        "plain_openvino.py bf16",
        "plain_openvino.py int8",
        "clip_vision.py",
    ],
    "text": [
        OURS,
        "ours.py int8",
        "ours.py openvino:bf16",
        "ours.py openvino:int8",
        "plain_torch.py eager",
        "plain_torch.py compile",
        "plain_onnxruntime.py",
        "plain_openvino.py f32",
        "plain_openvino.py bf16",
        "plain_openvino.py int8",
        "sparse_encoder.py torch",
        "sparse_encoder.py onnx",
    ],
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        model: folder of the bundle.
        checkpoint: of the same model.
        items: inputs a round.
        words: of a text.
        rounds: turns.
        threads: of every engine.
        only: parts of the names of engines to measure beside ours; all where there are none.
    """

    model: Path
    checkpoint: Path
    items: int
    words: int
    rounds: int
    threads: int
    only: Sequence[str]


def measure(plan: Plan, modality: str, batch_size: int, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the record, and one line for each engine that cannot run here.

    Raises:
        InputError: an engine that promises our vectors has others.
        BackendUnavailable: we cannot run here, or an engine died.
    """
    rows, skipped = [], []
    with ExitStack() as stack:
        children = []
        for engine in [each for each in ENGINES[modality] if each == OURS or _wanted(each, plan.only)]:
            say(f"{modality}, batch {batch_size}: loading {engine}")
            try:
                child = _start(plan, engine, modality, batch_size, folder)
            except BackendUnavailable as error:
                if engine == OURS:
                    raise
                skipped.append(f"{engine}, {modality}: {error}")
                continue
            stack.callback(child.close)
            children.append(child)
        outputs = [compare(child, children[0].vectors) for child in children]
        times = _rounds(children, plan)
        for child, output, took in zip(children, outputs, times, strict=True):
            rate = median_interval([[seconds] for seconds in took])
            row = {"peer": child.name, "modality": modality, "batch_size": batch_size, "output": output}
            row |= {"items_per_s": 1 / rate.median, "low": 1 / rate.high, "high": 1 / rate.low}
            ratio = float(np.median(np.array(times[0]) / np.array(took)))
            rows.append(row | {"speed_of_ours_f32": ratio, "seconds_per_item": took})
    return rows, skipped


def _wanted(engine: str, only: Sequence[str]) -> bool:
    return not only or any(word in engine for word in only)


def _start(plan: Plan, engine: str, modality: str, batch_size: int, folder: Path) -> Child:
    script, _, variant = engine.partition(" ")
    bundle = Bundle.open(plan.model)
    values = {
        "model": plan.model,
        "checkpoint": plan.checkpoint,
        "modality": modality,
        "inputs": folder / ("pixels.npy" if modality == "image" else "texts.json"),
        "batch-size": batch_size,
        "threads": plan.threads,
        "top-k": getattr(bundle.manifest.top_k, modality),
        "variant": variant,
    }
    arguments = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    vectors = folder / f"{re.sub('[^a-z0-9]+', '-', engine)}_{modality}_{batch_size}.npz"
    return Child(script, arguments, vectors, plan.threads)


def _rounds(children: Sequence[Child], plan: Plan) -> list[list[float]]:
    """Seconds an item of every round, for each; they take turns."""
    times: list[list[float]] = [[] for _ in children]
    for turn in range(plan.rounds):
        say(f"round {turn + 1} of {plan.rounds}")
        for child, took in zip(children, times, strict=True):
            time.sleep(PAUSE)
            took.append(child.seconds() / plan.items)
    return times


def compare(child: Child, expected: Path) -> str:
    """What an engine's vectors are beside our exact ones.

    Raises:
        InputError: it promised the same.
    """
    if child.output not in ("equal", "rounded"):
        return child.output
    ours, found = SparseBatch.load(expected), SparseBatch.load(child.vectors)
    rows = [(ours.row(i), found.row(i)) for i in range(len(ours))]
    if child.output == "equal" and (len(found) != len(ours) or not all(_same(*pair) for pair in rows)):
        raise InputError(f"{child.name}: promises the vectors of lexlip-infer f32 and has others; nothing was timed")
    shares = [len(np.intersect1d(a[0], b[0])) / len(a[0]) for a, b in rows if len(a[0])]
    return "equal" if child.output == "equal" else f"{np.mean(shares):.1%} of the terms"


def _same(ours: tuple[Any, Any], found: tuple[Any, Any]) -> bool:
    """Equal weights at every rank; terms whose weights hardly differ may stand in for one another."""
    a, b = (np.sort(weights) for _, weights in (ours, found))
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=0, atol=TOLERANCE))


def write_inputs(plan: Plan, folder: Path) -> list[str]:
    """Pixels and texts, and the modalities that the model has."""
    bundle = Bundle.open(plan.model)
    encoder = LexLIPEncoder(bundle)
    if bundle.has_tower("image"):
        (folder / "images").mkdir()
        write_images(folder / "images", plan.items)
        files = sorted((folder / "images").iterdir())
        np.save(folder / "pixels.npy", np.stack([encoder.preprocess(Image.open(path)) for path in files]))
    if bundle.has_tower("text"):
        write_texts(folder / "texts.jsonl", encoder.vocabulary.terms, plan.items, plan.words)
        lines = (folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / "texts.json").write_text(json.dumps([json.loads(line)["text"] for line in lines]), encoding="utf-8")
    return [modality for modality in ENGINES if bundle.has_tower(modality)]  # type: ignore[arg-type]


def run(plan: Plan, modality: str, batch_sizes: Sequence[int]) -> dict[str, Any]:
    """The whole record.

    Raises:
        LexLIPError: see `measure`.
    """
    noise, results, skipped = [listen()], [], []
    with tempfile.TemporaryDirectory(prefix="lexlip-peers-") as name:
        for found in write_inputs(plan, Path(name)):
            for size in batch_sizes if modality in ("both", found) else ():
                rows, missing = measure(plan, found, size, Path(name))
                results += rows
                skipped += [line for line in missing if line not in skipped]
    noise.append(listen())
    return {
        "benchmark": "peers",
        "model": Bundle.open(plan.model).manifest.name,
        "inputs": f"{plan.items} made-up photographs, texts of {plan.words} words; {plan.rounds} rounds",
        "threads": plan.threads,
        "machine": machine_info(),
        "noise": [each.model_dump() for each in noise],
        "skipped": skipped,
        "results": results,
    }


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def _default_output() -> Path:
    return RESULTS / f"peers_{re.sub('[^a-z0-9]+', '_', processor().lower()).strip('_')}.json"


def _save(record: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def main() -> None:
    """Read the command line; the record is the last line of standard output."""
    parser = argparse.ArgumentParser(description="Peers and ourselves, on the same model and inputs, in turn.")
    parser.add_argument("--model", type=Path, required=True, help="bundle")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of the same model")
    parser.add_argument("--modality", choices=["image", "text", "both"], default="both")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--items", type=int, default=16, help="inputs of a round")
    parser.add_argument("--words", type=int, default=38, help="of a text; [CLS] and [SEP] come on top")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=thread_count(None))
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="peers whose script or variant has it")
    parser.add_argument("--output", type=Path, default=_default_output())
    given = parser.parse_args()
    plan = Plan(given.model, given.checkpoint, given.items, given.words, given.rounds, given.threads, given.only)
    try:
        record = run(plan, given.modality, given.batch_sizes)
    except LexLIPError as error:
        sys.exit(f"error: {error}")
    for line in record["skipped"]:
        say(f"not measured: {line}")
    _save(record, given.output)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
