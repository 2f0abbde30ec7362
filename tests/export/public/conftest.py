"""What the tests of public models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from PIL import Image

from lexlip_infer import LexLIPEncoder


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    """Smooth random images, one wide, one high, one square."""
    random = np.random.default_rng(0)
    small = [Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)) for size in ((30, 50), (41, 25), (20, 20))]
    return [image.resize((4 * image.width + 1, 4 * image.height)) for image in small]


@pytest.fixture(scope="session")
def hidden_of() -> Callable[..., npt.NDArray[np.float32]]:
    """Hidden states of a bundle's backbone, by ONNX Runtime alone."""

    def run(encoder: LexLIPEncoder, modality: str, **inputs: Any) -> npt.NDArray[np.float32]:
        session = onnxruntime.InferenceSession(encoder.bundle.read(f"onnx/{modality}_backbone.onnx"))
        (states,) = session.run(["hidden"], inputs)
        return np.asarray(states)

    return run
