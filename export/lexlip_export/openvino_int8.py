"""`python -m lexlip_export.openvino_int8 BUNDLE --images DIR --texts FILE`: int8 backbones for OpenVINO.

Post-training quantisation by NNCF, with activation ranges from calibration inputs, into a bundle that exists.
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
from typing import Any, Literal

import numpy.typing as npt

from lexlip_infer.bundle import Modality
from lexlip_infer.errors import InputError, require
from lexlip_infer.runtime.choice import openvino_file
from lexlip_infer.runtime.openvino_session import UNQUANTISED, import_openvino, openvino_core

__all__ = ["Sample", "openvino_int8_files"]

#: One input of the backbone, by name, of batch size 1: `pixel_values`, or `input_ids` and `attention_mask`.
Sample = Mapping[str, npt.NDArray[Any]]


def openvino_int8_files(
    backbone: bytes, modality: Modality, samples: Iterable[Sample], unquantised: Literal["f32", "bf16"] = "f32"
) -> dict[str, bytes]:
    """Quantise a backbone.

    Args:
        backbone: the float32 ONNX graph.
        modality: of the tower.
        samples: calibration inputs; some dozens are enough.
        unquantised: how softmax, normalisation and what else stays in float computes; bf16 only on CPUs that have it.

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
    core = openvino_core()  # before those that NNCF makes and drops
    nncf = require("nncf", extra="openvino-export")
    nncf.set_log_level(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # progress bars
        warnings.simplefilter("ignore")  # about its own internals
        model = nncf.quantize(
            core.read_model(io.BytesIO(backbone)),
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    model.set_rt_info(unquantised, [*UNQUANTISED])
    return _files(openvino, model, openvino_file(modality))


def _files(openvino: Any, model: Any, name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = path.with_suffix(".bin").read_bytes()
        return {name: path.read_bytes(), name.removesuffix(".xml") + ".bin": weights}
