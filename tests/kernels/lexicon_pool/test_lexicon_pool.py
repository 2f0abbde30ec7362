"""lexicon_pool, compiled and in Triton, against its definition in float64: outputs, the tokens kept, every gradient."""

from __future__ import annotations

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lexlip_kernels.backends import available_backends  # noqa: E402
from lexlip_kernels.errors import InputError  # noqa: E402
from lexlip_kernels.lexicon_pool import lexicon_pool, max_logits, reference  # noqa: E402

pytestmark = pytest.mark.usefixtures("poisoned")

#: B, L, H, V: one of everything; odd ones; L longer than a tile of tokens, H and V just past a block; short rows, many
#: in a tile of tokens.
SHAPES = [(1, 1, 1, 1), (2, 7, 5, 61), (3, 63, 40, 130), (2, 197, 33, 129), (11, 3, 16, 61)]
OPS = {"lexicon_pool": (lexicon_pool, reference.lexicon_pool), "max_logits": (max_logits, reference.max_logits)}


@pytest.fixture(params=["native", "triton"])
def backend(request):
    return request.param


@pytest.fixture
def device(backend, device):
    if backend == "triton":
        pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")
    return "cpu" if backend == "native" else device


def kept_tokens(backend, *tensors):
    """The second result of the forward pass of a backend."""
    if backend == "native":
        from lexlip_kernels.lexicon_pool import compiled as forward
    else:
        from lexlip_kernels.lexicon_pool import triton_kernel as forward
    return forward.lexicon_pool(*tensors, saturated=True)[1]


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
    ("backend", "dtype", "shape", "name"),
    [
        *((backend, torch.float32, *case) for case in product(SHAPES, OPS) for backend in ("native", "triton")),
        # (On a CPU torch rounds the logits of half precision: test_native_in_half_precision.)
        *(("triton", *case, "lexicon_pool") for case in product((torch.float16, torch.bfloat16), SHAPES[1:3])),
    ],
)
def test_output_and_every_gradient(assert_close, backend, device, dtype, shape, masked, name):
    op, definition = OPS[name]
    *tensors, mask = inputs(shape, dtype, device, masked)
    gradient = torch.randn(shape[0], shape[3], generator=torch.Generator().manual_seed(0)).to(device)
    found = with_gradients(op, tensors, mask, gradient, backend=backend)
    expected = with_gradients(definition, [tensor.double() for tensor in tensors], mask, gradient.double())
    assert found[0].dtype == torch.float32
    assert [part.dtype for part in found[1:]] == [tensor.dtype for tensor in tensors]
    for tensor, actual, wanted in zip(("output", "d hidden", "d weight", "d bias"), found, expected, strict=True):
        assert_close(tensor, actual, wanted)


@pytest.mark.parametrize("masked", [False, True])
def test_the_token_kept_is_the_one_of_the_maximum(backend, device, masked):
    hidden, weight, bias, mask = inputs((3, 90, 16, 61), torch.float32, device, masked)
    token = kept_tokens(backend, hidden, weight, bias, mask)
    logits = hidden.double() @ weight.double().T
    if masked:
        logits = logits.masked_fill(~mask.unsqueeze(-1), float("-inf"))
        assert (token[-1] == -1).all()
        logits, token = logits[:-1], token[:-1]
    assert token.dtype == torch.int16
    assert (token == logits.argmax(1)).all()


def test_among_equal_maxima_the_first_unmasked_token_has_the_gradient(backend, device):
    hidden = torch.ones(2, 150, 16, device=device, requires_grad=True)
    weight, bias = torch.ones(3, 16, device=device), torch.zeros(3, device=device)
    mask = torch.ones(2, 150, device=device)
    mask[1, :140] = 0
    max_logits(hidden, weight, bias, mask, backend=backend).sum().backward()
    assert [row.nonzero().tolist() for row in hidden.grad.sum(2)] == [[[0]], [[140]]]


def test_terms_that_do_not_fire_have_no_gradient(backend, device):
    hidden, weight, _, _ = inputs((2, 7, 16, 61), torch.float32, device, masked=False)
    silent = torch.full((61,), -1e4, device=device)
    found = with_gradients(lexicon_pool, [hidden, weight, silent], None, 1.0, backend=backend)
    assert all((part == 0).all() for part in found)


@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
def test_masked_tokens_have_no_influence(backend, device, junk):
    hidden, weight, bias, mask = inputs((3, 63, 16, 61), torch.float32, device, masked=True)
    clean = with_gradients(lexicon_pool, [hidden, weight, bias], mask, 1.0, backend=backend)
    hidden[~mask] = junk
    dirty = with_gradients(lexicon_pool, [hidden, weight, bias], mask, 1.0, backend=backend)
    for actual, expected in zip(dirty, clean, strict=True):
        assert torch.equal(actual, expected)


def test_every_run_gives_the_same_bits(backend, device):
    *tensors, mask = inputs((3, 30, 24, 70), torch.float16, device, masked=True)
    runs = [with_gradients(lexicon_pool, tensors, mask, 1.0, backend=backend) for _ in range(2)]
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_no_rows(backend, device):
    hidden, weight, bias, _ = inputs((2, 3, 8, 61), torch.float32, device, masked=False)
    output, *gradients = with_gradients(lexicon_pool, [hidden[:0], weight, bias], None, 1.0, backend=backend)
    assert output.shape == (0, 61)
    assert all((part == 0).all() for part in gradients)


def test_views_need_not_be_contiguous(assert_close, backend, device):
    hidden, weight, bias, _ = inputs((3, 20, 24, 61), torch.float32, device, masked=False)
    view, transposed = hidden[:, 1::2], weight.T.contiguous().T
    assert_close(
        "output",
        lexicon_pool(view, transposed, bias, backend=backend),
        reference.lexicon_pool(view.double(), weight.double(), bias.double()),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_auto_on_the_cpu_is_native_but_of_float64(dtype):
    hidden, weight, bias, mask = inputs((2, 7, 5, 61), dtype, "cpu", masked=True)
    output = lexicon_pool(hidden.requires_grad_(), weight, bias.to(dtype), mask)
    is_native = "native" in available_backends() and dtype == torch.float32
    assert is_native == ("lexicon_pool" in str(output.grad_fn))
    assert output.dtype == dtype


def test_native_is_refused_where_the_tensors_lie_elsewhere():
    hidden, weight, bias, _ = (
        None if part is None else part.to("meta") for part in inputs(SHAPES[1], torch.float32, "cpu", False)
    )
    with pytest.raises(InputError, match="works on a CPU; the tensors lie on meta"):
        lexicon_pool(hidden, weight, bias, backend="native")


def test_native_results_are_the_same_in_pieces_and_threads(monkeypatch):
    from lexlip_kernels.lexicon_pool import compiled

    *tensors, mask = inputs((11, 30, 24, 1100), torch.float32, "cpu", masked=True)
    gradient = torch.randn(11, 1100, generator=torch.Generator().manual_seed(0))
    whole = with_gradients(lexicon_pool, tensors, mask, gradient, backend="native")
    monkeypatch.setattr(compiled, "_LOGITS", 3 * 30 * 1100)
    monkeypatch.setattr(compiled, "_threads", lambda: 3)
    pieces = with_gradients(lexicon_pool, tensors, mask, gradient, backend="native")
    for actual, expected in zip(pieces, whole, strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_native_in_half_precision(assert_close, dtype):
    """The maximum is one of the rounded logits; the gradients are exactly those of the token that was kept."""
    hidden, weight, bias, mask = inputs((3, 63, 40, 130), dtype, "cpu", masked=True)
    hidden, mask = hidden[:2], mask[:2] | torch.arange(63).eq(5)
    token = kept_tokens("native", hidden, weight, bias, mask).long()
    gradient = torch.randn(2, 130, generator=torch.Generator().manual_seed(0))
    found = with_gradients(max_logits, [hidden, weight, bias], mask, gradient, backend="native")

    def of_token(hidden, weight, bias, _):
        return (hidden.gather(1, token.unsqueeze(-1).expand(-1, -1, 40)) * weight).sum(-1) + bias

    expected = with_gradients(of_token, [part.double() for part in (hidden, weight, bias)], None, gradient.double())
    rounded = (hidden @ weight.T).masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(1).float() + bias
    assert torch.equal(found[0], rounded)
    for tensor, actual, wanted in zip(("d hidden", "d weight", "d bias"), found[1:], expected[1:], strict=True):
        assert_close(tensor, actual, wanted)


def test_a_native_maximum_of_nan_is_nan():
    hidden, weight, bias, _ = inputs((2, 7, 5, 61), torch.float32, "cpu", masked=False)
    hidden[0, 3, 0] = float("nan")
    output = max_logits(hidden, weight, bias, backend="native")
    assert output[0].isnan().all()
    assert not output[1].isnan().any()


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
def test_refusals(backend, device, change, said):
    arguments = {"hidden": torch.zeros(2, 7, 5), "weight": torch.zeros(61, 5), "bias": torch.zeros(61)} | change
    with pytest.raises(InputError, match=said):
        lexicon_pool(**{name: tensor.to(device) for name, tensor in arguments.items()}, backend=backend)
