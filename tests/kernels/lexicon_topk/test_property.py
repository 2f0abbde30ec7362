"""Any logits, any k: Triton, the torch reference and a sort in plain Python choose the same terms in the same order."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from lexlip_kernels.lexicon_topk import lexicon_topk  # noqa: E402

#: Few distinct values make ties common; the others are what float16 can hold.
LOGITS = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.floats(-6e4, 6e4, width=16))


@pytest.mark.parametrize("backend", ["triton", "reference"])
@settings(max_examples=40, deadline=None)
@given(row=st.lists(LOGITS, min_size=1, max_size=140), k=st.integers(1, 150))
def test_any_row(backend, device, row, k):
    ids, weights, counts = lexicon_topk(torch.tensor([row], dtype=torch.float16, device=device), k, backend=backend)
    expected = sorted((term for term, value in enumerate(row) if value > 0), key=lambda term: (-row[term], term))[:k]
    assert ids.tolist() == [expected + [-1] * (min(k, len(row)) - len(expected))]
    assert counts.tolist() == [len(expected)]
    logits = torch.tensor([row[term] for term in expected], dtype=torch.float64)
    torch.testing.assert_close(weights[0, : len(expected)].cpu().double(), logits.log1p(), rtol=1e-6, atol=0)
    assert not weights[0, len(expected) :].any()
