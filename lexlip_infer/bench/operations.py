"""How many multiplications and additions a backbone needs, counted on the shapes that its own graph has.

ONNX Runtime's profiler records the shapes of every operator; the model is run once with all optimisations off, so that
the operators are still those of the standard. Products and convolutions are counted, as is usual: the rest of a
transformer is below one per cent. What a quantised copy of the model computes is the same work in another format.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality, backbone_file

__all__ = ["backbone_operations", "head_operations", "operator_operations"]

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
        graph = bundle.read(backbone_file(modality, "f32"))
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
