"""Other saturations, the norm over the vocabulary and own terms: every backend against plain float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_kernels.errors import InputError
from lexlip_kernels.lexicon_head import HeadRule, PackedDecoder, RankedTerms, cpu_paths, lexicon_head

RULES = [HeadRule(s, n) for s in ("log1p_relu", "elu1p") for n in (False, True)]


def by_hand(head: Any, rule: HeadRule) -> npt.NDArray[np.float64]:
    """All weights (B, V), in float64; shares no code with a backend."""
    x = head.logits()
    weights = (
        np.log1p(np.maximum(x, 0))
        if rule.saturation == "log1p_relu"
        else np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
    )
    norms = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights / np.where(norms > 0, norms, 1) if rule.normalise else weights


def assert_rows(
    found: RankedTerms,
    expected: npt.NDArray[np.float64],
    k: int,
    own: Any = None,
    rel: float = 2e-6,
    absolute: float = 1e-35,
) -> None:
    for row, weights in enumerate(expected):
        count = found.counts[row]
        ids, values = found.ids[row, :count], found.weights[row, :count]
        assert len(set(ids.tolist())) == count
        assert (found.ids[row, count:] == -1).all()
        assert (found.weights[row, count:] == 0).all()
        assert values == pytest.approx(weights[ids], rel=rel, abs=absolute)
        assert (np.lexsort((ids, -values)) == np.arange(count)).all()
        mine = set() if own is None else {v for v in own[row].tolist() if v >= 0 and weights[v] > 1e-30}
        assert mine <= set(ids.tolist())
        heaviest = np.sort(weights)[::-1][: min(k, (weights > 1e-30).sum())]
        assert np.sort(values)[::-1][: len(heaviest)] == pytest.approx(heaviest, rel=rel, abs=absolute)
        assert count <= k + len(mine)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("backend", ["native", "reference"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_small_integers(make_integer: Any, rule: HeadRule, backend: str, data: Any) -> None:
    rows, tokens, hidden, vocab = (data.draw(st.integers(1, hi)) for hi in (3, 9, 9, 70))
    head = make_integer(rows, tokens, hidden, vocab, data.draw(st.integers(0, 999)))
    k, width = data.draw(st.integers(1, vocab)), data.draw(st.integers(0, 4))
    own = np.array(
        data.draw(st.lists(st.integers(-1, vocab - 1), min_size=rows * width, max_size=rows * width)), np.int64
    )
    own = own.reshape(rows, width)
    found = head.run(k, rule=rule, own=own, backend=backend)
    assert_rows(found, by_hand(head, rule), k, own)
    assert found.ids.shape == (rows, k + width)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("shift", [-30.0, -3.0, 0.0, 3.0])
def test_paths_and_modes_agree_bit_for_bit(make_random: Any, rule: HeadRule, shift: float) -> None:
    head = make_random(3, 17, 64, 1000, 5, shift)
    own = np.random.default_rng(0).integers(-1, 1000, (3, 6))
    first = head.run(40, rule=rule, own=own, mode="f32")
    near = {"rel": 1e-4, "absolute": 1e-35 if rule.saturation == "elu1p" else 1e-5}  # a log1p may lie close to 0
    assert_rows(first, by_hand(head, rule), 40, own, **near)
    for path in cpu_paths():
        for mode in ("exact", "f32"):
            for threads in (1, 3):
                other = head.run(40, rule=rule, own=own, mode=mode, threads=threads, cpu_path=path)
                if path == "portable":
                    assert_rows(other, by_hand(head, rule), 40, own, **near)
                    continue
                assert (other.counts == first.counts).all()
                if rule.normalise:  # sums in other orders: terms may change places where their weights are one
                    assert other.weights == pytest.approx(first.weights, rel=1e-6)
                    assert (other.ids == first.ids).mean() > 0.99
                    continue
                assert (other.ids == first.ids).all()
                assert (other.weights == first.weights).all()


@pytest.mark.parametrize("bias", [-1e4, -200.0, -103.5, -90.0, 0.0, 1e6, 1e20], ids=str)
@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("normalise", [False, True])
def test_hostile_logits(backend: str, bias: float, normalise: bool) -> None:
    """All equal, far below, far above; ties go to the lower id, what exp rounds to 0 is no term."""
    rule, vocab = HeadRule("elu1p", normalise), 100
    decoder = PackedDecoder.pack(np.zeros((vocab, 8), np.float32), np.full(vocab, bias, np.float32))
    found = lexicon_head(np.ones((2, 3, 8), np.float32), decoder, k=7, rule=rule, backend=backend)
    if bias < -104:
        assert (found.counts == 0).all()
        assert (found.ids == -1).all()
        return
    assert found.ids.tolist() == [list(range(7))] * 2
    weight = np.float32(np.exp(np.float64(bias)) if bias <= 0 else np.float64(bias) + 1)
    assert found.weights == pytest.approx(0.1 if normalise else weight, rel=1e-6)


def hard_head(make_head: Any, kind: str, rows: int, tokens: int, hidden: int, vocab: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    states = random.standard_normal((rows, tokens, hidden), dtype=np.float32)
    weight = random.standard_normal((vocab, hidden), dtype=np.float32) / np.float32(np.sqrt(hidden))
    if kind == "tokens alike":
        states = states[:, :1] + np.float32(1e-6) * states
    elif kind == "tokens equal":
        states = np.repeat(states[:, :1], tokens, axis=1)
    elif kind == "channels apart":
        states[..., ::7] *= 300
    elif kind == "columns equal":
        weight[:] = weight[0]
    elif kind == "tiny":
        states *= np.float32(1e-18)
        weight *= np.float32(1e-18)
    bias = random.standard_normal(vocab, dtype=np.float32) * np.float32(0 if kind == "columns equal" else 0.1)
    return make_head(states, weight, bias, random.integers(0, 4, (rows, tokens)) > 0)


@pytest.mark.parametrize("kind", ["usual", "tokens alike", "tokens equal", "channels apart", "columns equal", "tiny"])
@pytest.mark.parametrize("shape", [(3, 49, 768, 700), (2, 1, 33, 95), (2, 130, 64, 257), (1, 17, 1, 5)])
def test_a_norm_by_way_of_the_scan(make_head: Any, scanning_path: str, kind: str, shape: Any) -> None:
    """The norm of float64, and the terms of `f32`, where bounds are tight, loose or worth nothing."""
    head = hard_head(make_head, kind, *shape, seed=sum(shape))
    for saturation in ("log1p_relu", "elu1p"):
        plain = head.run(40, rule=HeadRule(saturation), mode="f32")
        found = head.run(40, rule=HeadRule(saturation, normalise=True), cpu_path=scanning_path)
        weights = by_hand(head, HeadRule(saturation))
        norms = np.sqrt((weights**2).sum(axis=1, keepdims=True))
        expected = plain.weights / np.where(norms > 0, norms, 1)
        off = 2e-5 if kind != "channels apart" else 1e-3  # logits of thousands that nearly cancel
        assert found.weights == pytest.approx(expected, rel=off, abs=1e-37)
        assert (found.counts == plain.counts).all()
        for row, count in enumerate(found.counts):  # whatever id stands at a rank weighs what stands there
            of_ids = weights[row, found.ids[row, :count]]
            assert of_ids == pytest.approx(plain.weights[row, :count], rel=off, abs=1e-37)


def test_a_norm_does_not_depend_on_threads(make_random: Any, scanning_path: str) -> None:
    head = make_random(5, 60, 96, 3000)
    rule = HeadRule("elu1p", normalise=True)
    first, second = (head.run(50, rule=rule, threads=threads, cpu_path=scanning_path) for threads in (1, 7))
    assert (first.ids == second.ids).all()
    assert (first.weights == second.weights).all()


def test_weights_that_round_together_are_ranked_by_id() -> None:
    """Different logits, one weight: x + 1 and exp(x) both lose digits that the logits have."""
    bias = np.array([1e-12, 5e-12, 2e-12, -1e-12, -103.2, -103.0, -103.1], np.float32)
    decoder = PackedDecoder.pack(np.zeros((7, 4), np.float32), bias)
    for mode in ("exact", "f32"):
        found = lexicon_head(np.ones((1, 1, 4), np.float32), decoder, k=6, rule=HeadRule("elu1p"), mode=mode)
        assert found.ids.tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_row_without_tokens_and_padding_that_is_left_out(make_random: Any, backend: str) -> None:
    head = make_random(2, 5, 16, 50)
    mask = np.array([[0] * 5, [1, 1, 0, 0, 0]])
    rule = HeadRule("elu1p", normalise=True)
    found = lexicon_head(head.hidden, head.decoder(), mask, k=50, rule=rule, own=np.array([[3], [4]]), backend=backend)
    short = lexicon_head(np.ascontiguousarray(head.hidden[1:, :2]), head.decoder(), k=50, rule=rule, backend=backend)
    assert found.counts.tolist() == [0, 50]
    assert (found.ids[1, :50] == short.ids[0]).all()
    assert found.weights[1, :50] == pytest.approx(short.weights[0], rel=1e-6)
    assert (found.weights[1].astype(np.float64) ** 2).sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    "own", [np.zeros((1, 2), np.int32), np.zeros((3, 2), np.int64), np.array([[50]]), np.array([[-2]]), [[1]]]
)
def test_own_terms_that_are_none(make_random: Any, own: Any) -> None:
    head = make_random(1, 2, 8, 50)
    with pytest.raises(InputError, match="own "):
        head.run(3, own=own)


def test_no_such_saturation() -> None:
    with pytest.raises(InputError, match="saturation is 'relu'; expected 'log1p_relu' or 'elu1p'"):
        HeadRule("relu")  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_tensors(make_random: Any, rule: HeadRule) -> None:
    torch = pytest.importorskip("torch")
    from lexlip_kernels.lexicon_head import TensorDecoder
    from lexlip_kernels.lexicon_topk import lexicon_topk

    head = make_random(3, 7, 16, 120, 2)
    own = np.random.default_rng(1).integers(-1, 120, (3, 5))
    decoder = TensorDecoder(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
    found = lexicon_head(torch.from_numpy(head.hidden), decoder, k=9, rule=rule, own=torch.from_numpy(own))
    assert_rows(RankedTerms(*(part.numpy() for part in found)), by_hand(head, rule), 9, own, rel=1e-5, absolute=1e-5)
    logits = torch.from_numpy(head.hidden) @ decoder.weight.T + decoder.bias
    found = lexicon_topk(logits, 9, rule=rule, own=torch.from_numpy(own))
    assert_rows(RankedTerms(*(part.numpy() for part in found)), by_hand(head, rule), 9, own, rel=1e-5, absolute=1e-5)
