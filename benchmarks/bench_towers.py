"""Images a second through a ViT-B/16-sized image tower on the CPU, from pixels to sparse vectors, path by path.

    python benchmarks/bench_towers.py [BUNDLE]

BUNDLE is a lexlip-base bundle with int8 backbones; without one, a model with random weights is exported to a temporary
folder, which takes minutes and says nothing about retrieval quality. Compared, in one interleaved run of 2 threads:

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
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lexlip_infer.bundle import MANIFEST, Bundle, FileRecord, backbone_file
from lexlip_infer.runtime.choice import openvino_file
from lexlip_infer.runtime.decoder import read_decoder
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.options import RuntimeOptions
from lexlip_infer.runtime.tower import open_tower
from lexlip_infer.sparse import SparseBatch
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

Engine = Callable[[np.ndarray], SparseBatch]


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

    def __call__(self, pixels: np.ndarray) -> SparseBatch:
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


def prepared(source: Path | None, folder: Path) -> Bundle:
    """A copy of the bundle with everything that is compared, its int8 backbones made where it has none."""
    target = folder / "bundle"
    if source is None:
        random_bundle(target)
    else:
        target.symlink_to(source.resolve())
    bundle = Bundle.open(target)
    extra = {} if "int8" in bundle.precisions("image") else int8_file(bundle, folder)
    if look_around().openvino and openvino_file("image") not in bundle.manifest.files:
        from lexlip_export.openvino_int8 import openvino_int8_files, synthetic_samples

        image = bundle.manifest.image
        assert image is not None
        samples = synthetic_samples("image", image.size, bundle.manifest.vocab_size)
        extra |= openvino_int8_files(bundle.read(backbone_file("image", "f32")), "image", samples)
    (folder / Materialised.FILE).write_bytes(materialised_graph(bundle))
    return with_files(bundle, folder / "complete", extra)
