"""The int8 scan may be as coarse as it likes, but what it claims must hold: no float32 logit above its bound.

If the bound were too low by a hair, a term could be lost only where two terms lie close together around rank k. So the
bound itself is held against float64, and the inputs here are those that break quantisation.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_kernels.lexicon_head import native


def bounds_of(head, cpu_path):
    decoder = head.decoder()
    return native.upper_bounds(
        head.hidden,
        decoder.weight,
        decoder.bias,
        head.bytes_mask(),
        panels=decoder.panels,
        threads=2,
        cpu_path=cpu_path,
    )


def outliers(head):
    """Two hidden channels a thousand times the others, as transformers have them."""
    head.hidden[:, :, 3] *= 1000
    head.hidden[:, ::2, 7] *= -1000
    return head


def outlying_weights(head):
    head.weight[:, 5] *= 1000
    head.weight[::3, 9] *= 1e6
    return head


def outlying_tokens(head):
    head.hidden[:, 0] *= 1e6
    head.hidden[:, 1] *= 1e-6
    head.hidden[:, 2] = 0
    return head


def tiny(head):
    head.hidden[:] *= np.float32(1e-30)
    head.weight[::2] *= np.float32(1e-7)
    return head


def denormal(head):
    head.hidden[:, ::2] *= np.float32(1e-40)
    head.weight[::2] *= np.float32(1e-42)
    head.weight[1::4] = 0
    return head


def huge(head):
    head.hidden[:] *= np.float32(1e20)
    head.weight[::2] *= np.float32(1e15)
    return head


def one_hot(head):
    """All weight on one channel: quantisation loses nothing but the others, and the bound is nearly reached."""
    head.weight[:] *= np.float32(0.003)
    head.weight[np.arange(len(head.weight)), np.arange(len(head.weight)) % head.weight.shape[1]] = 1
    return head


def half_way(head):
    """Every value lies half-way between two levels: the largest rounding error there is."""
    head.hidden[:] = (np.floor(head.hidden * 20) + 0.5) / 127
    head.hidden[:, :, 0] = 1
    head.weight[:] = np.sign(head.weight) * 0.5 / 127
    head.weight[:, 0] = 1
    return head


def parallel(head):
    """What rounding loses is parallel to what it is multiplied with: Cauchy-Schwarz holds with equality.

    Row 0 loses all channels but the first, and even columns consist of those; row 1 and odd columns vice versa.
    """
    lost = np.float32(0.49 / 127)
    head.hidden[0] = lost
    head.hidden[0, :, 0] = 1
    head.hidden[1] = 1
    head.hidden[1, :, 0] = 0
    head.weight[::2] = 1
    head.weight[::2, 0] = 0
    head.weight[1::2] = lost
    head.weight[1::2, 0] = 1
    return head


ADVERSARIES = [parallel, outliers, outlying_weights, outlying_tokens, tiny, denormal, huge, one_hot, half_way]


@pytest.fixture(params=[lambda head: head, *ADVERSARIES], ids=lambda spoil: spoil.__name__)
def head(request, make_random):
    return request.param(make_random(2, 23, 96, 700, seed=11))


def test_no_logit_exceeds_its_bound(scanning_path, head):
    bounds = bounds_of(head, scanning_path).astype(np.float64)
    slack = bounds - head.logits()
    assert (slack >= 0).all()
    # Nor is it vacuous: this is what Cauchy-Schwarz leaves where outliers make both roundings useless.
    tokens = np.linalg.norm(head.hidden.astype(np.float64), axis=2).max(axis=1)[:, None]
    columns = np.linalg.norm(head.weight.astype(np.float64), axis=1)
    assert (slack <= 2.01 * tokens * columns + 1e-6 * np.abs(head.bias) + 1e-29).all()


def test_the_bound_is_tight_on_well_behaved_data(scanning_path, make_random):
    head = make_random(1, 50, 768, 500)
    slack = bounds_of(head, scanning_path) - head.logits()
    norms = np.linalg.norm(head.hidden, axis=2).max() * np.linalg.norm(head.weight, axis=1)
    # Residuals of uniform rounding, 0.8 % each at 127 levels and 1.6 % at 63, with a quarter to spare.
    assert (slack < 0.04 * norms).all()


@pytest.mark.parametrize("k", [1, 30, 500])
def test_the_result_is_float32_whatever_the_bound_is_worth(scanning_path, head, check_identical, check_close, k):
    expected = head.run(k, mode="f32", cpu_path=scanning_path)
    check_identical(head.run(k, cpu_path=scanning_path, threads=2), expected)
    check_close(expected, head, k)


@pytest.mark.parametrize("k", [1, 63, 64, 65, 199])
def test_near_ties_around_rank_k(scanning_path, make_head, check_identical, k):
    """200 terms whose logits differ by one unit in the last place, scrambled, far below int8 resolution."""
    vocab = 200
    logits = np.float32(1.5) + np.arange(vocab, dtype=np.float32) * np.float32(2.0**-23)
    order = np.random.default_rng(k).permutation(vocab)
    weight = np.random.default_rng(1).standard_normal((vocab, 33), dtype=np.float32)
    weight[:, 0] = logits[order]
    hidden = np.zeros((1, 2, 33), np.float32)
    hidden[0, 0, 0] = 1  # the other channels make scales differ, and add nothing
    hidden[0, 1] = 0
    head = make_head(hidden, weight, np.zeros(vocab, np.float32))
    found = head.run(k, cpu_path=scanning_path)
    check_identical(found, head.run(k, mode="f32", cpu_path=scanning_path))
    check_identical(found, head.run(k, backend="reference"))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_magnitudes(make_random, check_identical, data):
    """Exponents drawn per token, channel and column; the exact result stays the float32 result."""
    head = make_random(
        1, data.draw(st.integers(1, 15)), data.draw(st.integers(1, 40)), 90, data.draw(st.integers(0, 99))
    )
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    spread = data.draw(st.sampled_from([0, 1, 4, 9]))

    def powers(*shape):
        return (10.0 ** random.integers(-spread, spread + 1, shape)).astype(np.float32)

    head.hidden[:] *= powers(1, head.hidden.shape[1], 1) * powers(1, 1, head.hidden.shape[2])
    head.weight[:] *= powers(len(head.weight), 1)
    k = data.draw(st.integers(1, 40))
    check_identical(head.run(k), head.run(k, mode="f32"))
