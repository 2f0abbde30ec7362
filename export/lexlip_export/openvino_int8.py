"""A backbone in int8 for OpenVINO: post-training quantisation by NNCF, with activation ranges from calibration inputs.

OpenVINO runs ONNX Runtime's dynamic int8 graphs slower than float32, so it gets a model of its own. Ranges are fixed
here, once: a vector does not depend on what else is in its batch. They are only as good as the inputs: take images and
texts like those that will be encoded. Needs the extra `openvino-export`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Modality
from lexlip_infer.errors import InputError, require
from lexlip_infer.runtime.choice import openvino_file
from lexlip_infer.runtime.openvino_package import import_openvino

__all__ = ["Sample", "openvino_int8_files", "synthetic_samples"]

#: One input of the backbone, by name, of batch size 1: `pixel_values`, or `input_ids` and `attention_mask`.
Sample = Mapping[str, npt.NDArray[Any]]


def openvino_int8_files(backbone: bytes, modality: Modality, samples: Iterable[Sample]) -> dict[str, bytes]:
    """Quantise a backbone.

    Args:
        backbone: the float32 ONNX graph.
        modality: of the tower.
        samples: calibration inputs; some dozens are enough.

    Returns:
        The `.xml` and the `.bin` of the quantised model, by their paths in a bundle.

    Raises:
        MissingExtra: OpenVINO or NNCF is not installed.
        InputError: there is no sample.
    """
    inputs: Sequence[Sample] = list(samples)
    if not inputs:
        raise InputError("no calibration inputs; expected at least one image or text")
    openvino = import_openvino()  # first, so that NNCF does not report home either
    nncf = require("nncf", extra="openvino-export")
    nncf.set_log_level(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # about its own internals
        model = nncf.quantize(
            openvino.Core().read_model(io.BytesIO(backbone)),
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    return _files(openvino, model, openvino_file(modality))


def _files(openvino: Any, model: Any, name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = path.with_suffix(".bin").read_bytes()
        return {name: path.read_bytes(), name.removesuffix(".xml") + ".bin": weights}


def synthetic_samples(
    modality: Modality, size: int, vocab_size: int, count: int = 16, seed: int = 0
) -> list[dict[str, npt.NDArray[Any]]]:
    """Random inputs, for models whose weights are random too: good for measuring speed, useless for quality.

    Args:
        modality: of the tower.
        size: pixels of an image's side, or most tokens of a text.
        vocab_size: V.
        count: samples.
        seed: of the generator.
    """
    random = np.random.default_rng(seed)
    if modality == "image":
        return [{"pixel_values": random.standard_normal((1, 3, size, size), np.float32)} for _ in range(count)]
    lengths = random.integers(2, size, count, endpoint=True)
    ids = [random.integers(0, vocab_size, (1, length)) for length in lengths]
    return [{"input_ids": row, "attention_mask": np.ones_like(row)} for row in ids]
