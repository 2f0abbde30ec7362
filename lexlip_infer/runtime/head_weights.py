"""What `heads.safetensors` holds: decoders and biases of the heads, and weights of terms for texts that no tower sees.

Every array is checked before it is used: its shape, its type, and that it holds numbers. Nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import BundleError

HEADS = "heads.safetensors"
#: (V,) float32, what each term weighs in a text that no tower sees.
STATIC_WEIGHT = "text.static_weight"

#: Types of numbers that an array may be stored in, as safetensors and numpy name them. numpy has no bfloat16: it is
#: the upper half of a float32.
_STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
#: Of a term; every place of the longest text together is still far from what a float32 holds.
_MOST_WEIGHT = 1e6


def read_decoder(bundle: Bundle, modality: Modality) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weight (V, H) and bias (V,), contiguous float32; a decoder that is stored in half precision is widened.

    Raises:
        BundleError: the file is damaged, its arrays are not of the manifest's shape, or hold what is no number.
    """
    terms, hidden = bundle.manifest.vocab_size, bundle.manifest.hidden_size
    weight, bias = _read(bundle, {f"{modality}.weight": (terms, hidden), f"{modality}.bias": (terms,)})
    return weight, bias


def read_static_weight(bundle: Bundle) -> npt.NDArray[np.float32]:
    """What each term weighs (V,) in a text that no tower sees, 0 or more.

    Raises:
        BundleError: as of a decoder, or a weight is negative or beyond all measure.
    """
    (weight,) = _read(bundle, {STATIC_WEIGHT: (bundle.manifest.vocab_size,)})
    least, most = weight.min(), weight.max()
    if least < 0 or most > _MOST_WEIGHT:
        raise BundleError(
            f"{bundle.folder / HEADS}: {STATIC_WEIGHT} holds {least if least < 0 else most:g}; expected weights from 0 "
            f"to {_MOST_WEIGHT:g}: export the model again"
        )
    return weight


def _read(bundle: Bundle, shapes: Mapping[str, tuple[int, ...]]) -> list[npt.NDArray[np.float32]]:
    """Arrays by name, in order."""
    path = bundle.folder / HEADS
    try:
        tensors = dict(deserialize(bundle.read(HEADS)))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file ({error}); export the model again") from None
    arrays = []
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None or tuple(tensor["shape"]) != shape or tensor["dtype"] not in _STORED:
            found = "is missing" if tensor is None else f"is {tuple(tensor['shape'])} {tensor['dtype']}"
            raise BundleError(
                f"{path}: {name} {found}; expected {shape} {', '.join(_STORED)}, as the manifest says: "
                "export the model again"
            )
        array = _widened(np.frombuffer(tensor["data"], _STORED[tensor["dtype"]]), tensor["dtype"]).reshape(shape)
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} holds NaN or infinity; copy the bundle again, or export it")
        arrays.append(array)
    return arrays


def _widened(array: npt.NDArray[Any], stored: str) -> npt.NDArray[np.float32]:
    if stored == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(array, np.float32)
