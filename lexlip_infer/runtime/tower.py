"""A tower: backbone, then lexicon head, from model inputs to ranked term ids and weights."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle
from lexlip_infer.runtime.graph import Graph
from lexlip_infer.sparse import SparseBatch

__all__ = ["Tower"]

_INPUTS = {"image": ("pixel_values",), "text": ("input_ids", "attention_mask")}


class Tower:
    """One modality of a bundle.

    Args:
        bundle: the model.
        modality: which of its two towers.
        threads: for the operators.

    Raises:
        BundleError: a graph is missing, damaged, or not what the format says.
    """

    def __init__(self, bundle: Bundle, modality: Literal["image", "text"], threads: int) -> None:
        self._vocab_size = bundle.manifest.vocab_size
        # Images have no padding; the head of texts must know which tokens are real.
        self._mask = ("attention_mask",) if modality == "text" else ()
        backbone, head = f"onnx/{modality}_backbone.onnx", f"onnx/{modality}_head.onnx"
        self._backbone = Graph(bundle, backbone, _INPUTS[modality], ("hidden",), threads)
        self._head = Graph(bundle, head, ("hidden", *self._mask, "k"), ("ids", "weights"), threads)

    def __call__(self, inputs: dict[str, npt.NDArray[Any]], top_k: int) -> SparseBatch:
        """Un-normalised weights of the `top_k` heaviest terms of each row.

        Args:
            inputs: `pixel_values` (B, 3, S, S) float32, or `input_ids` and `attention_mask` (B, L) int64.
            top_k: terms to keep; V or more keeps all positive ones.
        """
        if len(next(iter(inputs.values()))) == 0:
            empty = np.zeros((0, 0))
            return SparseBatch.from_ranked(empty.astype(np.int64), empty, self._vocab_size)
        (hidden,) = self._backbone(inputs)
        masks = {name: inputs[name] for name in self._mask}
        ids, weights = self._head({"hidden": hidden, "k": np.array([top_k], np.int64)} | masks)
        return SparseBatch.from_ranked(ids, weights, self._vocab_size)
