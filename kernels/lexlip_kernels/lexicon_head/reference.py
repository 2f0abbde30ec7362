"""The definition of lexicon_head, in numpy.

    weights[v] = log1p(relu(max over tokens l that take part of (hidden[l] . weight[v]) + bias[v]))

and of these the k largest, weight descending, then id ascending. Slow and obvious on purpose: all logits (L, V) of a
row, a full stable sort. Works in the dtype of its arguments, float32 or float64; it is the fallback where the compiled
module does not load, and what every other backend is tested against. Arguments are checked by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def max_logits(
    hidden: npt.NDArray[Any], weight: npt.NDArray[Any], bias: npt.NDArray[Any], mask: npt.NDArray[np.uint8]
) -> npt.NDArray[Any]:
    """Vocabulary logits (B, V), maximised over tokens, bias included; -inf in a row without any token.

    Args:
        hidden: (B, L, H).
        weight: (V, H), the decoder.
        bias: (V,).
        mask: (B, L), 0 where a token is padding. Padding is left out, whatever it holds.
    """
    largest = np.full((len(hidden), len(weight)), -np.inf, hidden.dtype)
    for row, tokens, kept in zip(largest, hidden, mask != 0, strict=True):
        (tokens[kept] @ weight.T).max(axis=0, initial=-np.inf, out=row)
    largest += bias
    return largest


def saturate(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """log1p(relu(logits)) as float32, rounded once: the logarithm itself is taken in float64."""
    weights: npt.NDArray[np.float32] = np.log1p(np.maximum(logits, 0).astype(np.float64)).astype(np.float32)
    return weights


def rank(
    weights: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The k largest positive weights of each row of (B, V): ids (B, k), weights (B, k), counts (B,)."""
    ids = np.full((len(weights), k), -1, np.int64)
    kept_weights = np.zeros((len(weights), k), np.float32)
    counts = np.minimum((weights > 0).sum(axis=1), k).astype(np.int32)
    for row, count in enumerate(counts):
        ids[row, :count] = np.argsort(-weights[row], kind="stable")[:count]
        kept_weights[row, :count] = weights[row, ids[row, :count]]
    return ids, kept_weights, counts


def top_terms(
    hidden: npt.NDArray[Any],
    weight: npt.NDArray[Any],
    bias: npt.NDArray[Any],
    mask: npt.NDArray[np.uint8],
    k: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The whole op; arguments as in `max_logits`, results as in `rank`."""
    return rank(saturate(max_logits(hidden, weight, bias, mask)), k)
