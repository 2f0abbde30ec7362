"""A bundle of the small random model with every further graph, and inputs for its two towers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training import LexLIP

Arrays = dict[str, npt.NDArray[Any]]


class Session:
    """An ONNX Runtime session on one thread; called with arrays by name, gives arrays by name."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Arrays) -> Arrays:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))


@pytest.fixture(scope="session")
def session() -> type[Session]:
    return Session


@pytest.fixture(scope="session")
def graphs_folder(random_model: LexLIP, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lexlip_export import ExportSettings
    from lexlip_export.bundle_writer import write_bundle

    folder = tmp_path_factory.mktemp("graphs") / "bundle"
    settings = ExportSettings(image_top_k=24, text_top_k=8, graphs=("merged", "anserini", "logits-fp16"))
    write_bundle(random_model, tokenizer, {"notice": "Random weights."}, folder, settings)
    return folder


@pytest.fixture(scope="session")
def inputs() -> dict[str, Arrays]:
    """Inputs of each tower; an odd number of rows, texts of unequal length."""
    random = np.random.default_rng(0)
    ids = random.integers(5, 100, (3, 9))
    mask = (np.arange(9) < np.array([[9], [2], [6]])).astype(np.int64)
    pixels = random.standard_normal((3, 3, 64, 64), np.float32)
    return {"image": {"pixel_values": pixels}, "text": {"input_ids": ids * mask, "attention_mask": mask}}
