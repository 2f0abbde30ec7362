"""Bad input to lexicon_head gets one clear message, and NaN never becomes a ranking."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lexlip_kernels import lexicon_head as op
from lexlip_kernels.errors import BackendUnavailable, InputError
from lexlip_kernels.lexicon_head import PackedDecoder, lexicon_head, packed_decoder

BACKENDS = ("native", "reference")


@pytest.fixture
def head(make_random):
    return make_random(3, 7, 16, 50)


def unaligned(array):
    data = bytearray(array.nbytes + 1)
    view = np.frombuffer(data, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[:] = array
    return view


@pytest.mark.parametrize("count", [0, -1, 2.0, "3", None, 2**31])
@pytest.mark.parametrize("argument", ["k", "threads"])
def test_counts(head, argument, count):
    with pytest.raises(InputError, match=f"{argument} must be an integer >= 1 .* not {count!r}"):
        head.run(**{"k": 1, argument: count})


@pytest.mark.parametrize("threads", [0, 1.5])
def test_threads_of_pack(head, threads):
    with pytest.raises(InputError, match="threads must be an integer"):
        PackedDecoder.pack(head.weight, head.bias, threads)


@pytest.mark.parametrize(("option", "value"), [("mode", "fast"), ("cpu_path", "sse9"), ("mode", None)])
def test_options(head, option, value):
    with pytest.raises(InputError, match=f"{option} is {value!r}; expected one of"):
        head.run(1, **{option: value})


def test_a_cpu_path_that_does_not_run_here(head, monkeypatch):
    monkeypatch.setattr(op, "cpu_paths", lambda: ("portable",))
    assert head.run(1).counts.tolist() == [1, 1, 1]
    with pytest.raises(BackendUnavailable, match="'avx2' does not run here; available: portable"):
        head.run(1, cpu_path="avx2")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.astype(np.float64), "hidden is float64 of rank 3; expected rank 3 float32"),
        (lambda a: a.astype(np.float16), "hidden is float16 of rank 3"),
        (lambda a: a[0], "hidden is float32 of rank 2"),
        (lambda a: a.tolist(), "hidden is a list; expected a numpy array"),
        (lambda a: a[:, ::2], "hidden is strided or unaligned.*numpy.array"),
        (np.asfortranarray, "hidden is strided or unaligned"),
        (unaligned, "hidden is strided or unaligned"),
        (lambda a: np.ascontiguousarray(a[:, :, :15]), r"hidden is \(3, 7, 15\); expected \(B, L, 16\)"),
    ],
)
def test_hidden(head, spoil, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(head, hidden=spoil(head.hidden)).run(1)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((3, 6), np.bool_), r"mask is \(3, 6\); expected \(3, 7\)"),
        (np.ones((3, 7), np.float32), "mask is float32; expected boolean or integers"),
        ([[1] * 7] * 3, "mask is list"),
    ],
)
def test_mask(head, mask, message):
    with pytest.raises(InputError, match=message):
        lexicon_head(head.hidden, head.decoder(), mask, k=1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"weight": lambda a: a.astype(np.float64)}, "weight is float64"),
        ({"weight": lambda a: a[::2]}, "weight is strided"),
        ({"weight": unaligned}, "weight is strided or unaligned"),
        ({"weight": lambda a: a[:0], "bias": lambda a: a[:0]}, r"weight is \(0, 16\); expected \(V, H\)"),
        ({"weight": lambda a: np.ones((50, 2**15 + 1), np.float32)}, "1 <= H <= 32768"),
        ({"bias": lambda a: a[:49]}, r"bias is \(49,\) for a weight of \(50, 16\)"),
        ({"bias": lambda a: a[:, None]}, "bias is float32 of rank 2"),
        ({"bias": lambda a: np.where(np.arange(50) == 7, np.float32(np.nan), a)}, r"bias\[7\] is nan"),
        ({"bias": lambda a: np.where(np.arange(50) == 7, np.float32(2e38), a)}, r"bias\[7\] is 2e\+38"),
    ],
)
def test_decoder(head, spoil, message):
    parts = {name: spoil.get(name, lambda a: a)(getattr(head, name)) for name in ("weight", "bias")}
    with pytest.raises(InputError, match=message):
        PackedDecoder.pack(**parts)


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    """Either backend, also for packing."""
    if request.param == "reference":
        monkeypatch.setattr(packed_decoder, "available_backends", lambda: ("reference",))
    return request.param


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(head, backend, junk):
    head.weight[40, 3] = junk
    head.weight[41, 2] = junk
    with pytest.raises(InputError, match=rf"weight\[40, 3\] is {junk}; expected finite weights"):
        PackedDecoder.pack(head.weight, head.bias, threads=3)


def test_weights_that_are_too_large(head, backend):
    head.weight[40] = 1e38
    with pytest.raises(InputError, match=r"weight\[40\] has a norm of 2\^126 or more"):
        head.decoder()


def test_packing_without_the_compiled_module(head, backend):
    assert (head.decoder().panels is None) == (backend == "reference")
    assert head.decoder().largest_norm == pytest.approx(np.linalg.norm(head.weight, axis=1).max(), rel=0.1)


@pytest.mark.parametrize("mode", ["exact", "f32"])
@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (2, 6, 15), (1, 3, 7)])
def test_hidden_states_that_are_not_finite(head, backend, mode, junk, place):
    head.hidden[place] = junk
    where = ", ".join(map(str, place))
    with pytest.raises(InputError, match=rf"hidden\[{where}\] is {junk}; expected finite values"):
        head.run(5, backend=backend, mode=mode, threads=2)


@pytest.mark.parametrize("mode", ["exact", "f32"])
def test_logits_that_might_overflow(head, backend, mode):
    head.hidden[1, 2] = 1e38
    with pytest.raises(InputError, match=r"hidden\[1, 2\] has norm .*overflow float32"):
        head.run(5, backend=backend, mode=mode)


def test_numpy_counts_are_integers(head):
    assert head.run(np.int64(3), threads=np.int32(2)).ids.shape == (3, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_room_is_made_for_more_than_all_terms(head, backend):
    found = head.run(2**31 - 1, backend=backend)
    assert found.ids.shape == found.weights.shape == (3, 50)
