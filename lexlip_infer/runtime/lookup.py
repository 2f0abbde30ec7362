"""Texts without a model: each term that stands in a text gets the weight that training gave it once and for all.

No context, no expansion: a vector holds the text's own terms and no others, and costs microseconds. It is meant for
queries; documents, which are encoded once, keep their tower. What becomes of a text before the model (prompts, tokens,
how many are kept) becomes of it here as well.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.runtime.head_weights import read_static_weight
from lexlip_infer.runtime.tower import Inputs
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels.impact_matrix import row_offsets

#: How a text becomes a vector: through the model's text tower, or by looking up its terms.
QUERY_MODES = ("tower", "lookup")


def checked_mode(bundle: Bundle, mode: str | None, query: bool = False) -> Literal["tower", "lookup"]:
    """How texts are encoded: as asked, if the bundle has what it takes, or as the model does where nothing is asked.

    Args:
        bundle: the model.
        mode: of `QUERY_MODES`, or None for the model's own way.
        query: whether the texts are queries, for which a model may have a way of their own.

    Raises:
        InputError: there is no such mode.
        BundleError: the bundle has no weights to look up, or no tower.
    """
    text, has_tower = bundle.manifest.text, bool(bundle.precisions("text"))
    static = text if text is not None and text.static is not None else None
    if mode is None:
        return "lookup" if static and (not has_tower or (query and static.query_mode == "lookup")) else "tower"
    if mode not in QUERY_MODES:
        raise InputError(f"query mode is {mode!r}; expected {' or '.join(map(repr, QUERY_MODES))}")
    if mode == "lookup" and not static:
        raise BundleError(
            f"{bundle.folder}: {bundle.manifest.name} has no weights for texts without its tower; use the query mode "
            "'tower', or export a model that was trained with them"
        )
    if mode == "tower" and static and not has_tower:
        raise BundleError(
            f"{bundle.folder}: {bundle.manifest.name} has no text tower, it looks texts up; use the query mode "
            "'lookup', or leave it out"
        )
    return "lookup" if mode == "lookup" else "tower"


class Lookup:
    """Takes the place of a text tower.

    Args:
        bundle: one that `checked_mode` lets look up.

    Raises:
        BundleError: its weights are damaged.
    """

    def __init__(self, bundle: Bundle) -> None:
        assert bundle.manifest.text is not None, "checked by `checked_mode`"
        self._weights = read_static_weight(bundle)
        self._terms = bundle.token_terms()
        self._sums = bundle.manifest.text.static == "sum"

    def __call__(self, inputs: Inputs, top_k: int) -> SparseBatch:
        """Un-normalised weights of the `top_k` heaviest terms of each row; terms without a weight are left out.

        Args:
            inputs: `input_ids` and `attention_mask` (B, L) int64, token ids.
            top_k: terms to keep.
        """
        ids, size = self._terms[inputs["input_ids"]], len(self._weights)
        rows, places = np.nonzero((inputs["attention_mask"] != 0) & (ids >= 0))
        cells, counts = np.unique(rows * size + ids[rows, places], return_counts=True)
        terms = cells % size
        values = self._weights[terms]
        if self._sums:
            values *= counts
        indptr = row_offsets(np.bincount(cells // size, minlength=len(ids)))
        found = SparseBatch(indptr, terms.astype(np.int32), values, size)
        return found.where(found.values > 0).top_k(top_k)
