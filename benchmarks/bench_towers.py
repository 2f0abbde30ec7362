"""Images a second through a ViT-B/16-sized image tower on the CPU, from pixels to sparse vectors, path by path.

    python benchmarks/bench_towers.py [BUNDLE]

BUNDLE has the shapes of lexlip-base; without one, a model with random weights is exported to a temporary folder, which
takes a minute. Overlaps of random weights say nothing about retrieval. Compared, in one interleaved run of 2 threads:

    materialised   ONNX Runtime float32, logits (B, L, V) in memory: MatMul, ReduceMax, TopK; what a plain export does
    exact          ONNX Runtime float32 and the native head, the default on a CPU
    int8           ONNX Runtime dynamic int8 and the native head
    openvino-bf16  OpenVINO in bf16 and the native head
    openvino-int8  OpenVINO int8 by post-training quantisation and the native head

Before anything is timed, `exact` has to give the terms of `materialised`. Peak memory is that of a process of its own,
loading included. Writes benchmarks/results/towers_cpu.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from machine import machine
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from PIL import Image
from PIL.Image import Resampling

from lexlip_export.add_openvino_int8 import add_openvino_int8
from lexlip_infer.bundle import MANIFEST, Bundle, FileRecord, backbone_file
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.runtime.choice import RuntimeOptions, openvino_file
from lexlip_infer.runtime.heads import read_decoder
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.lexicon_head import cpu_paths

K = 128
THREADS = 2
BATCHES = (1, 8, 16)
PEAK_BATCH = 16
OUTPUT = Path(__file__).parent / "results" / "towers_cpu.json"
TARGETS = {"exact": 1.15, "int8": 2.4, "openvino-int8": 2.7}
PEAK_TARGET_MB = 800

OPTIONS = {
    "exact": RuntimeOptions("cpu", "f32", "onnxruntime", "native", THREADS),
    "int8": RuntimeOptions("cpu", "int8", "onnxruntime", "native", THREADS),
    "openvino-bf16": RuntimeOptions("cpu", "bf16", "openvino", "native", THREADS),
    "openvino-int8": RuntimeOptions("cpu", "int8", "openvino", "native", THREADS),
}

Pixels = npt.NDArray[np.float32]
Engine = Callable[[Pixels], SparseBatch]


class Materialised:
    """The peer: backbone and a head that holds all logits, as one graph on ONNX Runtime."""

    FILE = "materialised.onnx"

    def __init__(self, bundle: Bundle) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        path = bundle.folder.parent / self.FILE
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.vocab_size = bundle.manifest.vocab_size

    def __call__(self, pixels: Pixels) -> SparseBatch:
        """Pixels to the K heaviest terms."""
        weights, ids = self.session.run(None, {"pixel_values": pixels})
        return SparseBatch.from_ranked(ids, weights, self.vocab_size)


def materialised_graph(bundle: Bundle) -> bytes:
    """The image backbone with a plain head behind it."""
    model = onnx.load_from_string(bundle.read(backbone_file("image", "f32")))
    weight, bias = read_decoder(bundle, "image")
    constants = {"W": weight.T.copy(), "b": bias, "K": np.array([K]), "one": np.float32(1), "axis": np.array([1])}
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("MatMul", ["hidden", "W"], ["products"]),
            helper.make_node("Add", ["products", "b"], ["logits"]),
            helper.make_node("ReduceMax", ["logits", "axis"], ["pooled"], keepdims=0),
            helper.make_node("Relu", ["pooled"], ["positive"]),
            helper.make_node("Add", ["positive", "one"], ["shifted"]),
            helper.make_node("Log", ["shifted"], ["saturated"]),
            helper.make_node("TopK", ["saturated", "K"], ["weights", "ids"], axis=1),
        ]
    )
    del graph.output[:]
    outputs = (("weights", TensorProto.FLOAT), ("ids", TensorProto.INT64))
    graph.output.extend(helper.make_tensor_value_info(name, dtype, ["batch", K]) for name, dtype in outputs)
    return model.SerializeToString()


def engine(name: str, bundle: Bundle) -> Engine:
    """One of the compared, loaded."""
    if name == "materialised":
        return Materialised(bundle)
    tower = open_tower(bundle, "image", OPTIONS[name])
    return lambda pixels: tower({"pixel_values": pixels}, K)


def prepare(source: Path | None, folder: Path) -> Bundle:
    """Everything that is compared, in one folder; int8 backbones are made where the bundle has none."""
    if source is None:
        source = folder / "random"
        command = [sys.executable, "-m", "lexlip_export.random_bundle", "lexlip-base", str(source)]
        subprocess.run(command, check=True)
    say("preparing the models")
    bundle = Bundle.open(shutil.copytree(source, folder / "bundle"))
    backbone = bundle.read(backbone_file("image", "f32"))
    if "int8" not in bundle.precisions("image"):
        bundle = with_file(bundle, backbone_file("image", "int8"), dynamic_int8(backbone))
    if look_around().openvino and openvino_file("image") not in bundle.manifest.files:
        rows = [{"pixel_values": row[None]} for row in pixels(bundle, 8)]
        bundle = add_openvino_int8(bundle, {"image": rows}, unquantised="bf16")
    (folder / Materialised.FILE).write_bytes(materialised_graph(bundle))
    return bundle


def dynamic_int8(backbone: bytes) -> bytes:
    """The backbone in ONNX Runtime's dynamic int8."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "f32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(backbone)
        quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        return target.read_bytes()


def with_file(bundle: Bundle, name: str, data: bytes) -> Bundle:
    """The bundle with a further file."""
    (bundle.folder / name).write_bytes(data)
    record = FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    manifest = bundle.manifest.model_copy(update={"files": {**bundle.manifest.files, name: record}})
    (bundle.folder / MANIFEST).write_text(manifest.model_dump_json())
    return Bundle.open(bundle.folder)


def pixels(bundle: Bundle, count: int) -> Pixels:
    """Smooth random images, from almost plain to almost noise, preprocessed (B, 3, S, S)."""
    random = np.random.default_rng(0)
    settings = bundle.manifest.image
    assert settings is not None
    preprocess = ImagePreprocessor(settings.size, settings.resize, settings.mean, settings.std)
    coarse = (random.integers(0, 256, (2 << i % 4, 2 << i % 4, 3), dtype=np.uint8) for i in range(count))
    return np.stack([preprocess(Image.fromarray(grid).resize((256, 256), Resampling.BICUBIC)) for grid in coarse])


def check(engines: dict[str, Engine], batch: Pixels) -> dict[str, float]:
    """Share of the heaviest terms that each engine has in common with `materialised`; `exact` has to be right."""
    expected = engines["materialised"](batch)
    found = engines["exact"](batch)
    assert expected.nnz > 0, "no positive term; take another model"
    for row in range(len(batch)):
        ours, theirs = (np.sort(vectors.row(row)[1]) for vectors in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    return {name: round(overlap(run(batch), expected), 4) for name, run in engines.items()}


def overlap(found: SparseBatch, expected: SparseBatch) -> float:
    """Mean share of the expected terms that were found, over rows that expect any."""
    pairs = [(set(found.row(i)[0]), set(expected.row(i)[0])) for i in range(len(found))]
    return float(np.mean([len(ours & theirs) / len(theirs) for ours, theirs in pairs if theirs]))


def measure(engines: dict[str, Engine], batch: Pixels, rounds: int) -> dict[str, Any]:
    """Milliseconds an image and speed against `materialised`, every engine in turn in every round."""
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        say(f"batch {len(batch)}, round {number} of {rounds}")
        for name, run in engines.items():
            time.sleep(0.05)  # until the threads of the engine before have stopped waiting for work
            started, started_cpu = time.perf_counter(), time.process_time()
            run(batch)
            took = time.perf_counter() - started, time.process_time() - started_cpu
            if number > 0:  # the first touches memory and compiles
                clocks[name].append(took)
    wall = {name: np.array(took)[:, 0] / len(batch) for name, took in clocks.items()}
    cpu = {name: float(np.median(np.array(took)[:, 1])) / len(batch) for name, took in clocks.items()}
    return {name: figures(wall[name], wall["materialised"]) | {"cpu_ms": round(cpu[name] * 1e3, 2)} for name in engines}


def figures(took: npt.NDArray[np.float64], base: npt.NDArray[np.float64]) -> dict[str, float]:
    """Quantiles of the wall clock an image, and the median of the ratios of each round."""
    p10, median, p90 = np.quantile(took, [0.1, 0.5, 0.9]) * 1e3
    values = {"median_ms": median, "p10_ms": p10, "p90_ms": p90, "speed": np.median(base / took)}
    return {name: round(float(value), 2) for name, value in values.items()}


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def peak_of(name: str, folder: Path) -> float:
    """Peak memory in MB of a process that loads one engine and encodes PEAK_BATCH images twice."""
    say(f"peak memory of {name}")
    command = [sys.executable, __file__, "--peak-of", name, str(folder)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def print_own_peak(name: str, folder: Path) -> None:
    """The child's part."""
    bundle = Bundle.open(folder)
    run = engine(name, bundle)
    batch = pixels(bundle, PEAK_BATCH)
    for _ in range(2):
        run(batch)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert kilobytes is not None
    print(int(kilobytes[1]) / 1e3)


def print_table(report: dict[str, Any]) -> None:
    """For people, targets included."""
    print(f"{'batch':>5} {'path':<15}{'ms/image':>10}{'p10':>8}{'p90':>8}{'CPU ms':>8}{'speed':>8}  target")
    for batch, rows in report["batches"].items():
        for name, row in rows.items():
            target = f">= {TARGETS[name]}" if name in TARGETS else ""
            print(
                f"{batch:>5} {name:<15}{row['median_ms']:>10.1f}{row['p10_ms']:>8.1f}{row['p90_ms']:>8.1f}"
                f"{row['cpu_ms']:>8.1f}{row['speed']:>8.2f}  {target}"
            )
    print(f"\n{'path':<15}{'peak MB':>9}{'saved':>8}{'overlap':>9}")
    peaks = report["peak_mb"]
    for name, peak in peaks.items():
        saved = peaks["materialised"] - peak
        target = f"  target >= {PEAK_TARGET_MB}" if name == "exact" else ""
        print(f"{name:<15}{peak:>9.0f}{saved:>8.0f}{report['overlap'][name]:>9.3f}{target}")


def run_all(source: Path | None, rounds: int, output: Path) -> None:
    """Check, time, print, write."""
    with tempfile.TemporaryDirectory() as temporary:
        bundle = prepare(source, Path(temporary))
        names = ["materialised", *(name for name in OPTIONS if look_around().openvino or "openvino" not in name)]
        report: dict[str, Any] = {"benchmark": "towers_cpu", "model": bundle.manifest.name, "k": K, "threads": THREADS}
        report["machine"] = machine("onnxruntime", "openvino", "nncf") | {"cpu_path": cpu_paths()[0]}
        report["peak_mb"] = {name: round(peak_of(name, bundle.folder)) for name in names}
        engines = {name: engine(name, bundle) for name in names}
        batch = pixels(bundle, max(BATCHES))
        report["overlap"] = check(engines, batch)
        report["rounds"] = rounds
        report["batches"] = {str(size): measure(engines, batch[:size], rounds) for size in BATCHES}
    print_table(report)
    output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time image towers on the CPU, path by path.")
    parser.add_argument("bundle", type=Path, nargs="?", help="of lexlip-base's shapes; random weights when absent")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print_own_peak(arguments.peak_of, arguments.bundle)
    else:
        run_all(arguments.bundle, arguments.rounds, arguments.output)


if __name__ == "__main__":
    main()
