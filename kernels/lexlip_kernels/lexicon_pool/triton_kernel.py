"""The product of all tokens with the decoder, fused with the maximum over tokens: logits (B, L, V) never exist.

One program multiplies a tile of tokens with a tile of terms, as a plain matrix product does, then reduces its
accumulators to one maximum per row and term. Rows that straddle tiles meet in an atomic maximum, which gives the same
bits in any order. Unmasked tokens are packed first, so masked ones cost nothing. `lexicon_head` shares `max_logits`.
Arguments are checked by the caller. Imports torch and Triton: only functions import this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from lexlip_kernels.launch_config import OPTIONS, DecoderConfig, choose_config
from lexlip_kernels.torch_checks import dtype_name

if TYPE_CHECKING:
    from torch import Tensor

_NOTHING = tl.constexpr(-(2**63))
"""The packed maximum of no tokens at all: below every packed logit, -inf included."""


@triton.jit
def log1p(x: tl.tensor) -> tl.tensor:
    """Log(1 + x) of x >= 0 to a few units in the last place: log(u) corrected for the rounding of u = 1 + x."""
    u = 1.0 + x
    small = (u > 1.0) & (x < 1.0)
    correction = tl.where(small, x, 1.0) / tl.where(small, u - 1.0, 1.0)
    return tl.where(u == 1.0, x, tl.log(u) * correction)


@triton.jit
def ordered(bits: tl.tensor) -> tl.tensor:
    """Bits of float32 to int32 of the same order, and back: negatives get what follows their sign flipped."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _tile_logits(
    hidden: tl.tensor,
    weight: tl.tensor,
    source: tl.tensor,
    term: tl.tensor,
    HIDDEN: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
) -> tl.tensor:
    """Logits of a tile, (tokens, terms) float32, without bias; `source` and `term` are in bounds."""
    step = tl.arange(0, BLOCK_HIDDEN)
    left = hidden + source.to(tl.int64)[:, None] * HIDDEN + step[None, :]
    right = weight + term.to(tl.int64)[None, :] * HIDDEN + step[:, None]
    accumulator = tl.zeros((source.shape[0], term.shape[0]), tl.float32)
    for first in range(0, HIDDEN, BLOCK_HIDDEN):
        if HIDDEN % BLOCK_HIDDEN == 0:
            a, b = tl.load(left + first), tl.load(right + first)
        else:
            within = first + step < HIDDEN
            a = tl.load(left + first, mask=within[None, :], other=0.0)
            b = tl.load(right + first, mask=within[:, None], other=0.0)
        accumulator = tl.dot(a, b, accumulator, input_precision="ieee")
    return accumulator


@triton.jit
def decoder_kernel(
    hidden: tl.tensor,
    weight: tl.tensor,
    packed_tokens: tl.tensor,
    packed_count: tl.tensor,
    best: tl.tensor,
    all_tokens: tl.int32,
    tokens: tl.int32,
    terms: tl.int32,
    HIDDEN: tl.constexpr,
    HAS_MASK: tl.constexpr,
    WITH_TOKEN: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr,
    GROUP: tl.constexpr,
) -> None:
    """Raise best (B, V) to the logits of one tile of packed tokens and terms; with WITH_TOKEN, to packed pairs."""
    # Neighbouring programs share a group of token tiles and one tile of terms: both come from the L2 cache.
    token_tiles = tl.cdiv(all_tokens, BLOCK_TOKENS)
    programs_per_group = GROUP * tl.cdiv(terms, BLOCK_TERMS)
    first_tile = tl.program_id(0) // programs_per_group * GROUP
    group = tl.minimum(token_tiles - first_tile, GROUP)
    within_group = tl.program_id(0) % programs_per_group
    start = (first_tile + within_group % group) * BLOCK_TOKENS
    term = within_group // group * BLOCK_TERMS + tl.arange(0, BLOCK_TERMS)

    live = tl.load(packed_count) if HAS_MASK else all_tokens
    if start >= live:
        return
    inside = start + tl.arange(0, BLOCK_TOKENS) < live
    # What lies beyond the edges repeats the last token and the last term; it is computed and never written.
    source = tl.minimum(start + tl.arange(0, BLOCK_TOKENS), live - 1)
    first_source, last_source = start, tl.minimum(start + BLOCK_TOKENS, live) - 1
    if HAS_MASK:
        source = tl.load(packed_tokens + source)
        first_source, last_source = tl.load(packed_tokens + first_source), tl.load(packed_tokens + last_source)

    logits = _tile_logits(hidden, weight, source, tl.minimum(term, terms - 1), HIDDEN, BLOCK_HIDDEN)
    written = term < terms
    row_of_token = tl.where(inside, source // tokens, -1)
    for row in range(first_source // tokens, last_source // tokens + 1):
        member = row_of_token == row
        target = best + tl.cast(row, tl.int64) * terms + term
        # Between two rows of a tile may lie one whose tokens are all masked: it stays at -inf and is not written.
        if WITH_TOKEN:
            largest, index = tl.max(tl.where(member[:, None], logits, float("-inf")), 0, return_indices=True)
            # NaN logits may leave an index beyond the last token, whose pair is not written either.
            place = tl.minimum(start + index, live - 1)
            token = tl.load(packed_tokens + place) if HAS_MASK else place
            value = ordered(largest.to(tl.int32, bitcast=True))
            pair = (value.to(tl.int64) << 32) | (0x7FFFFFFF - (token - row * tokens)).to(tl.int64)
            tl.atomic_max(target, pair, mask=written & (largest > float("-inf")), sem="relaxed")
        else:
            largest = tl.max(tl.where(member[:, None], logits, float("-inf")), 0)
            tl.atomic_max(target, largest, mask=written & (largest > float("-inf")), sem="relaxed")


@triton.jit
def finish_kernel(
    best: tl.tensor,
    bias: tl.tensor,
    output: tl.tensor,
    token: tl.tensor,
    terms: tl.int32,
    SATURATED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Unpack pairs (B, V) to logit + bias, saturated or not, and the token; -inf (or 0) and -1 where there is none."""
    row = tl.program_id(0).to(tl.int64)
    term = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = term < terms
    pair = tl.load(best + row * terms + term, mask=inside, other=0)
    logit = ordered((pair >> 32).to(tl.int32)).to(tl.float32, bitcast=True)
    found = pair != _NOTHING
    value = tl.where(found, logit + tl.load(bias + term, mask=inside, other=0.0).to(tl.float32), float("-inf"))
    if SATURATED:
        value = log1p(tl.maximum(value, 0.0))
    tl.store(output + row * terms + term, value, mask=inside)
    low = 0x7FFFFFFF - (pair & 0x7FFFFFFF).to(tl.int32)
    tl.store(token + row * terms + term, tl.where(found, low, -1).to(tl.int16), mask=inside)


def _capability(device: torch.device) -> tuple[int, int]:
    """Of the GPU; of none in particular under the interpreter."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)


def _pack(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Flat numbers of the unmasked tokens in ascending order, then the others; and how many are unmasked.

    Nothing waits for the GPU: the count stays there, and programs beyond it return at once.
    """
    masked = mask.reshape(-1).eq(0)
    return masked.to(torch.int8).argsort(stable=True).int(), masked.logical_not().sum(dtype=torch.int32)


def _multiply(hidden: Tensor, weight: Tensor, mask: Tensor | None, best: Tensor, config: DecoderConfig) -> None:
    """Raise best (B, V), which holds -inf (float32) or _NOTHING (int64), to the maxima over tokens."""
    batch, tokens, width = hidden.shape
    if batch == 0:
        return
    hidden, weight = hidden.contiguous(), weight.contiguous()
    if hidden.dtype == torch.bfloat16 and not hidden.is_cuda:
        # Triton's interpreter multiplies the bits of bfloat16 as integers; widening changes no value.
        hidden, weight = hidden.float(), weight.float()
    packed_tokens, packed_count = (best, best) if mask is None else _pack(mask)
    tiles = triton.cdiv(batch * tokens, config.block_tokens) * triton.cdiv(len(weight), config.block_terms)
    decoder_kernel[tiles,](
        hidden,
        weight,
        packed_tokens,
        packed_count,
        best,
        batch * tokens,
        tokens,
        len(weight),
        HIDDEN=width,
        HAS_MASK=mask is not None,
        WITH_TOKEN=best.dtype == torch.int64,
        BLOCK_TOKENS=config.block_tokens,
        BLOCK_TERMS=config.block_terms,
        BLOCK_HIDDEN=config.block_hidden,
        GROUP=config.group,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        **OPTIONS,
    )


def _config(hidden: Tensor, terms: int) -> DecoderConfig:
    batch, tokens, width = hidden.shape
    return choose_config(batch, tokens, width, terms, dtype_name(hidden), _capability(hidden.device))


def max_logits(hidden: Tensor, weight: Tensor, mask: Tensor | None = None) -> Tensor:
    """Logits without bias, maximised over tokens: (B, V) float32, -inf in a row without any unmasked token."""
    best = hidden.new_full((len(hidden), len(weight)), float("-inf"), dtype=torch.float32)
    _multiply(hidden, weight, mask, best, _config(hidden, len(weight)))
    return best


def lexicon_pool(
    hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None, saturated: bool
) -> tuple[Tensor, Tensor]:
    """Dense terms and the tokens they come from.

    Returns:
        (B, V) float32: with `saturated` the weights, otherwise the logits with bias, -inf in a row without tokens.
        (B, V) int16: the token of each maximum, the first among equals, -1 in a row without tokens.
    """
    batch, terms = len(hidden), len(weight)
    best = hidden.new_full((batch, terms), -(2**63), dtype=torch.int64)
    _multiply(hidden, weight, mask, best, _config(hidden, terms))
    output = hidden.new_empty((batch, terms), dtype=torch.float32)
    token = hidden.new_empty((batch, terms), dtype=torch.int16)
    if batch:
        finish_kernel[batch, triton.cdiv(terms, 1024)](
            best, bias.contiguous(), output, token, terms, SATURATED=saturated, BLOCK=1024, **OPTIONS
        )
    return output, token
