"""The precisions that ask to be let into a bundle: how each encodes for the parity gate, and which graphs it ships."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from lexlip_export.backbone_graph import backbone_graph
from lexlip_export.head_graph import head_graph
from lexlip_export.precision.comparison import Encoding, encode, pool_hidden
from lexlip_export.precision.half import LARGEST_HALF, Peaks, check_finite, half_model, watched
from lexlip_export.precision.report import Activation
from lexlip_infer.bundle import Modality, Precision, backbone_file
from lexlip_infer.runtime.machine import thread_count
from lexlip_training.model import LexLIP


def head_file(modality: Modality) -> str:
    """Path of the half head inside a bundle; the other precisions share the float32 head."""
    return f"onnx/{modality}_head_fp16.onnx"


class Half:
    """float16, run by torch in true half arithmetic.

    Args:
        model: in float32.

    Attributes:
        arithmetic: what computes the figures, for the report.
        largest: the largest activation seen, where range is a concern.

    Raises:
        BundleError: a weight is beyond the range of float16.
    """

    precision: ClassVar[Precision] = "fp16"
    arithmetic: ClassVar[str] = "float16 in torch on the CPU"
    calibration: ClassVar[None] = None

    def __init__(self, model: LexLIP) -> None:
        self._model, self._half = model, half_model(model)
        self.largest: Activation | None = None

    def encode(self, modality: Modality, inputs: dict[str, Tensor]) -> Encoding:
        """Encode a batch as the shipped graphs do.

        Raises:
            BundleError: a layer overflows; the message names the first.
        """
        encoding, peaks = _watched_encode(self._half, modality, inputs)
        check_finite(peaks, lambda: _watched_encode(self._model, modality, inputs)[1])
        layer = max(peaks, key=peaks.__getitem__)
        if peaks[layer] > (self.largest.value if self.largest else 0.0):
            self.largest = Activation(layer=layer, value=peaks[layer], headroom=LARGEST_HALF / peaks[layer])
        return encoding

    def graphs(self, modality: Modality, top_k: int) -> dict[str, onnx.ModelProto]:
        """Backbone and head to ship, by path; `top_k` is the head's default."""
        head = getattr(self._half, f"{modality}_head")
        decoder, bias = head.weight.detach().numpy(), head.decoder_bias().detach().numpy()
        return {
            backbone_file(modality, "fp16"): backbone_graph(self._half, modality),
            head_file(modality): head_graph(decoder, bias, min(top_k, len(bias)), masked=modality == "text"),
        }


def _watched_encode(model: LexLIP, modality: Modality, inputs: dict[str, Tensor]) -> tuple[Encoding, Peaks]:
    """An encoding and the peak of every layer, the decoder's logits included."""
    with watched(model) as peaks:
        encoding = encode(model, modality, inputs)
    peaks[f"{modality}_head.decoder"] = min(torch.inf, float(encoding.pooled.max()))  # infinite for NaN too
    return encoding, peaks


class Int8:
    """Int8 backbones, run by ONNX Runtime on the CPU, below the exact float32 head.

    Args:
        model: in float32, for its heads.
        backbones: the quantised graphs.
        calibration: what ranges of activations were measured on, where they are fixed.
        stored: float32 backbones to ship instead of the exact ones, because their weights are stored as int8.
    """

    precision: ClassVar[Precision] = "int8"
    arithmetic: ClassVar[str] = f"int8 in ONNX Runtime {onnxruntime.__version__} on the CPU"
    largest: Activation | None = None

    def __init__(
        self,
        model: LexLIP,
        backbones: Mapping[Modality, onnx.ModelProto],
        calibration: str | None = None,
        stored: Mapping[Modality, onnx.ModelProto] | None = None,
    ) -> None:
        self._model, self._backbones, self.calibration = model, backbones, calibration
        self._stored = stored or {}
        self._sessions = {modality: _session(graph) for modality, graph in backbones.items()}

    def encode(self, modality: Modality, inputs: dict[str, Tensor]) -> Encoding:
        """Encode a batch."""
        (hidden,) = self._sessions[modality].run(["hidden"], {name: value.numpy() for name, value in inputs.items()})
        return pool_hidden(self._model, modality, torch.from_numpy(np.asarray(hidden)), inputs)

    def graphs(self, modality: Modality, top_k: int) -> dict[str, onnx.ModelProto]:  # noqa: ARG002  (as Half has it)
        """The backbone, and the one that is stored for float32."""
        graphs = {backbone_file(modality, "int8"): self._backbones[modality]}
        if modality in self._stored:
            graphs[backbone_file(modality, "f32")] = self._stored[modality]
        return graphs


#: A precision under test.
Candidate: TypeAlias = Half | Int8


def _session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count(None)
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
