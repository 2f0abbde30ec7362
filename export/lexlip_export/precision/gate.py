"""The parity gate: a precision enters a bundle only after it was compared with float32 and kept its limits.

It encodes captioned photographs where the user has some, else deterministic synthetic inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
from tokenizers import Tokenizer

from lexlip_export.graph_builder import MINIMUM
from lexlip_export.precision.biases import corrected, input_means
from lexlip_export.precision.candidates import Candidate, Half, Int8
from lexlip_export.precision.comparison import Comparison, encode, kept_terms, retrieval_figures
from lexlip_export.precision.inputs import GateInputs, calibration_inputs, gate_inputs
from lexlip_export.precision.int8 import dynamic_int8_graph, is_convolutional, static_int8_graph
from lexlip_export.precision.report import ParityReport, PrecisionReport, RetrievalFigures
from lexlip_export.settings import ExportSettings, GateSettings
from lexlip_infer.bundle import Modality
from lexlip_infer.errors import BundleError
from lexlip_infer.impacts import QuantisationSettings
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_training.model import LexLIP


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
        InputError: the gate's captions or the calibration images cannot be used, or there are none to calibrate on.
    """
    candidates: list[Candidate] = []
    if "fp16" in settings.precisions:
        candidates.append(Half(model))
    if "int8" in settings.precisions:
        candidates.append(_int8(model, backbones, settings, gate))
    if not candidates:
        return {}, None
    report = run_gate(model, tuple(backbones), candidates, gate_inputs(model.config, tokenizer, gate), settings, gate)
    graphs: dict[str, onnx.ModelProto] = {}
    for candidate in candidates:
        for modality in backbones:
            graphs |= candidate.graphs(modality, getattr(settings, f"{modality}_top_k"))
    return graphs, report


def _int8(
    model: LexLIP, backbones: Mapping[Modality, onnx.ModelProto], settings: ExportSettings, gate: GateSettings
) -> Int8:
    """Static where the backbone is convolutional, dynamic elsewhere."""
    graphs: dict[Modality, onnx.ModelProto] = {}
    stored: dict[Modality, onnx.ModelProto] = {}
    calibration = None
    for modality, backbone in backbones.items():
        name = f"{modality} int8 backbone"
        if modality == "image" and is_convolutional(backbone):
            calibration, inputs = calibration_inputs(model.config, gate)
            batches = list(inputs)
            means = input_means(backbone, batches)
            graphs[modality] = static_int8_graph(corrected(backbone, means), batches, name)
            if settings.shares_weights:
                stored[modality] = corrected(backbone, means, smallest=MINIMUM)
        else:
            graphs[modality] = dynamic_int8_graph(backbone, name)
    return Int8(model, graphs, calibration, stored)


Vectors = dict[Modality, SparseBatch]


def run_gate(
    model: LexLIP,
    modalities: Sequence[Modality],
    candidates: Sequence[Candidate],
    inputs: GateInputs,
    settings: ExportSettings,
    gate: GateSettings,
) -> ParityReport:
    """Measure every candidate against the model and judge it.

    Args:
        model: in float32 and evaluation mode.
        modalities: towers that it has.
        candidates: precisions under test.
        inputs: what to encode.
        settings: kept terms, similarity and quantiser.
        gate: the limits.

    Raises:
        BundleError: a candidate is over a limit, or overflows; the message says which, where and by how much.
        InputError: the inputs cannot be read.
    """
    comparisons: list[dict[Modality, Comparison]] = [{} for _ in candidates]
    vectors: Vectors = {}
    for modality in modalities:
        top_k = min(getattr(settings, f"{modality}_top_k"), model.config.vocab_size)
        for towers in comparisons:
            towers[modality] = Comparison(top_k)
        compared = [(candidate, towers[modality]) for candidate, towers in zip(candidates, comparisons, strict=True)]
        vectors[modality] = _compare(model, modality, inputs, compared)
    reports = []
    for candidate, towers in zip(candidates, comparisons, strict=True):
        others = {modality: tower.vectors() for modality, tower in towers.items()}
        report = PrecisionReport(
            precision=candidate.precision,
            arithmetic=candidate.arithmetic,
            inputs=inputs.description,
            calibration=candidate.calibration,
            towers={modality: tower.figures() for modality, tower in towers.items()},
            retrieval=_retrieval(vectors, others, inputs, settings) or "not measured",
            largest_activation=candidate.largest,
            thresholds=getattr(gate, candidate.precision),
        )
        judge(report)
        reports.append(report)
    return ParityReport(precisions=tuple(reports))


def _compare(
    model: LexLIP, modality: Modality, inputs: GateInputs, compared: Sequence[tuple[Candidate, Comparison]]
) -> SparseBatch:
    """Encode one tower's inputs with the model and every candidate; returns the model's kept terms."""
    kept = []
    for batch in inputs.batches(modality):
        reference = encode(model, modality, batch)
        kept.append(kept_terms(reference, compared[0][1].top_k))
        for candidate, comparison in compared:
            comparison.add(reference, kept[-1], candidate.encode(modality, batch), batch.get("attention_mask"))
    return SparseBatch.concatenate(kept)


def _retrieval(
    vectors: Vectors, others: Vectors, inputs: GateInputs, settings: ExportSettings
) -> RetrievalFigures | None:
    """Nothing without captions, or where a tower is missing."""
    if inputs.data is None or len(vectors) < 2:
        return None
    quantiser = QuantisationSettings(settings.scale, settings.cap, settings.similarity == "cosine")
    return retrieval_figures(vectors, others, inputs.data, quantiser)


def judge(report: PrecisionReport) -> None:
    """Refuse a precision that is over one of its limits.

    Raises:
        BundleError: it is; the message names every figure that is over.
    """
    over = [
        f"{what} {value:.4g}, the limit is {limit:g} ({name})"
        for name, what, value, limit, kept in _figures(report)
        if not kept
    ]
    if over:
        raise BundleError(
            f"precision {report.precision} refused on {report.inputs}: {'; '.join(over)}; "
            f"export without --precision {report.precision}, or loosen GateSettings.{report.precision} knowingly"
        )


def _figures(report: PrecisionReport) -> Iterator[tuple[str, str, float, float, bool]]:
    """Name of the limit, what was measured, its value, the limit, and whether it is kept (never by NaN)."""
    limits = report.thresholds
    for modality, tower in report.towers.items():
        for name, what, value in (
            ("hidden_mean", "hidden states' relative mean error is", tower.hidden.relative_mean),
            ("weight_max", "largest error of a weight is", tower.weights.max),
            ("weight_mean", "mean error of weights is", tower.weights.mean),
        ):
            limit = getattr(limits, name)
            yield name, f"{modality} {what}", value, limit, value <= limit
        what = f"{modality} overlap of the top {tower.top_k} is"
        yield "overlap", what, tower.overlap, limits.overlap, tower.overlap >= limits.overlap
    if report.retrieval == "not measured":
        return
    for way in ("text_to_image", "image_to_text"):
        direction = getattr(report.retrieval, way)
        what = way.replace("_", " ")
        loss, agreement = direction.loss, direction.agreement
        yield "recall_loss", f"{what} loses recall by", loss, limits.recall_loss, loss <= limits.recall_loss
        yield "agreement", f"{what} agreement is", agreement, limits.agreement, agreement >= limits.agreement
