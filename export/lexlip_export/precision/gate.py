"""The parity gate: a precision enters a bundle only after it was compared with float32 and kept its limits.

It encodes captioned photographs where the user has some, else deterministic synthetic inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lexlip_export.precision.candidates import Candidate, Half, Int8, int8_graph
from lexlip_export.precision.comparison import Comparison, encode, kept_terms, retrieval_figures
from lexlip_export.precision.report import ParityReport, PrecisionReport, RetrievalFigures
from lexlip_export.settings import ExportSettings, GateSettings
from lexlip_infer.bundle import Modality
from lexlip_infer.datasets import CaptionedImages, read_captioned_images
from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.impacts import QuantisationSettings
from lexlip_infer.inputs.images import load_image
from lexlip_infer.inputs.preprocessing import ImagePreprocessor
from lexlip_infer.inputs.texts import TextTokenizer
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

#: Rows at a time: the reference holds the logits of every token.
_BATCH = {"image": 8, "text": 32}
_SYNTHETIC = {"image": 16, "text": 64}


class SyntheticInputs:
    """Smooth random images with noise, and random term ids of every length.

    Args:
        config: of the model; a tower that it lacks is not asked for.

    Attributes:
        description: what they are, for the report.
        data: who belongs to whom, where retrieval can be measured.
    """

    data: CaptionedImages | None = None

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self.description = "synthetic: {image} random images, {text} random texts".format(**_SYNTHETIC)

    def batches(self, modality: Modality) -> Iterator[dict[str, Tensor]]:
        """`pixel_values` (B, 3, S, S), or `input_ids` and `attention_mask` (B, L), by name."""
        generator = torch.Generator().manual_seed(0)
        for start in range(0, _SYNTHETIC[modality], _BATCH[modality]):
            rows = min(_BATCH[modality], _SYNTHETIC[modality] - start)
            yield self._pixels(generator, rows) if modality == "image" else self._texts(generator, rows)

    def _pixels(self, generator: torch.Generator, rows: int) -> dict[str, Tensor]:
        image = self._config.image
        assert image is not None
        coarse = torch.rand(rows, 3, 8, 8, generator=generator)
        size = (image.image_size, image.image_size)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
        noise = 0.1 * torch.randn(rows, 3, *size, generator=generator)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (image.mean, image.std))
        return {"pixel_values": ((smooth + noise).clamp(0, 1) - mean) / std}

    def _texts(self, generator: torch.Generator, rows: int) -> dict[str, Tensor]:
        text = self._config.text
        assert text is not None
        length = text.max_length
        ids = torch.randint(0, self._config.vocab_size, (rows, length), generator=generator)
        lengths = torch.randint(3, length + 1, (rows, 1), generator=generator)
        mask = (torch.arange(length) < lengths).long()
        return {"input_ids": ids * mask, "attention_mask": mask}


class CaptionInputs:
    """Photographs and their captions, preprocessed as the encoder does.

    Args:
        file: `captions.jsonl`.
        split: rows of it to use.
        config: of the model.
        tokenizer: of its text tower.

    Raises:
        InputError: the file is missing or malformed, or holds no row of that split. While iterating: an image cannot
            be read.
    """

    data: CaptionedImages | None

    def __init__(self, file: Path, split: str, config: ModelConfig, tokenizer: Tokenizer | None) -> None:
        self.data = self._rows = read_captioned_images(file, split)
        self._config, self._tokenizer = config, tokenizer
        self.description = (
            f"{file.name}, split {split!r}: {len(self._rows.images)} images, {len(self._rows.captions)} captions"
        )

    def batches(self, modality: Modality) -> Iterator[dict[str, Tensor]]:
        """As of `SyntheticInputs`."""
        return self._image_batches() if modality == "image" else self._text_batches()

    def _image_batches(self) -> Iterator[dict[str, Tensor]]:
        image = self._config.image
        assert image is not None
        preprocess = ImagePreprocessor(image.image_size, image.resize, image.mean, image.std)
        for start in range(0, len(self._rows.images), _BATCH["image"]):
            paths = self._rows.images[start : start + _BATCH["image"]]
            pixels = np.stack([preprocess(load_image(path)) for path in paths])
            yield {"pixel_values": torch.from_numpy(pixels)}

    def _text_batches(self) -> Iterator[dict[str, Tensor]]:
        if self._tokenizer is None:
            raise InputError("gate captions are strings and the model has no tokenizer: give --tokenizer as well")
        text = self._config.text
        assert text is not None
        tokenize = TextTokenizer(self._tokenizer.to_str().encode(), text.max_length)
        for start in range(0, len(self._rows.captions), _BATCH["text"]):
            ids, mask = tokenize(self._rows.captions[start : start + _BATCH["text"]])
            yield {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


#: Batches of model inputs, the same ones every time they are asked for.
GateInputs: TypeAlias = SyntheticInputs | CaptionInputs


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
