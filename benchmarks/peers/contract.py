"""What every peer keeps to, so that one runner can time them all in turn.

A peer is a process. It loads its model, encodes all inputs once with every batch size, writes the vectors beside
`--vectors` and prints a line of JSON about itself; for each batch size that then comes in as a line on standard input
it encodes everything again and prints {"seconds": ..., "cpu_seconds": ...}. It stays loaded between rounds, because
compiling takes some of them a minute. A peer that cannot run here says why in one line on standard error and ends with
status 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bench.machine import memory
from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import LexLIPError
from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Texts, or pixels (B, 3, S, S), to the vectors of a batch; None from a model whose vectors are of another kind.
Encode = Callable[[Any], SparseBatch | None]


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer is asked to do.

    Attributes:
        bundle: the model as ONNX graphs and arrays.
        checkpoint: the same model for torch.
        modality: of the inputs.
        inputs: texts, or pixels (N, 3, S, S) float32.
        batch_sizes: inputs at a time, one after the other.
        threads: of the CPU.
        top_k: terms to keep.
        vectors: where the vectors go, see `vectors_file`.
        variant: which of the script's engines.
    """

    bundle: Bundle
    checkpoint: Path
    modality: Modality
    inputs: Sequence[str] | npt.NDArray[np.float32]
    batch_sizes: Sequence[int]
    threads: int
    top_k: int
    vectors: Path
    variant: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A loaded engine.

    Attributes:
        name: for the table, version included where it is another's work.
        output: "equal" promises our exact path's vectors, but for the order of additions; "rounded" the same model in
            fewer bits; anything else says what comes out.
        encode: a batch.
    """

    name: str
    output: str
    encode: Encode


def read_job(engines: Sequence[str]) -> tuple[str, Job]:
    """Name of the engine and what it is to do, from the command line."""
    parser = argparse.ArgumentParser(description="A peer; benchmarks/peers/run.py starts it.")
    parser.add_argument("engine", choices=engines)
    for name in ("--model", "--checkpoint", "--inputs", "--vectors"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--modality", choices=["image", "text"], required=True)
    for name in ("--threads", "--top-k"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--batch-sizes", type=int, nargs="+", required=True)
    parser.add_argument("--variant", default="")
    given = parser.parse_args()
    return given.engine, Job(
        bundle=Bundle.open(given.model),
        checkpoint=given.checkpoint,
        modality=given.modality,
        inputs=_read_inputs(given.inputs),
        batch_sizes=given.batch_sizes,
        threads=given.threads,
        top_k=given.top_k,
        vectors=given.vectors,
        variant=given.variant,
    )


def _read_inputs(path: Path) -> Sequence[str] | npt.NDArray[np.float32]:
    if path.suffix == ".npy":
        pixels: npt.NDArray[np.float32] = np.load(path)
        return pixels
    texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return texts


def inputs_of(job: Job) -> Callable[[Any], dict[str, npt.NDArray[Any]]]:
    """A batch to what the bundle's graphs take: texts are tokenised here, so that every peer's time has it inside."""
    if job.modality == "image":
        return lambda pixels: {"pixel_values": pixels}
    tokenize = LexLIPEncoder(job.bundle).tokenize

    def tokenised(texts: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        ids, mask = tokenize(texts)
        return {"input_ids": ids, "attention_mask": mask}

    return tokenised


def answer(engines: Mapping[str, Callable[[Job], Peer]]) -> None:
    """A peer's whole life."""
    try:
        engine, job = read_job(list(engines))
        peer = engines[engine](job)
        found = {size: _run(peer, job, size) for size in job.batch_sizes}
    except (LexLIPError, ImportError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    for size, batches in found.items():
        if batches:
            SparseBatch.concatenate(batches).save(vectors_file(job.vectors, size))
    _say({"peer": peer.name, "output": peer.output, "peak_mb": round(memory()["peak"] / 1e6)})
    for line in sys.stdin:
        started, started_cpu = time.perf_counter(), time.process_time()
        _run(peer, job, int(line))
        _say({"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - started_cpu})


def vectors_file(vectors: Path, batch_size: int) -> Path:
    """Where a peer puts what it found with a batch size."""
    return vectors.with_name(f"{vectors.name}_{batch_size}.npz")


def _run(peer: Peer, job: Job, batch_size: int) -> list[SparseBatch]:
    starts = range(0, len(job.inputs), batch_size)
    batches = [peer.encode(job.inputs[start : start + batch_size]) for start in starts]
    return [batch for batch in batches if batch is not None]


def _say(record: dict[str, object]) -> None:
    print(json.dumps(record), flush=True)
