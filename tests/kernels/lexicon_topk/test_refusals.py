"""Bad arguments of the torch ops end in one message, and Triton is never replaced quietly."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lexlip_kernels import backends  # noqa: E402
from lexlip_kernels.errors import BackendUnavailable, InputError  # noqa: E402
from lexlip_kernels.lexicon_topk import lexicon_topk  # noqa: E402


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_k(k):
    with pytest.raises(InputError, match=r"k must be an integer >= 1"):
        lexicon_topk(torch.zeros(1, 2, 3), k)


@pytest.mark.parametrize("shape", [(3,), (1, 0, 3), (1, 2, 0), (1, 0), (1, 1, 1, 1)])
def test_shape_of_logits(shape):
    with pytest.raises(InputError, match=r"expected \(B, L, V\) or \(B, V\)"):
        lexicon_topk(torch.zeros(shape), 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_dtype_of_logits(dtype):
    with pytest.raises(InputError, match="expected one of float16, bfloat16, float32"):
        lexicon_topk(torch.zeros(1, 2, 3, dtype=dtype), 1)


def test_logits_strided_along_the_vocabulary():
    with pytest.raises(InputError, match="strided along V"):
        lexicon_topk(torch.zeros(1, 2, 6)[..., ::2], 1)


@pytest.mark.parametrize("shape", [(1,), (1, 3), (2, 2), (1, 2, 3)])
def test_shape_of_mask(shape):
    with pytest.raises(InputError, match=r"expected \(B, L\) = \(1, 2\)"):
        lexicon_topk(torch.zeros(1, 2, 3), 1, torch.ones(shape))


def test_mask_of_pooled_logits():
    with pytest.raises(InputError, match="take no mask"):
        lexicon_topk(torch.zeros(2, 3), 1, torch.ones(2, 3))


def test_triton_on_the_cpu_is_refused(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(backends, "_TRITON_IS_INSTALLED", True)
    with pytest.raises(BackendUnavailable, match=r"lie on 'cpu'.*backend='reference'"):
        lexicon_topk(torch.zeros(1, 2, 3), 1, backend="triton")


def test_triton_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(backends, "_TRITON_IS_INSTALLED", False)
    with pytest.raises(BackendUnavailable, match=r"not installed; pip install 'lexlip-infer\[triton\]'"):
        lexicon_topk(torch.zeros(1, 2, 3), 1, backend="triton")


def test_auto_is_decided_by_device_and_installation(monkeypatch):
    for installed, device, expected in [
        (True, "cuda", "triton"),
        (False, "cuda", "reference"),
        (True, "cpu", "reference"),
    ]:
        monkeypatch.setattr(backends, "_TRITON_IS_INSTALLED", installed)
        assert backends.choose_torch_backend("auto", device) == expected


@pytest.mark.parametrize("name", ["native", "", None])
def test_unknown_backend(name):
    with pytest.raises(InputError, match="expected 'auto', 'triton' or 'reference'"):
        lexicon_topk(torch.zeros(1, 2, 3), 1, backend=name)


def test_no_room_is_made_for_more_than_all_terms():
    ids, weights, counts = lexicon_topk(torch.ones(2, 61), 2**31 - 1, backend="reference")
    assert (ids.shape, weights.shape, counts.tolist()) == ((2, 61), (2, 61), [61, 61])
