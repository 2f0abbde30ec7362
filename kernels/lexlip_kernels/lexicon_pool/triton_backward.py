"""Gradients of lexicon_pool in Triton: each term has one token, so they are gathers and short sums, not products.

    weight_gradient[v] = sum over rows b of gradient[b, v] * hidden[b, token[b, v]]
    hidden_gradient[b, l] = sum over terms v with token[b, v] = l of gradient[b, v] * weight[v]

The terms of a row are sorted by token first, so that every sum has one owner and one order: no atomics, the same bits
in every run. Where the gradient is 0 (every term that did not fire) nothing is read. Arguments are checked by the
caller. Imports torch and Triton: only functions import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from lexlip_kernels.launch_config import OPTIONS

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK_TERMS = 32
_BLOCK_HIDDEN = 128


@triton.jit
def weight_kernel(
    gradient: tl.tensor,
    token: tl.tensor,
    hidden: tl.tensor,
    weight_gradient: tl.tensor,
    batch: tl.int32,
    tokens: tl.int32,
    terms: tl.int32,
    HIDDEN: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
) -> None:
    """One block of (V, H), summed over rows in float32."""
    term = tl.program_id(0) * BLOCK_TERMS + tl.arange(0, BLOCK_TERMS)
    column = tl.program_id(1) * BLOCK_HIDDEN + tl.arange(0, BLOCK_HIDDEN)
    inside = term < terms
    total = tl.zeros((BLOCK_TERMS, BLOCK_HIDDEN), tl.float32)
    for row in range(batch):
        place = tl.cast(row, tl.int64) * terms + term
        slope = tl.load(gradient + place, mask=inside, other=0.0)
        source = tl.cast(row, tl.int64) * tokens + tl.load(token + place, mask=inside, other=0).to(tl.int64)
        used = (slope != 0)[:, None] & (column < HIDDEN)[None, :]
        state = tl.load(hidden + source[:, None] * HIDDEN + column[None, :], mask=used, other=0.0)
        total += slope[:, None] * state.to(tl.float32)
    target = weight_gradient + term.to(tl.int64)[:, None] * HIDDEN + column[None, :]
    tl.store(target, total, mask=inside[:, None] & (column < HIDDEN)[None, :])


@triton.jit
def hidden_kernel(
    gradient: tl.tensor,
    order: tl.tensor,
    starts: tl.tensor,
    weight: tl.tensor,
    hidden_gradient: tl.tensor,
    tokens: tl.int32,
    terms: tl.int32,
    HIDDEN: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
) -> None:
    """One block of one token's gradient, (H,), summed over its terms in ascending order, in float32."""
    token = tl.program_id(0).to(tl.int64)
    row = token // tokens
    column = tl.program_id(1) * BLOCK_HIDDEN + tl.arange(0, BLOCK_HIDDEN)
    bound = starts + row * (tokens + 1) + token % tokens
    first, end = tl.load(bound), tl.load(bound + 1)
    total = tl.zeros((BLOCK_TERMS, BLOCK_HIDDEN), tl.float32)
    for start in range(first, end, BLOCK_TERMS):
        place = start + tl.arange(0, BLOCK_TERMS)
        term = tl.load(order + row * terms + place, mask=place < end, other=0)
        slope = tl.load(gradient + row * terms + term, mask=place < end, other=0.0)
        address = weight + term.to(tl.int64)[:, None] * HIDDEN + column[None, :]
        used = (place < end)[:, None] & (column < HIDDEN)[None, :]
        total += slope[:, None] * tl.load(address, mask=used, other=0.0).to(tl.float32)
    tl.store(hidden_gradient + token * HIDDEN + column, tl.sum(total, 0), mask=column < HIDDEN)


def weight_gradient(gradient: Tensor, token: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """(V, H) in the dtype of `weight`, from gradient (B, V) float32, token (B, V) int16 and hidden (B, L, H)."""
    batch, tokens, width = hidden.shape
    result = torch.empty_like(weight, memory_format=torch.contiguous_format)
    grid = (triton.cdiv(len(weight), _BLOCK_TERMS), triton.cdiv(width, _BLOCK_HIDDEN))
    weight_kernel[grid](
        gradient,
        token,
        hidden.contiguous(),
        result,
        batch,
        tokens,
        len(weight),
        HIDDEN=width,
        BLOCK_TERMS=_BLOCK_TERMS,
        BLOCK_HIDDEN=_BLOCK_HIDDEN,
        **OPTIONS,
    )
    return result


def _by_token(gradient: Tensor, token: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Terms of each row sorted by token, (B, V) int32; and where each token's terms begin, (B, L + 1) int32."""
    # A term without gradient counts as token L, after the last: nobody visits it.
    keys, order = token.where(gradient != 0, tokens).sort(dim=1, stable=True)
    bounds = torch.arange(tokens + 1, dtype=keys.dtype, device=keys.device).repeat(len(keys), 1)
    return order.int(), torch.searchsorted(keys, bounds, out_int32=True)


def hidden_gradient(gradient: Tensor, token: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """(B, L, H) in the dtype of `hidden`; arguments as in `weight_gradient`."""
    batch, tokens, width = hidden.shape
    result = torch.empty_like(hidden, memory_format=torch.contiguous_format)
    if batch == 0:
        return result
    order, starts = _by_token(gradient, token, tokens)
    hidden_kernel[batch * tokens, triton.cdiv(width, _BLOCK_HIDDEN)](
        gradient,
        order,
        starts,
        weight.contiguous(),
        result,
        tokens,
        len(weight),
        HIDDEN=width,
        BLOCK_TERMS=_BLOCK_TERMS,
        BLOCK_HIDDEN=_BLOCK_HIDDEN,
        **OPTIONS,
    )
    return result
