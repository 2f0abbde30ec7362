"""lexicon_pool in Triton against its definition in float64: outputs, the tokens kept, and every gradient."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")

from lexlip_kernels.errors import InputError  # noqa: E402
from lexlip_kernels.lexicon_pool import lexicon_pool, max_logits, reference  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")

#: B, L, H, V: one of everything; odd ones; L longer than a tile of tokens, H and V just past a block; short rows, many
#: in a tile of tokens.
SHAPES = [(1, 1, 1, 1), (2, 7, 5, 61), (3, 63, 40, 130), (2, 197, 33, 129), (11, 3, 16, 61)]
OPS = {"lexicon_pool": (lexicon_pool, reference.lexicon_pool), "max_logits": (max_logits, reference.max_logits)}


def inputs(shape, dtype, device, masked):
    """hidden, weight, bias and a mask whose last row is empty where there are two rows or more."""
    batch, tokens, width, terms = shape
    generator = torch.Generator().manual_seed(sum(shape))
    hidden, weight, bias = (
        torch.randn(size, generator=generator).to(device, dtype)
        for size in ((batch, tokens, width), (terms, width), (terms,))
    )
    mask = (torch.rand((batch, tokens), generator=generator) > 0.6).to(device)
    mask[0, tokens // 2] = True
    mask[1:][-1:] = False
    return hidden, weight * width**-0.5, bias.float(), mask if masked else None


def with_gradients(op, tensors, mask, gradient, **options):
    """Output and the gradients of `tensors`; what is -inf in the output has no share in the loss."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    output = op(*leaves, mask, **options)
    (output.masked_fill(output.isinf(), 0) * gradient).sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "shape", "name"),
    [
        *((torch.float32, shape, name) for shape in SHAPES for name in OPS),
        *((dtype, shape, "lexicon_pool") for dtype in (torch.float16, torch.bfloat16) for shape in SHAPES[1:3]),
    ],
)
def test_output_and_every_gradient(assert_close, device, dtype, shape, masked, name):
    op, definition = OPS[name]
    *tensors, mask = inputs(shape, dtype, device, masked)
    gradient = torch.randn(shape[0], shape[3], generator=torch.Generator().manual_seed(0)).to(device)
    found = with_gradients(op, tensors, mask, gradient, backend="triton")
    expected = with_gradients(definition, [tensor.double() for tensor in tensors], mask, gradient.double())
    assert found[0].dtype == torch.float32
    assert [part.dtype for part in found[1:]] == [tensor.dtype for tensor in tensors]
    for tensor, actual, wanted in zip(("output", "d hidden", "d weight", "d bias"), found, expected, strict=True):
        assert_close(tensor, actual, wanted)


@pytest.mark.parametrize("masked", [False, True])
def test_the_token_kept_is_the_one_of_the_maximum(device, masked):
    from lexlip_kernels.lexicon_pool import triton_kernel

    hidden, weight, bias, mask = inputs((3, 90, 16, 61), torch.float32, device, masked)
    token = triton_kernel.lexicon_pool(hidden, weight, bias, mask, saturated=True)[1]
    logits = hidden.double() @ weight.double().T
    if masked:
        logits = logits.masked_fill(~mask.unsqueeze(-1), float("-inf"))
        assert (token[-1] == -1).all()
        logits, token = logits[:-1], token[:-1]
    assert token.dtype == torch.int16
    assert (token == logits.argmax(1)).all()


def test_among_equal_maxima_the_first_unmasked_token_has_the_gradient(device):
    hidden = torch.ones(2, 150, 16, device=device, requires_grad=True)
    weight, bias = torch.ones(3, 16, device=device), torch.zeros(3, device=device)
    mask = torch.ones(2, 150, device=device)
    mask[1, :140] = 0
    max_logits(hidden, weight, bias, mask, backend="triton").sum().backward()
    assert [row.nonzero().tolist() for row in hidden.grad.sum(2)] == [[[0]], [[140]]]


def test_terms_that_do_not_fire_have_no_gradient(device):
    hidden, weight, _, _ = inputs((2, 7, 16, 61), torch.float32, device, masked=False)
    silent = torch.full((61,), -1e4, device=device)
    found = with_gradients(lexicon_pool, [hidden, weight, silent], None, 1.0, backend="triton")
    assert all((part == 0).all() for part in found)


@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
def test_masked_tokens_have_no_influence(device, junk):
    hidden, weight, bias, mask = inputs((3, 63, 16, 61), torch.float32, device, masked=True)
    clean = with_gradients(lexicon_pool, [hidden, weight, bias], mask, 1.0, backend="triton")
    hidden[~mask] = junk
    dirty = with_gradients(lexicon_pool, [hidden, weight, bias], mask, 1.0, backend="triton")
    for actual, expected in zip(dirty, clean, strict=True):
        assert torch.equal(actual, expected)


def test_every_run_gives_the_same_bits(device):
    *tensors, mask = inputs((3, 30, 24, 70), torch.float16, device, masked=True)
    runs = [with_gradients(lexicon_pool, tensors, mask, 1.0, backend="triton") for _ in range(2)]
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_no_rows(device):
    hidden, weight, bias, _ = inputs((2, 3, 8, 61), torch.float32, device, masked=False)
    output, *gradients = with_gradients(lexicon_pool, [hidden[:0], weight, bias], None, 1.0, backend="triton")
    assert output.shape == (0, 61)
    assert all((part == 0).all() for part in gradients)


def test_views_need_not_be_contiguous(assert_close, device):
    hidden, weight, bias, _ = inputs((3, 20, 24, 61), torch.float32, device, masked=False)
    view, transposed = hidden[:, 1::2], weight.T.contiguous().T
    assert_close(
        "output",
        lexicon_pool(view, transposed, bias, backend="triton"),
        reference.lexicon_pool(view.double(), weight.double(), bias.double()),
    )


def test_auto_is_the_reference_on_the_cpu():
    hidden, weight, bias, mask = inputs((2, 7, 5, 61), torch.float32, "cpu", masked=True)
    assert torch.equal(lexicon_pool(hidden, weight, bias, mask), reference.lexicon_pool(hidden, weight, bias, mask))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": torch.zeros(2, 7)}, "hidden has shape"),
        ({"hidden": torch.zeros(2, 0, 5)}, "hidden has shape"),
        ({"hidden": torch.zeros(1, 2**15, 5)}, "L in \\[1, 32767\\]"),
        ({"weight": torch.zeros(61, 4)}, "weight has shape"),
        ({"weight": torch.zeros(0, 5)}, "weight has shape"),
        ({"weight": torch.zeros(61, 5).half()}, "weight is float16 and hidden float32"),
        ({"bias": torch.zeros(60)}, "bias has shape"),
        ({"hidden": torch.zeros(2, 7, 5).double()}, "hidden is float64; expected one of"),
        ({"mask": torch.ones(2, 6)}, "mask has shape"),
    ],
)
def test_refusals(device, change, said):
    arguments = {"hidden": torch.zeros(2, 7, 5), "weight": torch.zeros(61, 5), "bias": torch.zeros(61)} | change
    with pytest.raises(InputError, match=said):
        lexicon_pool(**{name: tensor.to(device) for name, tensor in arguments.items()}, backend="triton")
