"""lexicon_pool as a registered torch operator: schema, fake tensors, torch.compile, autocast."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")

from lexlip_kernels.lexicon_pool import autograd, lexicon_pool, max_logits  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")


@pytest.fixture
def leaves(device):
    generator = torch.Generator().manual_seed(0)
    sizes = ((2, 5, 16), (33, 16), (33,))
    return [torch.randn(size, generator=generator).to(device).requires_grad_() for size in sizes]


@pytest.mark.parametrize("saturated", [True, False])
def test_registration(leaves, device, saturated):
    assert autograd.__name__  # its import registers the operator
    mask = torch.ones(2, 5, device=device)
    torch.library.opcheck(torch.ops.lexlip.lexicon_pool.default, (*leaves, mask, saturated))


def test_compiles_whole(leaves):
    def loss(hidden, weight, bias):
        return lexicon_pool(2 * hidden, weight, bias, backend="triton").square().sum()

    eager = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for actual, expected in zip(torch.autograd.grad(compiled(*leaves), leaves), eager, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("op", [lexicon_pool, max_logits])
def test_autocast(leaves, device, op, assert_close):
    with torch.autocast(device, torch.bfloat16):
        output = op(*leaves, backend="triton")
    assert output.dtype == torch.float32
    gradients = torch.autograd.grad(output.sum(), leaves)
    assert [part.dtype for part in gradients] == [torch.float32] * 3
    rounded = [leaf.detach().bfloat16().double().requires_grad_() for leaf in leaves[:2]] + [leaves[2].double()]
    expected = op(*rounded, backend="reference")
    assert_close("output", output, expected)


def test_saves_no_more_than_tokens(leaves):
    """Besides inputs and the output, which live on anyway, only 16 bits a term are kept for the backward pass."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        output = lexicon_pool(*leaves, backend="triton")
    alive = {tensor.data_ptr() for tensor in (*leaves, output)}
    extra = [tensor for tensor in saved if tensor.data_ptr() not in alive]
    assert [(tensor.dtype, tensor.shape) for tensor in extra] == [(torch.int16, output.shape)]
