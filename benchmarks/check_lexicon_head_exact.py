"""Does the int8 scan of `lexicon_head` ever lose a term? `exact` against `f32`, bit for bit, on many inputs.

Run `python benchmarks/check_lexicon_head_exact.py`. On every CPU path that scans here, `exact` has to give the ids and
weights that `f32` gives: for 1,000 random inputs of the shape of a ViT-B/16 with BERT's vocabulary, and, with
`LEXLIP_DATA` set, for 200 photographs through the shipped model and through an untrained `lexlip-base`. The last column
says how many terms the fastest path's scan could not rule out: how hard the inputs are.

A table comes first, one line of JSON last; the same JSON goes to `--output`. Exit status 1 if a single row differs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from head_inputs import RANDOM, Inputs, lexlip_tiny, random_inputs, random_lexlip_base
from machine import machine

from lexlip_kernels.lexicon_head import CpuPath, PackedDecoder, RankedTerms, cpu_paths, lexicon_head, native

__all__ = ["compare", "differing_rows"]

TOP_K = 128
THREADS = 2
DEFAULT_OUTPUT = Path(__file__).parent / "results" / "lexicon_head_exact.json"

Report = dict[str, Any]


def differing_rows(found: RankedTerms, expected: RankedTerms) -> int:
    """Rows whose ids, counts or weights are not the same, bit for bit."""
    ids = (found.ids != expected.ids).any(axis=1)
    weights = (found.weights.view(np.int32) != expected.weights.view(np.int32)).any(axis=1)
    return int((ids | weights | (found.counts != expected.counts)).sum())


def scanning_paths() -> tuple[Any, ...]:
    """CPU paths that scan in int8 here, fastest first: all but the portable one."""
    return tuple(path for path in cpu_paths() if path != "portable")


def candidates(decoder: PackedDecoder, hidden: npt.NDArray[np.float32], path: str, least: npt.NDArray[Any]) -> int:
    """Terms of all rows whose bound reaches the logit of the last kept weight, `least` (B, 1)."""
    assert decoder.panels is not None
    mask = np.ones(hidden.shape[:2], np.uint8)
    bounds = native.upper_bounds(
        hidden, decoder.weight, decoder.bias, mask, panels=decoder.panels, threads=THREADS, cpu_path=path
    )
    return int((bounds >= np.expm1(least.astype(np.float64))).sum())


def compare(inputs: Inputs) -> Report:
    """`exact` on every scanning path against `f32`, which is the same on all of them (tests see to that)."""
    paths: tuple[CpuPath, ...] = scanning_paths()
    rows, left = 0, 0
    differing = dict.fromkeys(paths, 0)
    for hidden in inputs.batches:
        run = partial(lexicon_head, hidden, inputs.decoder, k=TOP_K, threads=THREADS)
        expected = run(mode="f32", cpu_path=paths[0])
        for path in paths:
            differing[path] += differing_rows(run(mode="exact", cpu_path=path), expected)
        rows += len(hidden)
        left += candidates(inputs.decoder, hidden, paths[0], expected.weights[:, -1:])
    tokens, width = hidden.shape[1:]
    shape = {"tokens": tokens, "hidden": width, "vocab": inputs.decoder.vocab_size}
    return {"inputs": inputs.name, "rows": rows, **shape, "differing": differing, "candidates": round(left / rows)}


def sources(rows: int, photographs: list[Path]) -> list[Callable[[], Inputs]]:
    """What to compare on, made one after the other."""
    made: list[Callable[[], Inputs]] = [partial(random_inputs, name, rows // len(RANDOM)) for name in RANDOM]
    if photographs:
        made += [partial(lexlip_tiny, photographs), partial(random_lexlip_base, photographs)]
    return made


def real_photographs(count: int) -> list[Path]:
    """The first of Flickr8k, or none where there is no real data."""
    if "LEXLIP_DATA" not in os.environ:
        print("LEXLIP_DATA is not set: no photographs")
        return []
    return sorted(Path(os.environ["LEXLIP_DATA"], "flickr8k", "images").iterdir())[:count]


def print_row(part: Report) -> None:
    """One line for a person."""
    shape = f"L={part['tokens']} H={part['hidden']} V={part['vocab']}"
    paths, differ = len(part["differing"]), sum(part["differing"].values())
    print(f"{part['inputs']:32} {shape:22} {part['rows']:6} {paths:6} {differ:9} {part['candidates']:11}", flush=True)


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description="Compare the exact head with the float32 one, bit for bit.")
    parser.add_argument("--rows", type=int, default=1000, help="random inputs, over all distributions")
    parser.add_argument("--photographs", type=int, default=200, help="of $LEXLIP_DATA/flickr8k/images")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    arguments = parser.parse_args()
    if not scanning_paths():
        sys.exit("check_lexicon_head_exact: no CPU path scans here, so exact and f32 are one; nothing was compared")
    photographs = real_photographs(arguments.photographs)
    print(f"{'inputs':32} {'shape':22} {'rows':>6} {'paths':>6} {'differing':>9} candidates")
    report: Report = {
        "benchmark": "lexicon_head_exact",
        "k": TOP_K,
        "machine": {**machine("onnxruntime", "torch"), "cpu_paths": cpu_paths()},
        "parts": [],
    }
    for make in sources(arguments.rows, photographs):
        report["parts"].append(compare(make()))
        print_row(report["parts"][-1])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n" + json.dumps(report))
    sys.exit(1 if any(sum(part["differing"].values()) for part in report["parts"]) else 0)


if __name__ == "__main__":
    main()
