"""A head's decoder as arrays, for the heads outside ONNX."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import BundleError

__all__ = ["HEADS", "read_decoder"]

HEADS = "heads.safetensors"


def read_decoder(bundle: Bundle, modality: Modality) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weight (V, H) and bias (V,), contiguous float32; a decoder that is stored as float16 is widened.

    Raises:
        BundleError: the file is damaged, or its arrays are not of the manifest's shape.
    """
    path, manifest = bundle.folder / HEADS, bundle.manifest
    try:
        arrays = load(bundle.read(HEADS))
    except SafetensorError as error:
        raise BundleError(f"{path}: not a safetensors file ({error}); export the model again") from None
    shapes = {"weight": (manifest.vocab_size, manifest.hidden_size), "bias": (manifest.vocab_size,)}
    for name, shape in shapes.items():
        array = arrays.get(f"{modality}.{name}")
        if array is None or array.shape != shape or array.dtype not in (np.float32, np.float16):
            found = "is missing" if array is None else f"is {array.shape} {array.dtype}"
            raise BundleError(
                f"{path}: {modality}.{name} {found}; expected {shape} float32 or float16, as the manifest says: "
                "export the model again"
            )
    weight, bias = (np.ascontiguousarray(arrays[f"{modality}.{name}"], np.float32) for name in shapes)
    return weight, bias
