"""lexicon_head on tensors against its definition in float64: the same terms in the same order, the same weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")

from lexlip_kernels.errors import BackendUnavailable, InputError  # noqa: E402
from lexlip_kernels.lexicon_head import TensorDecoder, lexicon_head  # noqa: E402
from lexlip_kernels.lexicon_pool import reference  # noqa: E402
from lexlip_kernels.lexicon_topk.reference import top_k  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")


def inputs(shape, dtype, device):
    """hidden, weight and bias of small integers: every logit is exact in any precision, so ids must be equal."""
    batch, tokens, width, terms = shape
    generator = torch.Generator().manual_seed(sum(shape))
    return [
        torch.randint(-4, 5, size, generator=generator).to(device, dtype)
        for size in ((batch, tokens, width), (terms, width), (terms,))
    ]


def lengths_mask(batch, tokens, device):
    """Ragged rows, the shortest of one token."""
    length = torch.linspace(1, tokens, batch).long()
    return (torch.arange(tokens)[None] < length[:, None]).to(device)


def head(hidden, weight, bias, k, mask=None, backend="triton"):
    return lexicon_head(hidden, TensorDecoder(weight, bias), mask, k=k, backend=backend)


def check(found, tensors, k, mask, assert_close):
    hidden, weight, bias = (tensor.double() for tensor in tensors)
    expected = top_k(reference.max_logits(hidden, weight, bias, mask), min(k, len(bias)))
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[2], expected[2])
    assert_close("weights", found[1], expected[1])


@pytest.mark.parametrize("backend", ["triton", "reference"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("shape", "k"), [((1, 1, 1, 1), 3), ((2, 7, 5, 61), 9), ((3, 63, 40, 300), 200), ((2, 130, 33, 61), 61)]
)
def test_equals_the_definition(device, assert_close, shape, k, masked, dtype, backend):
    tensors = inputs(shape, dtype, device)
    mask = lengths_mask(*shape[:2], device) if masked else None
    check(head(*tensors, k, mask, backend), tensors, k, mask, assert_close)


def test_terms_of_more_than_one_block(device, assert_close):
    tensors = inputs((2, 5, 16, 9000), torch.float16, device)
    check(head(*tensors, 256), tensors, 256, None, assert_close)


@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
def test_masked_tokens_rows_and_holes(device, assert_close, junk):
    """Holes in the middle, a row without tokens between two others, all in one tile; masked states are never read."""
    tensors = inputs((4, 9, 16, 61), torch.float16, device)
    mask = torch.tensor([[1, 0] * 4 + [1], [0] * 9, [0] * 8 + [1], [1] + [0] * 8], device=device)
    found = head(tensors[0].masked_fill(mask.unsqueeze(-1) == 0, junk), *tensors[1:], 30, mask)
    check(found, tensors, 30, mask, assert_close)
    assert found[2][1] == 0


def test_everything_masked(device):
    tensors = inputs((2, 9, 16, 61), torch.float16, device)
    ids, weights, counts = head(*tensors, 5, torch.zeros(2, 9, device=device))
    assert (ids == -1).all()
    assert (weights == 0).all()
    assert (counts == 0).all()


def test_no_rows(device):
    hidden, weight, bias = inputs((1, 9, 16, 61), torch.float16, device)
    assert head(hidden[:0], weight, bias, 5)[0].shape == (0, 5)


def test_refusals(device, monkeypatch):
    hidden, weight, bias = inputs((1, 9, 16, 61), torch.float16, device)
    with pytest.raises(InputError, match="k must be"):
        head(hidden, weight, bias, 0)
    with pytest.raises(InputError, match="bias has shape"):
        head(hidden, weight, bias[:-1], 5)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(BackendUnavailable, match="lie on 'cpu'"):
        head(hidden.cpu(), weight.cpu(), bias.cpu(), 5)


def test_options_of_arrays_are_refused(device):
    hidden, weight, bias = inputs((1, 9, 16, 61), torch.float16, device)
    with pytest.raises(InputError, match="threads and cpu_path are for arrays"):
        lexicon_head(hidden, TensorDecoder(weight, bias), k=5, threads=2)


def test_auto_off_the_gpu_is_the_reference():
    tensors = inputs((2, 9, 16, 61), torch.float32, "cpu")
    for found, expected in zip(head(*tensors, 5, None, "auto"), head(*tensors, 5, None, "reference"), strict=True):
        assert torch.equal(found, expected)
