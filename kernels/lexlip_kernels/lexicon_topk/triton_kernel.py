"""lexicon_topk in Triton: one pass over the logits, then an exact top-k whose cost does not grow with L.

Two rounds after the maximum over tokens: `select` leaves at most k candidates of each block of terms, `rank` puts the
few that remain in order. README.md beside this file shows why the result is exact and deterministic. Arguments are
checked by the caller. Imports torch and Triton: only functions import this module.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from lexlip_kernels.head_rule import LEXLIP, HeadRule
from lexlip_kernels.launch_config import MAX_FUSED_K, OPTIONS, choose_pool, choose_select
from lexlip_kernels.lexicon_pool.triton_kernel import log1p
from lexlip_kernels.lexicon_topk.reference import ruled_top_k
from lexlip_kernels.lexicon_topk.reference import top_k as sorted_top_k

if TYPE_CHECKING:
    from torch import Tensor

MAX_RANKED = 4096
"""Candidates that are ranked by comparing each with each; more of them go through another selection first."""

_RANK_BLOCK = 64


@triton.jit
def pool_kernel(
    logits: tl.tensor,
    mask: tl.tensor,
    pooled: tl.tensor,
    tokens: tl.int32,
    term_units: tl.int32,
    row_stride: tl.int64,
    token_stride: tl.int64,
    HAS_MASK: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
) -> None:
    """Maximum over tokens of one block of terms of one row. Strides and V are given in units of ALIGNMENT elements."""
    # Multiplying by a constant tells the compiler how far addresses are aligned, so that it loads several at once.
    terms = term_units * ALIGNMENT
    blocks = tl.cdiv(terms, BLOCK_TERMS)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    term = tl.program_id(0) % blocks * BLOCK_TERMS + tl.arange(0, BLOCK_TERMS)
    start_of_row = logits + row * row_stride * ALIGNMENT
    best = tl.full((BLOCK_TOKENS, BLOCK_TERMS), float("-inf"), tl.float32)
    for first in range(0, tokens, BLOCK_TOKENS):
        token = first + tl.arange(0, BLOCK_TOKENS)
        live = token < tokens
        if HAS_MASK:
            live = live & (tl.load(mask + row * tokens + token, mask=live, other=0) != 0)
        # A masked token is not loaded: padding costs no memory traffic.
        address = start_of_row + token[:, None].to(tl.int64) * token_stride * ALIGNMENT + term[None, :]
        tile = tl.load(address, mask=live[:, None] & (term < terms)[None, :], other=float("-inf"))
        best = tl.maximum(best, tile.to(tl.float32))
    tl.store(pooled + row * terms + term, tl.max(best, 0), mask=term < terms)


@triton.jit
def select_kernel(
    values: tl.tensor,
    ids: tl.tensor,
    bias: tl.tensor,
    kept_values: tl.tensor,
    kept_ids: tl.tensor,
    candidates: tl.int32,
    row_stride: tl.int64,
    k: tl.int32,
    HAS_IDS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:
    """The k largest positive values of one block of one row, the earlier first among equals; value 0 after them."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    position = block * BLOCK + tl.arange(0, BLOCK)
    inside = position < candidates
    value = tl.load(values + row * row_stride + position, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + position, mask=inside, other=0.0).to(tl.float32)
    term = tl.load(ids + row * candidates + position, mask=inside, other=0) if HAS_IDS else position
    # The bits of positive floats order as the floats do; 0 stands for what is never kept, NaN included.
    bits = tl.where(inside & (value > 0), value.to(tl.int32, bitcast=True), 0)
    # The largest threshold that at least k values reach, bit by bit; it is met early when exactly k reach it.
    threshold = 0
    bit = 30
    while bit >= 0:
        trial = threshold | (1 << bit)
        reaching = tl.sum((bits >= trial).to(tl.int32), 0)
        threshold = tl.where(reaching >= k, trial, threshold)
        bit = tl.where(reaching == k, -1, bit - 1)
    threshold = tl.maximum(threshold, 1)
    above = (bits > threshold).to(tl.int32)
    equal = (bits == threshold).to(tl.int32)
    slot = tl.where(above != 0, tl.cumsum(above, 0) - 1, tl.sum(above, 0) + tl.cumsum(equal, 0) - 1)
    kept = (bits >= threshold) & (slot < k)
    start = (row * tl.num_programs(1) + block) * k
    tl.store(kept_values + start + slot, value, mask=kept)
    tl.store(kept_ids + start + slot, term, mask=kept)
    unused = tl.arange(0, BLOCK_K)
    unused_mask = (unused >= tl.sum(kept.to(tl.int32), 0)) & (unused < k)
    tl.store(kept_values + start + unused, tl.zeros((BLOCK_K,), tl.float32), mask=unused_mask)
    tl.store(kept_ids + start + unused, tl.full((BLOCK_K,), -1, tl.int32), mask=unused_mask)


@triton.jit
def _rank_key(
    values: tl.tensor,
    ids: tl.tensor,
    position: tl.tensor,
    candidates: tl.int32,
) -> tl.tensor:
    """A 64-bit key, unique in its row: larger value first, then smaller id, then what is unused."""
    value = tl.load(values + position, mask=position < candidates, other=0.0)
    term = tl.load(ids + position, mask=position < candidates, other=0)
    key = (value.to(tl.int32, bitcast=True).to(tl.int64) << 32) | (0x7FFFFFFF - term).to(tl.int64)
    return tl.where(value > 0, key, -1 - position.to(tl.int64))


@triton.jit
def rank_kernel(
    values: tl.tensor,
    candidate_ids: tl.tensor,
    ids: tl.tensor,
    weights: tl.tensor,
    counts: tl.tensor,
    candidates: tl.int32,
    k: tl.int32,
    BLOCK: tl.constexpr,
) -> None:
    """The rank of a candidate is how many keys are larger; every rank below k gets its id and saturated weight."""
    row = tl.program_id(0).to(tl.int64)
    row_values, row_ids = values + row * candidates, candidate_ids + row * candidates
    mine = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    my_key = _rank_key(row_values, row_ids, mine, candidates)
    rank = tl.zeros((BLOCK,), tl.int32)
    present = tl.zeros((BLOCK,), tl.int32)
    for first in range(0, candidates, BLOCK):
        key = _rank_key(row_values, row_ids, first + tl.arange(0, BLOCK), candidates)
        rank += tl.sum((key[None, :] > my_key[:, None]).to(tl.int32), 1)
        present += (key > 0).to(tl.int32)
    inside = mine < candidates
    written = inside & (rank < k)
    value = tl.load(row_values + mine, mask=inside, other=0.0)
    tl.store(ids + row * k + rank, tl.load(row_ids + mine, mask=inside, other=-1), mask=written)
    tl.store(weights + row * k + rank, log1p(value), mask=written)
    if tl.program_id(1) == 0:
        tl.store(counts + row, tl.minimum(tl.sum(present, 0), k))


def pool(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Maximum over the unmasked tokens of logits (B, L, V), as (B, V) float32; -inf in a row without any."""
    batch, tokens, terms = logits.shape
    pooled = logits.new_empty((batch, terms), dtype=torch.float32)
    if batch == 0:
        return pooled
    config = choose_pool(tokens, terms, logits.element_size())
    alignment = gcd(logits.stride(0), logits.stride(1), terms, 16 // logits.element_size())
    pool_kernel[batch * triton.cdiv(terms, config.block_terms),](
        logits,
        logits if mask is None else mask.ne(0).contiguous().view(torch.int8),
        pooled,
        tokens,
        terms // alignment,
        logits.stride(0) // alignment,
        logits.stride(1) // alignment,
        HAS_MASK=mask is not None,
        ALIGNMENT=alignment,
        BLOCK_TOKENS=config.block_tokens,
        BLOCK_TERMS=config.block_terms,
        num_warps=config.num_warps,
        **OPTIONS,
    )
    return pooled


def _select(values: Tensor, ids: Tensor | None, bias: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """One round: (B, N) values to (B, blocks * k) values and ids, in ascending order of id among equal values."""
    batch, candidates = values.shape
    config = choose_select(candidates)
    blocks = triton.cdiv(candidates, config.block)
    kept_values = values.new_empty((batch, blocks * k), dtype=torch.float32)
    kept_ids = values.new_empty((batch, blocks * k), dtype=torch.int32)
    select_kernel[batch, blocks](
        values,
        kept_ids if ids is None else ids,
        values if bias is None else bias,
        kept_values,
        kept_ids,
        candidates,
        values.stride(0),
        k,
        HAS_IDS=ids is not None,
        HAS_BIAS=bias is not None,
        BLOCK=config.block,
        BLOCK_K=triton.next_power_of_2(k),
        num_warps=config.num_warps,
        **OPTIONS,
    )
    return kept_values, kept_ids


def _rank(values: Tensor, candidate_ids: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates (B, N >= k) in order."""
    batch, candidates = values.shape
    ids = values.new_empty((batch, k), dtype=torch.int64)
    weights = values.new_empty((batch, k))
    counts = values.new_empty((batch,), dtype=torch.int32)
    rank_kernel[batch, triton.cdiv(candidates, _RANK_BLOCK)](
        values, candidate_ids, ids, weights, counts, candidates, k, BLOCK=_RANK_BLOCK, num_warps=4, **OPTIONS
    )
    return ids, weights, counts


def top_k(pooled: Tensor, k: int, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The k heaviest terms of pooled logits (B, V), as in `lexlip_kernels.lexicon_topk.lexicon_topk`.

    Args:
        pooled: (B, V), contiguous along V.
        k: at least 1. Above MAX_FUSED_K the terms are sorted by torch: stable, so with the same ties.
        bias: (V,) contiguous, added first in float32, when given.
    """
    if k > MAX_FUSED_K or pooled.shape[0] == 0:
        return sorted_top_k(pooled if bias is None else pooled.float() + bias.float(), k)
    values, ids = _select(pooled, None, bias, k)
    while values.shape[1] > MAX_RANKED:
        values, ids = _select(values, ids, None, k)
    return _rank(values, ids, k)


def lexicon_topk(
    logits: Tensor, k: int, mask: Tensor | None = None, rule: HeadRule = LEXLIP, own: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and results as in `lexlip_kernels.lexicon_topk.lexicon_topk`; other rules end in torch."""
    with torch.cuda.device(logits.get_device()):
        pooled = pool(logits, mask) if logits.ndim == 3 else logits
        return top_k(pooled, k) if rule == LEXLIP and own is None else ruled_top_k(pooled, k, rule, own)
