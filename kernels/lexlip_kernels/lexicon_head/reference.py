"""The definition of lexicon_head, in numpy.

    weights[v] = f(max over tokens l that take part of (hidden[l] . weight[v]) + bias[v])

with f as the `HeadRule` says, and of these the k largest and a row's own, weight descending, then id ascending; divided
by the norm of all of them if the rule says so. Slow and obvious on purpose: all logits (L, V) of a
row, a full stable sort. Works in the dtype of its arguments, float32 or float64; it is the fallback where the compiled
module does not load, and what every other backend is tested against. Arguments are checked by the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lexlip_kernels.head_rule import LEXLIP, HeadRule

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


def saturate(logits: npt.NDArray[Any], rule: HeadRule = LEXLIP) -> npt.NDArray[np.float32]:
    """log1p(relu(logits)), or elu1p, as float32, rounded once: the function itself is taken in float64."""
    wide = logits.astype(np.float64)
    if rule.saturation == "elu1p":
        wide = np.where(wide > 0, wide + 1, np.exp(np.minimum(wide, 0)))
    else:
        wide = np.log1p(np.maximum(wide, 0))
    weights: npt.NDArray[np.float32] = wide.astype(np.float32)
    return weights


def rank(
    weights: npt.NDArray[np.float32], k: int, own: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The k largest positive weights of each row of (B, V), and those of its own terms (B, O), -1 being none.

    Returns:
        ids (B, k + O), weights (B, k + O), counts (B,); O is 0 without own terms.
    """
    width = k + (0 if own is None else own.shape[1])
    ids = np.full((len(weights), width), -1, np.int64)
    kept_weights = np.zeros((len(weights), width), np.float32)
    counts = np.zeros(len(weights), np.int32)
    for row, of_row in enumerate(weights):
        order = np.argsort(-of_row, kind="stable")
        kept = np.zeros(len(of_row), bool)
        kept[order[:k]] = True
        if own is not None:
            kept[own[row][own[row] >= 0]] = True
        chosen = order[kept[order] & (of_row[order] > 0)]
        counts[row] = len(chosen)
        ids[row, : len(chosen)], kept_weights[row, : len(chosen)] = chosen, of_row[chosen]
    return ids, kept_weights, counts


def top_terms(
    hidden: npt.NDArray[Any],
    weight: npt.NDArray[Any],
    bias: npt.NDArray[Any],
    mask: npt.NDArray[np.uint8],
    k: int,
    rule: HeadRule = LEXLIP,
    own: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The whole op; arguments as in `max_logits` and `rank`, results as in `rank`."""
    all_weights = saturate(max_logits(hidden, weight, bias, mask), rule)
    ids, weights, counts = rank(all_weights, k, own)
    if rule.normalise:
        norms = np.sqrt(np.square(all_weights, dtype=np.float64).sum(axis=1, keepdims=True))
        weights = (weights / np.where(norms > 0, norms, 1)).astype(np.float32)
    return ids, weights, counts
