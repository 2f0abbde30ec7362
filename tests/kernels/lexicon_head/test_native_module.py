"""The compiled head as such: it fills every output, converts nothing, and lets other Python threads run."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lexlip_kernels import _native
from lexlip_kernels.lexicon_head import lexicon_head

POISON = -77


@pytest.fixture
def head(make_random):
    return make_random(4, 9, 33, 70)


def decoder_arrays(head):
    decoder = head.decoder()
    return [decoder.weight, decoder.bias, *decoder.panels.arrays(), decoder.largest_norm]


def head_arguments(head, k, path):
    return {
        "decoder": _native.DecoderArrays(*decoder_arrays(head)),
        "hidden": head.hidden,
        "mask": head.bytes_mask(),
        "exact": True,
        "threads": 2,
        "cpu_path": path,
        "elu1p": False,
        "normalise": False,
        "own": np.empty((len(head.hidden), 0), np.int64),
        "ids": np.full((4, k), POISON, np.int64),
        "weights": np.full((4, k), np.nan, np.float32),
        "counts": np.full(4, POISON, np.int32),
    }


@pytest.mark.parametrize("k", [1, 40, 100])
def test_head_overwrites_its_outputs(head, cpu_path, k):
    head.bias[::2] = -1e4  # so that there is something to pad
    arguments = head_arguments(head, k, cpu_path)
    assert _native.lexicon_head(**arguments) == -1
    expected = head.run(k, cpu_path=cpu_path)
    for name in ("ids", "weights", "counts"):
        found, wanted = arguments[name], getattr(expected, name)
        np.testing.assert_array_equal(found[..., : wanted.shape[-1]], wanted)
        assert (found[..., wanted.shape[-1] :] == (-1 if name == "ids" else 0)).all()  # beyond the vocabulary


def test_pack_overwrites_its_outputs(head):
    expected = head.decoder().panels.arrays()
    poisoned = [np.full_like(array, 77) for array in expected]
    assert _native.lexicon_pack(head.weight, 3, *poisoned) == -1
    for array, wanted in zip(poisoned, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_panels_hold_the_decoder(head):
    panels = head.decoder().panels
    # 33 channels become 64, 70 columns three panels of 32: (panel, group of 4, column, channel) -> (column, channel)
    columns = panels.values.reshape(3, 16, 32, 4).transpose(0, 2, 1, 3).reshape(96, 64)
    np.testing.assert_array_equal(columns.sum(axis=1), panels.sums)
    rounded = (columns * panels.scale[:, None].astype(np.float64))[:70, :33]
    lost = np.linalg.norm(rounded - head.weight, axis=1)
    assert (lost <= panels.residual[:70]).all()
    assert (np.linalg.norm(head.weight, axis=1) <= panels.norm[:70]).all()
    assert (np.linalg.norm(rounded, axis=1) <= panels.norm[:70]).all()
    assert not columns[70:].any()
    assert not columns[:, 33:].any()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("hidden", lambda a: a.astype(np.float64)),
        ("hidden", lambda a: np.repeat(a, 2, axis=2)[:, :, ::2]),
        ("mask", lambda a: a.astype(np.bool_)),
        ("ids", lambda a: a.astype(np.int32)),
        ("weights", np.asfortranarray),
        ("counts", lambda a: np.frombuffer(a.tobytes(), a.dtype)),  # read-only
    ],
)
def test_nothing_is_converted(head, name, spoil):
    arguments = head_arguments(head, 3, "portable")
    arguments[name] = spoil(arguments[name])
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _native.lexicon_head(**arguments)


def test_no_part_of_a_decoder_is_converted(head):
    for i in range(7):
        arrays = decoder_arrays(head)
        arrays[i] = arrays[i].astype(np.float64)
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _native.DecoderArrays(*arrays)


def test_unknown_paths_are_errors(head):
    with pytest.raises(ValueError, match="does not run here"):
        _native.lexicon_head(**head_arguments(head, 3, "abacus"))
    arguments = head_arguments(head, 3, "portable")
    names = ("decoder", "hidden", "mask", "threads", "cpu_path")
    with pytest.raises(ValueError, match="does not scan"):
        _native.lexicon_upper_bounds(**{name: arguments[name] for name in names}, bounds=np.empty((4, 70), np.float32))


def test_the_decoder_outlives_its_arrays(head):
    # DecoderArrays holds references: dropping ours must not free what C++ looks at.
    arguments = head_arguments(head, 3, "portable")
    expected = head.run(3, cpu_path="portable")
    arguments["hidden"] = arguments["hidden"].copy()
    del head
    assert _native.lexicon_head(**arguments) == -1
    np.testing.assert_array_equal(arguments["ids"], expected.ids)


def test_python_threads_share_a_decoder(head):
    decoder = head.decoder()
    expected = lexicon_head(head.hidden, decoder, k=10)
    found = [None] * 4

    def run(i):
        found[i] = lexicon_head(head.hidden, decoder, k=10, threads=2)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        np.testing.assert_array_equal(result.ids, expected.ids)
