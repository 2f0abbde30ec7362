"""Launch configurations fit every GPU they are chosen for; a pure function, so no GPU and no Triton are needed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_kernels.launch_config import MAX_FUSED_K, choose_config, choose_pool, choose_select

#: Bytes of shared memory one program may take (CUDA programming guide, technical specifications by capability).
SHARED = {(7, 0): 96 << 10, (7, 5): 64 << 10, (8, 0): 163 << 10, (8, 6): 99 << 10, (8, 9): 99 << 10, (9, 0): 227 << 10}
SIZES = {"float16": 2, "bfloat16": 2, "float32": 4}


def is_power_of_two(n):
    return n > 0 and n & (n - 1) == 0


@settings(max_examples=300, deadline=None)
@given(
    B=st.integers(0, 4096),
    L=st.integers(1, 1024),
    H=st.integers(1, 1024),
    V=st.integers(1, 260_000),
    dtype=st.sampled_from(list(SIZES)),
    capability=st.sampled_from([*SHARED, (12, 0), (0, 0)]),
)
def test_decoder_blocks_fit(B, L, H, V, dtype, capability):  # noqa: N803
    config = choose_config(B, L, H, V, dtype, capability)
    blocks = (config.block_tokens, config.block_terms, config.block_hidden)
    assert all(is_power_of_two(block) and block >= 16 for block in blocks)  # what tl.dot asks for
    step = (config.block_tokens + config.block_terms) * config.block_hidden * SIZES[dtype]
    assert step * config.num_stages <= SHARED.get(capability, 99 << 10)
    accumulators = config.block_tokens * config.block_terms // (32 * config.num_warps)
    assert accumulators <= 128  # a thread has 255 registers


def test_the_main_shapes():
    hopper = choose_config(32, 197, 768, 30522, "float16", (9, 0))
    assert (hopper.block_tokens, hopper.block_terms, hopper.block_hidden) == (128, 128, 64)
    volta = choose_config(32, 197, 768, 30522, "float16", (7, 0))
    assert volta == choose_config(32, 197, 768, 30522, "float32", (7, 0))  # no tensor cores either way
    assert choose_config(1, 12, 768, 30522, "float16", (8, 0)).block_tokens == 16  # one short query wastes no tile


@pytest.mark.parametrize("V", [1, 61, 30522, 260_000])
@pytest.mark.parametrize("L", [1, 7, 197])
@pytest.mark.parametrize("size", [2, 4])
def test_pool_blocks_keep_32_values_a_thread_at_most(L, V, size):  # noqa: N803
    config = choose_pool(L, V, size)
    assert is_power_of_two(config.block_tokens)
    assert is_power_of_two(config.block_terms)
    assert config.block_tokens * config.block_terms <= 32 * 32 * config.num_warps


@pytest.mark.parametrize("candidates", [1, 61, 30522, 260_000])
def test_every_round_of_the_selection_leaves_fewer(candidates):
    config = choose_select(candidates)
    assert is_power_of_two(config.block)
    assert config.block <= 32 * 32 * config.num_warps or config.num_warps == 1
    if candidates > config.block:
        assert -(-candidates // config.block) * MAX_FUSED_K < candidates
