"""The lexicon heads of the CPU: hidden states (B, L, H) to the ids and weights of the heaviest terms, by rank.

The native head multiplies the few terms that can matter; the ONNX head every term, a tile at a time. Where the weights
of two terms differ by more than rounding, both rank them alike.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.runtime.decoder import read_decoder
from lexlip_infer.runtime.onnxruntime_session import CpuSession
from lexlip_kernels.lexicon_head import PackedDecoder, lexicon_head

__all__ = ["Head", "NativeHead", "OnnxHead", "Ranked", "head_inputs"]

#: ids (B, K) int64, -1 padded, and weights (B, K) float32, 0 padded, by rank.
Ranked = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


class Head(Protocol):
    """Takes what the backbone beside it gives: an array, or something that stays on the device."""

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int, /) -> Ranked:
        """The `top_k` heaviest terms of each row; `mask` (B, L) is 0 on padding, absent where there is none."""
        ...


class NativeHead:
    """The C++ head, in its exact mode; holds the decoder in float32 and, a quarter as large, in int8.

    Raises:
        BundleError: the decoder is damaged.
    """

    def __init__(self, bundle: Bundle, modality: Modality, threads: int) -> None:
        self._decoder = PackedDecoder.pack(*read_decoder(bundle, modality), threads)
        self._threads = threads

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """As `Head` says."""
        k = min(top_k, self._decoder.vocab_size)
        terms = lexicon_head(hidden, self._decoder, mask, k=k, threads=self._threads, backend="native")
        return terms.ids, terms.weights


class OnnxHead:
    """The bundle's vocabulary-tiled graph.

    Raises:
        BundleError: the graph is missing, damaged, or not what the format says.
    """

    def __init__(self, bundle: Bundle, modality: Modality, threads: int, memory_arena: bool) -> None:
        name = f"onnx/{modality}_head.onnx"
        self._session = CpuSession(bundle, name, head_inputs(modality), ("ids", "weights"), threads, memory_arena)

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """As `Head` says."""
        masks = {} if mask is None else {"attention_mask": mask}
        ids, weights = self._session({"hidden": hidden, "k": np.array([top_k], np.int64)} | masks)
        return ids, weights


def head_inputs(modality: Modality) -> tuple[str, ...]:
    """Names that a head's graph takes; images have no padding."""
    return ("hidden", "k") if modality == "image" else ("hidden", "attention_mask", "k")
