"""lexicon_topk in Triton and in torch against plain Python: exact ids, exact order, nothing left unwritten."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")

from lexlip_kernels.launch_config import MAX_FUSED_K  # noqa: E402
from lexlip_kernels.lexicon_topk import lexicon_topk, reference  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")

DTYPES = ["float16", "bfloat16", "float32"]


def by_hand(logits, k, mask=None):
    """The definition once more, in plain Python, sharing no code with any backend."""
    k = min(k, logits.shape[-1])
    ids, weights, counts = [], [], []
    for row, tokens in enumerate(logits.double().cpu().tolist()):
        live = [values for token, values in enumerate(tokens) if mask is None or mask[row, token]]
        pooled = [max(column) for column in zip(*live, strict=True)]
        hits = sorted((term for term, value in enumerate(pooled) if value > 0), key=lambda term: (-pooled[term], term))
        padding = k - len(hits[:k])
        ids.append(hits[:k] + [-1] * padding)
        weights.append([math.log1p(pooled[term]) for term in hits[:k]] + [0.0] * padding)
        counts.append(len(hits[:k]))
    return ids, torch.tensor(weights), counts


def check(found, expected, assert_close):
    ids, weights, counts = found
    assert (ids.dtype, weights.dtype, counts.dtype) == (torch.int64, torch.float32, torch.int32)
    assert ids.tolist() == expected[0]
    assert counts.tolist() == expected[2]
    assert_close("weights", weights.cpu(), expected[1])


def random_logits(shape, dtype, device, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device, getattr(torch, dtype))


@pytest.fixture(params=["triton", "reference"])
def backend(request):
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "k"), [((2, 1, 61), 5), ((3, 7, 1000), 300), ((1, 63, 130), 1), ((2, 9, 1), 4)])
def test_equals_plain_python(backend, device, assert_close, shape, k, masked, dtype):
    logits = random_logits(shape, dtype, device)
    mask = (random_logits(shape[:2], "float32", device, seed=1) > 0).long() if masked else None
    if masked:
        mask[0] = 1
        mask[-1] = 0  # a row without any token, where there are two rows or more
        mask[0, 0] = 1
    k = min(k, shape[-1])
    expected = by_hand(logits, k, mask) if mask is None or bool(mask.any(1).all()) else None
    found = lexicon_topk(logits, k, mask, backend)
    if expected is None:
        expected = by_hand(logits[:-1], k, mask[:-1])
        assert [part[-1].tolist() for part in found] == [[-1] * k, [0.0] * k, 0]
        found = tuple(part[:-1] for part in found)
    check(found, expected, assert_close)


@pytest.mark.parametrize("k", [256, 700])
def test_a_real_vocabulary(device, assert_close, k):
    # 30,522 terms are four blocks; 60,000 terms at k = 700 leave 5,600 candidates, which need a second round.
    pooled = random_logits((2, 60_000 if k == 700 else 30_522), "float32", device)
    check(lexicon_topk(pooled, k, backend="triton"), by_hand(pooled[:, None], k), assert_close)


@pytest.mark.parametrize("k", [1, 64, 100, 300])
def test_ties_go_to_the_lower_id(backend, device, assert_close, k):
    equal = torch.full((2, 3, 257), 1.5, device=device)
    assert lexicon_topk(equal, k, backend=backend)[0].tolist() == [[*range(min(k, 257))]] * 2
    # Five values only, over two blocks of 8,192 terms.
    few = (random_logits((1, 1, 9000), "float32", device) * 2).round().clamp(-2, 2)
    check(lexicon_topk(few, k, backend=backend), by_hand(few, k), assert_close)


def test_nothing_positive(backend, device):
    logits = -random_logits((2, 5, 61), "float16", device).abs()
    logits[1] = 0
    ids, weights, counts = lexicon_topk(logits, 7, backend=backend)
    assert (ids == -1).all()
    assert (weights == 0).all()
    assert counts.tolist() == [0, 0]


def test_k_above_the_positive_and_above_v(backend, device, assert_close):
    logits = random_logits((2, 1, 61), "float32", device)
    for k in (40, 61, 62, 200):
        check(lexicon_topk(logits, k, backend=backend), by_hand(logits, k), assert_close)


def test_k_beyond_the_fused_limit_is_sorted(backend, device, assert_close):
    logits = random_logits((1, 2, 3000), "float16", device)
    k = MAX_FUSED_K + 1
    check(lexicon_topk(logits, k, backend=backend), by_hand(logits, k), assert_close)
    check(lexicon_topk(logits, k - 1, backend=backend), by_hand(logits, k - 1), assert_close)


@pytest.mark.parametrize("junk", [math.nan, math.inf])
def test_masked_logits_have_no_influence(backend, device, assert_close, junk):
    logits = random_logits((2, 9, 61), "float16", device)
    mask = torch.tensor([[1, 1, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1]], device=device)
    logits[mask == 0] = junk
    check(lexicon_topk(logits, 50, mask.bool(), backend), by_hand(logits, 50, mask), assert_close)


def test_extreme_values(backend, device):
    logits = torch.tensor([[0.0, math.inf, 1e-30, 3e38, -0.0, -math.inf, 1e-8]], device=device)
    ids, weights, counts = lexicon_topk(logits, 5, backend=backend)
    assert ids.tolist() == [[1, 3, 6, 2, -1]]
    assert counts.tolist() == [4]
    assert weights[0, 0] == math.inf
    assert weights[0, 1:3].tolist() == pytest.approx([math.log1p(3e38), 1e-8], rel=1e-6)


def test_views_are_read_where_they_lie(backend, device, assert_close):
    whole = random_logits((3, 9, 70), "float16", device)
    view = whole[::2, 1::3, 3:64]
    check(lexicon_topk(view, 20, backend=backend), by_hand(view, 20), assert_close)


def test_no_rows(backend, device):
    ids, weights, counts = lexicon_topk(torch.zeros(0, 4, 61, device=device), 3, backend=backend)
    assert (ids.shape, weights.shape, counts.shape) == ((0, 3), (0, 3), (0,))


def test_the_reference_pools_before_it_chooses(device):
    logits = random_logits((2, 4, 61), "float32", device)
    torch.testing.assert_close(reference.pool(logits), logits.amax(1))
