"""What `heads.safetensors` holds: decoders and biases of the heads, and weights of terms for texts that no tower sees.

Every array is checked before it is used: its shape, its type, and that it holds numbers. Nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
#: the upper half of a float32. Rows of int8 have a scale each.
_STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "<i1"}
#: Of a term; every place of the longest text together is still far from what a float32 holds.
MOST_WEIGHT = 1e6

_Tensors = Mapping[str, Mapping[str, Any]]


def read_decoder(bundle: Bundle, modality: Modality) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weight (V, H) and bias (V,), contiguous float32; a decoder that is stored in fewer bits is widened.

    A tower without a decoder of its own, `image.weight`, has the one that both share, `weight`.

    Raises:
        BundleError: the file is damaged, its arrays are not of the manifest's shape, or hold what is no number.
    """
    path, tensors = _open(bundle)
    rows = (bundle.manifest.vocab_size,)
    owner = f"{modality}." if f"{modality}.weight" in tensors or "weight" not in tensors else ""
    weight = _read(path, tensors, f"{owner}weight", (*rows, bundle.manifest.hidden_size))
    if tensors[f"{owner}weight"]["dtype"] == "I8":
        weight *= _read(path, tensors, f"{owner}scale", rows)[:, np.newaxis]
    return weight, _read(path, tensors, f"{modality}.bias", rows)


def read_static_weight(bundle: Bundle) -> npt.NDArray[np.float32]:
    """What each term weighs (V,) in a text that no tower sees, 0 or more.

    Raises:
        BundleError: as of a decoder, or a weight is negative or beyond all measure.
    """
    path, tensors = _open(bundle)
    weight = _read(path, tensors, STATIC_WEIGHT, (bundle.manifest.vocab_size,))
    least, most = weight.min(), weight.max()
    if least < 0 or most > MOST_WEIGHT:
        raise BundleError(
            f"{path}: {STATIC_WEIGHT} holds {least if least < 0 else most:g}; expected weights from 0 to "
            f"{MOST_WEIGHT:g}: export the model again"
        )
    return weight


def _open(bundle: Bundle) -> tuple[Path, _Tensors]:
    path = bundle.folder / HEADS
    try:
        return path, dict(deserialize(bundle.read(HEADS)))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file ({error}); export the model again") from None


def _read(path: Path, tensors: _Tensors, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
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
    return array


def _widened(array: npt.NDArray[Any], stored: str) -> npt.NDArray[np.float32]:
    if stored == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(array, np.float32)
