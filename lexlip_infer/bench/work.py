"""What one item costs at least: operations and bytes of backbone and head, and the floors that follow from ceilings.

Operations are counted on the shapes that the model's own graph has. ONNX Runtime's profiler records the shapes of every
operator; the model is run once with all optimisations off, so that the operators are still those of the standard.
Products and convolutions are counted, as is usual: the rest of a transformer is below one per cent. What a quantised
copy of the model computes is the same work in another format.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bundle import Bundle, Modality, backbone_file
from lexlip_infer.runtime.graphs import read_graph


class Work(NamedTuple):
    """Of one image or text, padding included.

    Attributes:
        backbone: operations.
        head: operations.
        tokens: L.
        input_bytes: of what the backbone takes.
        hidden_bytes: of what it gives, float32.
        decoder_size: weights of the decoder, V x H.
    """

    backbone: int
    head: int
    tokens: int
    input_bytes: int
    hidden_bytes: int
    decoder_size: int


class Floor(NamedTuple):
    """The least time of some work.

    Attributes:
        ms: milliseconds.
        bound: which ceiling sets it.
    """

    ms: float
    bound: str


def work_of(bundle: Bundle, modality: Modality, text_tokens: int) -> Work:
    """Count; loads the float32 backbone and runs it once.

    Args:
        bundle: of the model.
        modality: of the tower.
        text_tokens: of a text, special ones included; nothing to images.

    Raises:
        BundleError: the backbone is missing or damaged.
    """
    manifest = bundle.manifest
    inputs: dict[str, npt.NDArray[Any]]
    if modality == "image":
        assert manifest.image is not None, "callers ask for towers that there are"
        inputs = {"pixel_values": np.zeros((1, 3, manifest.image.size, manifest.image.size), np.float32)}
    else:
        ones = np.ones((1, text_tokens), np.int64)
        inputs = {"input_ids": ones, "attention_mask": ones}
    backbone, tokens = backbone_operations(bundle, modality, inputs)
    decoder_size = manifest.hidden_size * manifest.vocab_size
    return Work(
        backbone=backbone,
        head=head_operations(tokens, manifest.hidden_size, manifest.vocab_size),
        tokens=tokens,
        input_bytes=sum(array.nbytes for array in inputs.values()),
        hidden_bytes=4 * tokens * manifest.hidden_size,
        decoder_size=decoder_size,
    )


def floor(operations: float, moved: float, precision: str, ceilings: Ceilings) -> Floor | None:
    """The later of the two: arithmetic at its ceiling, or bytes at the speed of a copy.

    Args:
        operations: multiplications and additions.
        moved: bytes that have to be read or written at least once.
        precision: of the arithmetic.
        ceilings: of the device.

    Returns:
        None where this precision has no measured ceiling.
    """
    if operations and precision not in ceilings.gflop_per_s:
        return None
    arithmetic = operations / ceilings.gflop_per_s[precision] / 1e6 if operations else 0.0
    memory = moved / ceilings.copy_gb_per_s / 1e6
    return Floor(arithmetic, f"arithmetic, {precision}") if arithmetic >= memory else Floor(memory, "memory")


Shape = list[int]


def backbone_operations(bundle: Bundle, modality: Modality, inputs: Mapping[str, npt.NDArray[Any]]) -> tuple[int, int]:
    """Operations of one run, a multiplication and an addition counted as two, and the tokens (L) that come out.

    Args:
        bundle: of the model.
        modality: of the tower.
        inputs: what the backbone takes; the count is of this very batch.

    Raises:
        BundleError: the backbone is missing or damaged.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        graph = read_graph(bundle, backbone_file(modality, "f32"))
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        (hidden,) = session.run(["hidden"], dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and "op_name" in event.get("args", {})]
    total = sum(
        operator_operations(node["op_name"], _shapes(node["input_type_shape"]), _shapes(node["output_type_shape"]))
        for node in nodes
    )
    return total, int(hidden.shape[1])


def head_operations(tokens: int, hidden_size: int, vocab_size: int) -> int:
    """Of the lexicon head on one row of `tokens` hidden states: every one with every term."""
    return 2 * tokens * hidden_size * vocab_size


def operator_operations(name: str, inputs: list[Shape], outputs: list[Shape]) -> int:
    """Of one ONNX operator: products and convolutions, bias additions left out; 0 for everything else."""
    if name == "MatMul":
        return 2 * math.prod(outputs[0]) * inputs[0][-1]
    if name == "Gemm":  # either operand may be transposed; the rows of the result say what is left of the first
        return 2 * math.prod(outputs[0]) * (math.prod(inputs[0]) // outputs[0][0])
    if name == "Conv":  # a kernel is (out channels, in channels of its group, height, width)
        return 2 * math.prod(outputs[0]) * math.prod(inputs[1][1:])
    return 0


def _shapes(recorded: list[dict[str, Shape]]) -> list[Shape]:
    """Of every operand, its type left out."""
    return [shape for operand in recorded for shape in operand.values()]
