"""What one item costs at least: operations and bytes of backbone and head, and the floors that follow from ceilings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lexlip_infer.bench.ceilings import Ceilings
from lexlip_infer.bench.operations import backbone_operations, head_operations
from lexlip_infer.bundle import Bundle, Modality

__all__ = ["Floor", "Work", "floor", "work_of"]


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
