"""Images a second from a folder of photographs to part files on disk, with the shipped model, at 1 to all threads.

    python benchmarks/bench_encode.py FOLDER

Decoding, resizing, inference, quantising and writing are all inside; loading the model and compiling the quantiser are
not. Checks first that every thread count writes the same number of documents. Writes benchmarks/results/encode.json.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

from lexlip_infer import LexLIPEncoder
from lexlip_infer.pipeline.manifest import RunSettings
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.sources import ImageFolder
from lexlip_infer.runtime.threads import thread_count

RUNS = 5


def main(folder: Path) -> None:
    """Measure every thread count in turn, RUNS times over, and report medians."""
    source = ImageFolder(folder)
    encoders = {threads: LexLIPEncoder.from_pretrained(threads=threads) for threads in range(1, thread_count(None) + 1)}
    seconds: dict[int, list[float]] = {threads: [] for threads in encoders}
    documents = set()
    for run in range(RUNS + 1):
        for threads, encoder in encoders.items():
            took, written = encode(encoder, source, folder)
            documents.add(written)
            if run > 0:  # the first loads graphs and compiled kernels
                seconds[threads].append(took)
    assert len(documents) == 1, documents
    rates = {str(threads): round(max(documents) / statistics.median(took), 1) for threads, took in seconds.items()}
    for threads, rate in rates.items():
        print(f"{threads} threads: {rate} images/s")
    record = {"benchmark": "encode", "model": "lexlip-tiny", "images": source.count, "runs": RUNS}
    record |= {"images_per_s_by_threads": rates, "machine": machine("onnxruntime")}
    (Path(__file__).parent / "results" / "encode.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))


def encode(encoder: LexLIPEncoder, source: ImageFolder, folder: Path) -> tuple[float, int]:
    """Seconds and documents of one run into a new folder."""
    bundle = encoder.manifest
    settings = RunSettings(
        modality="image",
        source=str(folder),
        source_fingerprint=source.fingerprint,
        source_count=source.count,
        model=None,
        model_name=bundle.name,
        model_fingerprint=encoder.bundle.fingerprint,
        top_k=bundle.top_k.image,
        scale=bundle.quantisation.scale,
        cap=bundle.quantisation.cap,
        normalise=bundle.similarity == "cosine",
        items_per_shard=5000,
    )
    with tempfile.TemporaryDirectory() as output:
        started = time.perf_counter()
        manifest = encode_collection(encoder, source, Path(output) / "out", settings, 16, lambda *_: None)
        return time.perf_counter() - started, manifest.documents


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/bench_encode.py FOLDER")
    main(Path(sys.argv[1]))
