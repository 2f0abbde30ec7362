"""Precisions beside float32: half and dynamic int8, each let into a bundle by the parity gate alone."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from tokenizers import Tokenizer

from lexlip_export.gate_settings import GateSettings
from lexlip_export.precision.candidates import Candidate, Half, Int8
from lexlip_export.precision.gate import run_gate
from lexlip_export.precision.inputs import CaptionInputs, GateInputs, SyntheticInputs
from lexlip_export.precision.int8 import int8_graph
from lexlip_export.precision.report import ParityReport
from lexlip_export.settings import ExportSettings
from lexlip_infer.bundle import Modality
from lexlip_training.model import LexLIP

__all__ = ["precision_graphs"]


def precision_graphs(
    model: LexLIP,
    tokenizer: Tokenizer | None,
    backbones: Mapping[Modality, onnx.ModelProto],
    settings: ExportSettings,
    gate: GateSettings,
) -> tuple[dict[str, onnx.ModelProto], ParityReport | None]:
    """Graphs of the precisions that the settings ask for beside float32, and the report of their gate.

    Args:
        model: in float32 and evaluation mode.
        tokenizer: for gate captions.
        backbones: float32 graphs of the towers that there are; not changed.
        settings: which precisions, and what retrieval is measured with.
        gate: inputs and limits.

    Returns:
        Graphs by path in the bundle, and the report; nothing of either where float32 alone is asked for.

    Raises:
        BundleError: a precision did not pass the gate, or a graph is not of the bundle's format.
        InputError: the gate's captions cannot be used.
    """
    candidates: list[Candidate] = []
    if "fp16" in settings.precisions:
        candidates.append(Half(model))
    if "int8" in settings.precisions:
        quantised = {name: int8_graph(graph, f"{name} int8 backbone") for name, graph in backbones.items()}
        candidates.append(Int8(model, quantised))
    if not candidates:
        return {}, None
    report = run_gate(model, tuple(backbones), candidates, _inputs(model, tokenizer, gate), settings, gate)
    graphs: dict[str, onnx.ModelProto] = {}
    for candidate in candidates:
        for modality in backbones:
            graphs |= candidate.graphs(modality, getattr(settings, f"{modality}_top_k"))
    return graphs, report


def _inputs(model: LexLIP, tokenizer: Tokenizer | None, gate: GateSettings) -> GateInputs:
    if gate.captions is None:
        return SyntheticInputs(model.config)
    return CaptionInputs(gate.captions, gate.split, model.config, tokenizer)
