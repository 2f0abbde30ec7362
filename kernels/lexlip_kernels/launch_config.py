"""How the Triton kernels are cut into blocks: pure functions of shapes, dtype and compute capability, without a GPU.

No autotuner: the same shapes always compile and run the same kernels, on every machine of one kind, and the choice can
be tested where there is no GPU. What bounds each op is derived in its folder's README.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_FUSED_K = 1024
"""Largest k of the Triton top-k; beyond it a full stable sort is used, which then does hardly more work."""

OPTIONS = {"enable_fp_fusion": True}
"""Given to every launch: a product and a sum may become one instruction. Triton 3.9 warns where this is left open."""


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Blocks of the matrix product of all B * L tokens with the decoder, (V, H).

    Attributes:
        block_tokens: tokens of one tile, M.
        block_terms: terms of one tile, N.
        block_hidden: elements of H in one step of the inner loop, K.
        group: tiles of tokens that follow each other on one tile of terms, so that both stay in the L2 cache.
        num_warps: warps a program.
        num_stages: steps of the inner loop in flight.
    """

    block_tokens: int
    block_terms: int
    block_hidden: int
    group: int
    num_warps: int
    num_stages: int


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Blocks of the maximum over tokens of given logits (B, L, V).

    Attributes:
        block_tokens: tokens read at a time.
        block_terms: terms of one program.
        num_warps: warps a program.
    """

    block_tokens: int
    block_terms: int
    num_warps: int


@dataclass(frozen=True, slots=True)
class SelectConfig:
    """Blocks of one round of the top-k selection.

    Attributes:
        block: candidates of one program, all held in registers.
        num_warps: warps a program.
    """

    block: int
    num_warps: int


def _power_of_two(n: int) -> int:
    """The smallest power of two that is not below n >= 1."""
    return 1 << (n - 1).bit_length()


def _clamp(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))


def choose_config(B: int, L: int, H: int, V: int, dtype: str, capability: tuple[int, int]) -> DecoderConfig:  # noqa: N803
    """Blocks of the fused product and maximum (`lexicon_head`, `lexicon_pool`).

    Tensor cores take float16 and bfloat16 from sm_80 on. Below, and for float32 (multiplied exactly, never as TF32),
    Triton emits scalar multiply-adds, and smaller blocks keep the accumulators in registers.

    Args:
        B: rows.
        L: tokens a row.
        H: hidden size.
        V: terms.
        dtype: `"float16"`, `"bfloat16"` or `"float32"`.
        capability: of the GPU, for example `(9, 0)`.
    """
    tokens = _clamp(_power_of_two(max(1, B * L)), 16, 128)
    terms = _clamp(_power_of_two(V), 16, 128)
    hidden = _clamp(_power_of_two(H), 16, 64 if capability >= (9, 0) else 32)
    if dtype == "float32" or capability < (8, 0):
        return DecoderConfig(min(64, tokens), min(64, terms), min(16, hidden), group=8, num_warps=8, num_stages=2)
    # Two programs of four warps fit a multiprocessor: while one reduces its accumulators, the other multiplies.
    return DecoderConfig(tokens, terms, hidden, group=8, num_warps=4, num_stages=3 if capability >= (9, 0) else 4)


def choose_pool(L: int, V: int, element_size: int) -> PoolConfig:  # noqa: N803
    """Blocks of the maximum over tokens: enough bytes in flight to fill the memory bus, the rest is waiting.

    Args:
        L: tokens a row.
        V: terms.
        element_size: bytes a logit.
    """
    terms = _clamp(_power_of_two(V), 128, 1024 if element_size < 4 else 512)
    return PoolConfig(_clamp(_power_of_two(L), 1, 8), terms, max(1, terms // 128))


def choose_select(candidates: int) -> SelectConfig:
    """Blocks of one round of the selection: 32 candidates a thread, at most 8,192 a program.

    Args:
        candidates: a row.
    """
    block = _clamp(_power_of_two(candidates), 128, 8192)
    return SelectConfig(block, max(1, block // 1024))
