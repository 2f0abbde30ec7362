"""How fast is the lexicon head on this CPU, and how far from the hardware's limit?

Run `python benchmarks/bench_lexicon_head.py`. Hidden states and weights are Gaussian, which leaves the scan many
candidates: the heaviest terms hardly stand out. It says something about speed, nothing about retrieval quality. Before
anything is timed, native results have to equal float64 within rounding, and `exact` has to equal `f32` bit for bit.

Peers: the vocabulary-tiled ONNX graph that a bundle ships (ONNX Runtime, float32) and torch in float32, eager and
compiled (a tile at a time, so that it needs no gigabyte). What bounds all float32 variants is the bare matrix product,
torch's of the same shape, without maximum or ranking.

Wall clock depends on what else runs; CPU time (all threads) hardly does, so both are reported. A table comes first, one
line of JSON last; the same JSON goes to `--output`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch
from harness import Report, finish, machine, options

from lexlip_export.head_graph import head_graph
from lexlip_kernels.lexicon_head import PackedDecoder, RankedTerms, cpu_paths, lexicon_head, native, reference

K = 256
TILE = 1024


@dataclass(frozen=True)
class Shape:
    """Axis letters as everywhere: tokens L, hidden H, vocabulary V."""

    name: str
    tokens: int
    hidden: int
    vocab: int


SHAPES = (Shape("ViT-B/16 + BERT", 197, 768, 30522), Shape("lexlip-tiny", 49, 256, 4096))


class Problem:
    """One shape and batch, and everyone's prepared weights."""

    def __init__(self, shape: Shape, batch: int) -> None:
        random = np.random.default_rng(0)
        self.shape = shape
        self.weight = random.standard_normal((shape.vocab, shape.hidden), dtype=np.float32) * np.float32(
            shape.hidden**-0.5
        )
        self.bias = random.standard_normal(shape.vocab, dtype=np.float32) * np.float32(0.1)
        self.hidden = random.standard_normal((batch, shape.tokens, shape.hidden), dtype=np.float32)
        self.decoder = PackedDecoder.pack(self.weight, self.bias)

    def native(self, threads: int, mode: Any, cpu_path: Any) -> RankedTerms:
        """One of the native variants."""
        return lexicon_head(self.hidden, self.decoder, k=K, threads=threads, mode=mode, cpu_path=cpu_path)

    def onnx(self, threads: int) -> Callable[[], object]:
        """The exported graph on ONNX Runtime."""
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3  # `k` is an input with a default on purpose
        graph = head_graph(self.weight, self.bias, K, masked=False).SerializeToString()
        session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"hidden": self.hidden})

    def torch(self, threads: int, compiled: bool) -> Callable[[], object]:
        """Plain torch, a tile of the vocabulary at a time."""
        tiles = torch.from_numpy(self.weight).split(TILE)
        bias, hidden = torch.from_numpy(self.bias), torch.from_numpy(self.hidden)
        head = torch.compile(torch_head) if compiled else torch_head

        def run() -> object:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return head(hidden, tiles, bias)

        return run

    def bare_gemm(self, threads: int) -> Callable[[], object]:
        """All logits, and nothing else."""
        columns, tokens = torch.from_numpy(self.weight).T, torch.from_numpy(self.hidden).flatten(0, 1)
        logits = torch.empty(len(tokens), self.shape.vocab)

        def run() -> object:
            torch.set_num_threads(threads)
            return torch.mm(tokens, columns, out=logits)

        return run

    def check(self) -> None:
        """Stop unless native results are right."""
        wide = (array.astype(np.float64) for array in (self.hidden[:1], self.weight, self.bias))
        logits = reference.max_logits(*wide, np.ones((1, self.shape.tokens), np.uint8))
        expected = -np.sort(-np.log1p(np.maximum(logits, 0)), axis=1)[:, :K]
        for path in cpu_paths():
            exact, direct = (self.native(2, mode, path) for mode in ("exact", "f32"))
            np.testing.assert_allclose(exact.weights[:1], expected, atol=2e-5)
            np.testing.assert_array_equal(exact.weights, direct.weights)
            np.testing.assert_array_equal(exact.ids, direct.ids)

    def candidates(self, path: str) -> float:
        """Terms a row that the scan cannot rule out once the k-th weight is known."""
        assert self.decoder.panels is not None
        mask = np.ones(self.hidden.shape[:2], np.uint8)
        bounds = native.upper_bounds(
            self.hidden, self.weight, self.bias, mask, panels=self.decoder.panels, threads=2, cpu_path=path
        )
        least = np.expm1(self.native(2, "exact", path).weights[:, -1:].astype(np.float64))
        return float((bounds >= least).sum(axis=1).mean())


def torch_head(hidden: torch.Tensor, tiles: tuple[torch.Tensor, ...], bias: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What one writes in torch."""
    maxima = torch.cat([(hidden @ tile.T).amax(dim=1) for tile in tiles], dim=1) + bias
    weights, ids = maxima.relu().log1p().topk(K)
    return weights, ids


def timings(run: Callable[[], object], batch: int, seconds: float) -> dict[str, float]:
    """Wall clock (median, fastest) and CPU time (median) per image, over at least three runs."""
    run()
    wall, cpu = [], []
    end = time.perf_counter() + seconds
    while len(wall) < 3 or time.perf_counter() < end:
        start, start_cpu = time.perf_counter(), time.process_time()
        run()
        wall.append((time.perf_counter() - start) * 1e3 / batch)
        cpu.append((time.process_time() - start_cpu) * 1e3 / batch)
    return {
        "median_ms_per_image": round(float(np.median(wall)), 3),
        "min_ms_per_image": round(min(wall), 3),
        "median_cpu_ms_per_image": round(float(np.median(cpu)), 3),
    }


def engines(problem: Problem, threads: int) -> dict[str, Callable[[], object]]:
    """What is compared, by name."""
    compared: dict[str, Callable[[], object]] = {}
    for path in cpu_paths()[:-1]:
        for mode in ("exact", "f32"):
            compared[f"native {mode} {path}"] = partial(problem.native, threads, mode, path)
    return {
        **compared,
        "onnxruntime f32 tiled": problem.onnx(threads),
        "torch f32 tiled": problem.torch(threads, compiled=False),
        "torch.compile f32 tiled": problem.torch(threads, compiled=True),
        "bare GEMM f32 (torch)": problem.bare_gemm(threads),
    }


def measure(shape: Shape, batch: int, seconds: float) -> Report:
    """All engines at one shape and batch."""
    problem = Problem(shape, batch)
    problem.check()
    work = 2e-9 * shape.tokens * shape.hidden * shape.vocab
    results = [
        {"engine": name, "threads": threads, **timings(run, batch, seconds)}
        for threads in (1, 2)
        for name, run in engines(problem, threads).items()
    ]
    return {
        "shape": shape.name,
        "batch": batch,
        "tokens": shape.tokens,
        "hidden": shape.hidden,
        "vocab": shape.vocab,
        "gflop_per_image": round(work, 3),
        "candidates_per_row": {path: round(problem.candidates(path), 1) for path in cpu_paths()[:-1]},
        "results": results,
    }


def print_table(part: Report) -> None:
    """The figures for a person."""
    print(
        f"\n{part['shape']}: B={part['batch']} L={part['tokens']} H={part['hidden']} V={part['vocab']} k={K}", end="; "
    )
    print(f"{part['gflop_per_image']} GFLOP an image; candidates a row {part['candidates_per_row']}")
    print(f"{'engine':26} {'threads':>7} {'median ms':>10} {'min':>9} {'CPU ms':>9}   per image")
    for row in part["results"]:
        wall = f"{row['median_ms_per_image']:10.3f} {row['min_ms_per_image']:9.3f}"
        print(f"{row['engine']:26} {row['threads']:7} {wall} {row['median_cpu_ms_per_image']:9.3f}")


def main() -> None:
    """Check, time, print, write."""
    parser = options("Time the lexicon head on synthetic data.", "lexicon_head_cpu.json")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()

    report: Report = {
        "benchmark": "lexicon_head_cpu",
        "data": "synthetic, for speed only",
        "k": K,
        "machine": {**machine("onnxruntime", "torch"), "cpu_paths": cpu_paths()},
    }
    report["shapes"] = []
    for shape in SHAPES:
        for batch in arguments.batches:
            part = measure(shape, batch, arguments.seconds)
            print_table(part)
            report["shapes"].append(part)
    finish(report, arguments.output)


if __name__ == "__main__":
    main()
