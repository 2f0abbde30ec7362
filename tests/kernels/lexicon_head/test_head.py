"""lexicon_head computes what it is defined to compute: every backend, mode, CPU path and number of threads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_kernels import available_backends
from lexlip_kernels.lexicon_head import PackedDecoder, cpu_paths, lexicon_head

# (B, L, H, V): every awkward number occurs, in company that differs.
SHAPES = [
    (1, 1, 1, 61),
    (2, 7, 32, 61),
    (3, 63, 65, 1000),
    (1, 197, 1, 1000),
    (5, 1, 65, 4096),
    (2, 197, 32, 4096),
    (1, 11, 256, 30522),
    (2, 49, 256, 4096),
    (1, 7, 768, 4096),
    (17, 12, 33, 1),
    (4, 13, 64, 33),
]
FULL_SIZE = (1, 197, 768, 30522)


def test_every_path_is_listed():
    assert available_backends() == ("native", "reference")  # or `auto` would test the reference against itself
    assert cpu_paths()[-1] == "portable"


def by_hand(head, k):
    """The definition once more, in plain Python on one row at a time, sharing no code with any backend."""
    rows = []
    for tokens, kept in zip(head.hidden.tolist(), head.bytes_mask().tolist(), strict=True):
        weights = []
        for column, bias in zip(head.weight.tolist(), head.bias.tolist(), strict=True):
            products = [
                sum(h * w for h, w in zip(t, column, strict=True)) for t, m in zip(tokens, kept, strict=True) if m
            ]
            logit = max(products) + bias if products else -1.0
            weights.append(float(np.float32(np.log1p(max(logit, 0.0)))))
        ranked = sorted((v for v, w in enumerate(weights) if w > 0), key=lambda v: (-weights[v], v))[:k]
        rows.append((ranked, [weights[v] for v in ranked]))
    return rows


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("mode", ["exact", "f32"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_plain_python(make_integer, backend, mode, data):
    rows, tokens, hidden, vocab = (data.draw(st.integers(0, 3)), *(data.draw(st.integers(1, 9)) for _ in range(3)))
    head = make_integer(rows, tokens, hidden, vocab, data.draw(st.integers(0, 999)), data.draw(st.integers(0, 4)))
    mask = data.draw(st.lists(st.booleans(), min_size=rows * tokens, max_size=rows * tokens))
    head = dataclasses.replace(head, mask=np.array(mask, np.bool_).reshape(rows, tokens))
    k = data.draw(st.integers(1, 12))
    found = head.run(k, backend=backend, mode=mode, threads=data.draw(st.integers(1, 3)))
    for row, (ids, weights) in enumerate(by_hand(head, k)):
        count = found.counts[row]
        assert found.ids[row, :count].tolist() == ids
        assert found.weights[row, :count].tolist() == weights


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["exact", "f32"])
def test_native_is_close_to_float64(make_random, check_close, cpu_path, mode, shape):
    head = make_random(*shape)
    for k in (1, 10, 256):
        check_close(head.run(k, mode=mode, cpu_path=cpu_path), head, k)


def test_full_size(make_random, check_close, check_identical, scanning_path):
    head = make_random(*FULL_SIZE)
    found = head.run(256, cpu_path=scanning_path, threads=2)
    check_close(found, head, 256)
    check_identical(found, head.run(256, cpu_path=scanning_path, mode="f32", threads=2))


@pytest.mark.parametrize("shape", SHAPES)
def test_reference_is_close_to_float64(make_random, check_close, shape):
    head = make_random(*shape)
    check_close(head.run(10, backend="reference"), head, 10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["exact", "f32"])
def test_integers_give_equal_ids(make_integer, check_identical, cpu_path, mode, shape):
    head = make_integer(*shape)
    for k in (1, 10, 300):
        expected = head.run(k, backend="reference")
        check_identical(head.run(k, mode=mode, cpu_path=cpu_path, threads=2), expected)


@pytest.mark.parametrize("shift", [0.0, -2.0, -3.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_exact_is_float32_bit_for_bit(make_random, check_identical, cpu_path, shape, shift):
    head = make_random(*shape, seed=1, shift=shift)
    for k in (1, 10, 256):
        expected = head.run(k, mode="f32", cpu_path=cpu_path)
        for threads in (1, 2, 5):
            check_identical(head.run(k, cpu_path=cpu_path, threads=threads), expected)


def test_paths_with_fused_multiply_add_agree_bit_for_bit(make_random, check_identical):
    head = make_random(3, 63, 65, 1000)
    fused = [path for path in cpu_paths() if path != "portable"]
    if len(fused) < 2:
        pytest.skip("this CPU has one such path at most")
    for path in fused[1:]:
        check_identical(head.run(100, cpu_path=path), head.run(100, cpu_path=fused[0]))


def test_a_row_does_not_depend_on_its_neighbours(make_random, check_identical, cpu_path):
    # 40 rows of 197 tokens take several chunks of working memory.
    head = make_random(40, 197, 256, 500)
    together = head.run(20, cpu_path=cpu_path, threads=2)
    for row in (0, 17, 39):
        alone = dataclasses.replace(head, hidden=head.hidden[row : row + 1]).run(20, cpu_path=cpu_path)
        np.testing.assert_array_equal(together.ids[row], alone.ids[0])
        np.testing.assert_array_equal(together.weights[row], alone.weights[0])


@pytest.mark.parametrize("tokens", [*range(1, 27), 31, 32, 33, 47, 48, 49, 63, 64, 65])
def test_every_length_of_a_tile(make_integer, check_identical, cpu_path, tokens):
    head = make_integer(2, tokens, 5, 70, seed=tokens)
    check_identical(head.run(70, cpu_path=cpu_path), head.run(70, backend="reference"))


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint8, np.int32])
def test_masks(make_integer, check_identical, cpu_path, dtype):
    head = make_integer(6, 20, 32, 300)
    mask = np.random.default_rng(3).integers(0, 2, (6, 20)).astype(dtype)
    mask[1] = 0
    mask[2] = 1
    masked = dataclasses.replace(head, mask=mask)
    found = masked.run(50, cpu_path=cpu_path)
    check_identical(found, masked.run(50, backend="reference"))
    assert found.counts[1] == 0
    # Leaving tokens out is the same as never having had them.
    kept = np.ascontiguousarray(head.hidden[3][mask[3] != 0])[None]
    alone = dataclasses.replace(head, hidden=kept).run(50, cpu_path=cpu_path)
    np.testing.assert_array_equal(found.ids[3], alone.ids[0])


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_padding_may_hold_anything(make_integer, check_identical, backend):
    head = make_integer(2, 9, 32, 100)
    mask = np.array([[1] * 5 + [0] * 4, [1] * 9])
    expected = dataclasses.replace(head, mask=mask).run(10, backend=backend)
    for junk in (np.nan, np.inf, 3e38):
        spoilt = head.hidden.copy()
        spoilt[0, 5:] = junk
        check_identical(dataclasses.replace(head, hidden=spoilt, mask=mask).run(10, backend=backend), expected)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_nothing_to_do(make_random, backend):
    for rows, tokens in ((0, 7), (0, 0), (3, 0)):
        found = make_random(rows, tokens, 8, 20).run(4, backend=backend, threads=3)
        assert found.ids.tolist() == [[-1] * 4] * rows
        assert found.weights.tolist() == [[0.0] * 4] * rows
        assert found.counts.tolist() == [0] * rows


@pytest.mark.parametrize("mode", ["exact", "f32"])
def test_equal_logits_go_to_the_lowest_ids(make_head, cpu_path, mode):
    head = make_head(np.ones((1, 3, 8), np.float32), np.ones((500, 8), np.float32), np.zeros(500, np.float32))
    found = head.run(100, mode=mode, cpu_path=cpu_path, threads=2)
    assert found.ids.tolist() == [list(range(100))]
    assert set(found.weights[0].tolist()) == {float(np.float32(np.log1p(8.0)))}


def test_logits_that_round_to_one_weight_are_a_tie(make_head, cpu_path):
    # log1p of 2^20 and of its float32 neighbours is one float32: ids decide, though the logits differ.
    logits = np.array([2.0**20, np.nextafter(np.float32(2.0**20), np.float32(np.inf)), 1.0], np.float32)
    head = make_head(np.ones((1, 1, 1), np.float32), logits[:, None], np.zeros(3, np.float32))
    for mode in ("exact", "f32"):
        assert head.run(1, mode=mode, cpu_path=cpu_path).ids.tolist() == [[0]]


def test_all_negative(make_random, cpu_path):
    found = make_random(2, 9, 16, 200, shift=-100.0).run(5, cpu_path=cpu_path)
    assert found.counts.tolist() == [0, 0]
    assert (found.ids == -1).all()


def test_suppressed_terms_never_appear(make_random, cpu_path):
    head = make_random(4, 30, 32, 300)
    head.bias[::2] = -1e4
    found = head.run(300, cpu_path=cpu_path)
    assert (found.ids[found.ids >= 0] % 2 == 1).all()


def test_k_beyond_the_positive_terms_and_beyond_the_vocabulary(make_random, check_close, cpu_path):
    head = make_random(2, 5, 32, 100, shift=-1.5)
    found = head.run(1000, cpu_path=cpu_path)
    assert 0 < found.counts.max() < 100
    check_close(found, head, 1000)


def test_the_decoder_may_be_a_read_only_memory_map(make_random, check_identical, tmp_path):
    head = make_random(2, 9, 32, 100)
    np.save(tmp_path / "weight.npy", head.weight)
    mapped = PackedDecoder.pack(np.load(tmp_path / "weight.npy", mmap_mode="r"), head.bias)
    check_identical(lexicon_head(head.hidden, mapped, k=7), head.run(7))
