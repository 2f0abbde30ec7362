"""Every entry point of the compiled module, each argument wrong in turn: an exception of Python's, never a signal.

`make sanitize` runs this file, and the refusals of each op, on a module built with sanitisers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_kernels import ImpactMatrix, _native
from lexlip_kernels.impact_dot import ImpactIndex
from lexlip_kernels.lexicon_head import PackedDecoder

Arguments = dict[str, Any]
Array = npt.NDArray[Any]

WRONG_NUMBERS = (-1, 0, 2**31, 2**62, -(2**63), 2**63, 1.5, None, "3")


def documents() -> ImpactMatrix:
    kept = np.random.default_rng(0).random((50, 61)) < 0.2
    return ImpactMatrix.from_rows([[(int(term), 3) for term in row.nonzero()[0]] for row in kept], 61)


def build_arguments() -> Arguments:
    matrix, index = documents(), ImpactIndex.build(documents())
    return {
        "indptr": matrix.indptr,
        "indices": matrix.indices,
        "impacts": matrix.impacts,
        "vocab_size": 61,
        "term_offsets": np.empty_like(index.term_offsets),
        "posting_docs": np.empty_like(index.posting_docs),
        "posting_impacts": np.empty_like(index.posting_impacts),
    }


def search_arguments() -> Arguments:
    index, queries = ImpactIndex.build(documents()), documents()[:4]
    return {
        "term_offsets": index.term_offsets,
        "posting_docs": index.posting_docs,
        "posting_impacts": index.posting_impacts,
        "num_docs": 50,
        "vocab_size": 61,
        "query_indptr": queries.indptr,
        "query_indices": queries.indices,
        "query_impacts": queries.impacts,
        "threads": 2,
        "rows": np.empty((4, 5), np.int32),
        "scores": np.empty((4, 5), np.int32),
    }


def packed() -> PackedDecoder:
    random = np.random.default_rng(0)
    return PackedDecoder.pack(random.standard_normal((70, 33), np.float32), random.standard_normal(70, np.float32))


def panel_arrays() -> Arguments:
    panels = packed().panels
    assert panels is not None
    return dict(zip(("values", "sums", "scale", "norm", "residual"), panels.arrays(), strict=True))


def pack_arguments() -> Arguments:
    return {"weight": packed().weight, "threads": 2, **panel_arrays()}


def decoder_arguments() -> Arguments:
    return {"weight": packed().weight, "bias": packed().bias, **panel_arrays(), "largest_norm": 99.0}


def head_arguments() -> Arguments:
    return {
        "decoder": _native.DecoderArrays(**decoder_arguments()),
        "hidden": np.ones((4, 9, 33), np.float32),
        "mask": np.ones((4, 9), np.uint8),
        "exact": True,
        "threads": 2,
        "cpu_path": "portable",
        "elu1p": False,
        "normalise": False,
        "own": np.full((4, 2), -1, np.int64),
        "ids": np.empty((4, 5), np.int64),
        "weights": np.empty((4, 5), np.float32),
        "counts": np.empty(4, np.int32),
    }


def bounds_arguments() -> Arguments:
    taken = ("decoder", "hidden", "mask", "threads")
    scanning = next(path for path in _native.lexicon_cpu_paths() if path != "portable")
    return {name: head_arguments()[name] for name in taken} | {
        "cpu_path": scanning,
        "bounds": np.empty((4, 70), np.float32),
    }


def pool_arguments(*names: str) -> Arguments:
    random = np.random.default_rng(0)
    arguments = {
        "logits": random.standard_normal((9, 70), np.float32),
        "offsets": np.array([0, 2, 2, 5, 9]),
        "places": np.arange(9, dtype=np.int16),
        "slope": random.standard_normal((4, 70), np.float32),
        "tokens": random.integers(-1, 9, (4, 70), np.int16),
        "weight": packed().weight,
        "hidden": np.ones((4, 9, 33), np.float32),
        "threads": 2,
        "maxima": np.empty((4, 70), np.float32),
    }
    return {name: arguments[name] for name in names}


def maxima_arguments() -> Arguments:
    return pool_arguments("logits", "offsets", "places", "threads", "maxima", "tokens")


def hidden_gradient_arguments() -> Arguments:
    return pool_arguments("slope", "tokens", "weight", "threads") | {"gradient": np.empty((4, 9, 33), np.float32)}


def weight_gradient_arguments() -> Arguments:
    return pool_arguments("slope", "tokens", "hidden", "threads") | {"gradient": np.empty((70, 33), np.float32)}


ENTRY_POINTS: dict[str, Callable[[], Arguments]] = {
    "impact_build_postings": build_arguments,
    "impact_search": search_arguments,
    "lexicon_pack": pack_arguments,
    "DecoderArrays": decoder_arguments,
    "lexicon_head": head_arguments,
    "lexicon_upper_bounds": bounds_arguments,
    "pool_maxima": maxima_arguments,
    "pool_hidden_gradient": hidden_gradient_arguments,
    "pool_weight_gradient": weight_gradient_arguments,
}


#: How much longer an array must be to need other places: in between, chunks and panels have room.
STEPS = {"indptr": 2**16, "weight": 64}

#: Tokens of a gradient: nothing else says how many there are, and a token beyond them has no gradient.
#: Of own terms there may be more or fewer: the rest of the output is k.
FREE_AXIS = {
    ("pool_hidden_gradient", "gradient"): 1,
    ("pool_weight_gradient", "hidden"): 1,
    ("lexicon_head", "own"): 1,
}


def spoilt(array: Array, step: int, free: int | None) -> Iterator[Array]:
    """The same longer and shorter along each axis but `free`, empty, of another rank, strided, and of another type."""
    for axis in range(array.ndim):
        if axis != free:
            yield np.concatenate([array, array.take([0] * step, axis)], axis)
            yield np.ascontiguousarray(array.take(range(max(array.shape[axis] - step, 0)), axis))
            yield np.ascontiguousarray(array.take([], axis))
        yield np.repeat(array, 2, axis)[tuple(slice(None, None, 2 if i == axis else 1) for i in range(array.ndim))]
    yield array[None]
    yield array.ravel()[0]
    yield array.astype(np.complex64)
    yield array.astype(array.dtype.newbyteorder()) if array.itemsize > 1 else array.astype(np.float16)


def wrong(entry: str, name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, np.ndarray):
        yield from spoilt(value, STEPS.get(name, 1), FREE_AXIS.get((entry, name)))
    elif name == "largest_norm":
        yield "large"
    elif isinstance(value, bool):
        yield "yes"
    elif isinstance(value, int):
        yield from (number for number in WRONG_NUMBERS if number != value)
    else:
        yield from (None, "abacus", 3)


def test_no_entry_point_is_left_out() -> None:
    assert set(ENTRY_POINTS) | {"lexicon_cpu_paths"} == {name for name in dir(_native) if not name.startswith("_")}


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_each_argument_wrong_in_turn(entry: str) -> None:
    if entry == "lexicon_upper_bounds" and _native.lexicon_cpu_paths() == ["portable"]:
        pytest.skip("no CPU path that scans runs here")
    call: Callable[..., object] = getattr(_native, entry)
    call(**ENTRY_POINTS[entry]())
    for name, value in ENTRY_POINTS[entry]().items():
        for instead in wrong(entry, name, value):
            with pytest.raises((TypeError, ValueError)):
                call(**ENTRY_POINTS[entry]() | {name: instead})
        with pytest.raises(TypeError):
            call(**{other: kept for other, kept in ENTRY_POINTS[entry]().items() if other != name})


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        ("impact_search", {"rows": (4, 0), "scores": (4, 0)}),
        ("impact_search", {"rows": (3, 5), "scores": (3, 5)}),
        ("lexicon_head", {"ids": (4, 0), "weights": (4, 0)}),
        ("lexicon_head", {"ids": (4, 2), "weights": (4, 2)}),
        ("lexicon_head", {"hidden": (3, 9, 33), "mask": (3, 9)}),
        ("DecoderArrays", {"weight": (0, 33), "bias": (0,)}),
        ("DecoderArrays", {"weight": (70, 0), "values": (0,)}),
        ("lexicon_pack", {"weight": (0, 33), "values": (0,), "sums": (0,)}),
    ],
)
def test_several_arguments_wrong_together(entry: str, changes: dict[str, tuple[int, ...]]) -> None:
    arguments = ENTRY_POINTS[entry]()
    changed = {name: np.zeros(shape, arguments[name].dtype) for name, shape in changes.items()}
    with pytest.raises(ValueError, match=r"must|fit"):
        getattr(_native, entry)(**arguments | changed)


@pytest.mark.parametrize(
    "offsets", [[1, 2, 2, 5, 9], [0, 2, 2, 5, 8], [0, 5, 2, 5, 9], [0, 2**62 + 2**61, -(2**62), 5, 9]]
)
def test_offsets_of_tokens_ascend(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets must ascend"):
        _native.pool_maxima(**maxima_arguments() | {"offsets": np.array(offsets)})


def test_an_index_of_nothing_is_none_of_these() -> None:
    """No document, no query, no row: nothing to do, and nothing wrong."""
    nothing = ImpactIndex.build(documents()[:0])
    found = nothing.search(documents()[:4], 2**31 - 1)
    assert found.rows.shape == (4, 0)
    assert ImpactIndex.build(documents()).search(documents()[:0], 5).rows.shape == (0, 5)
    none = np.zeros((0, 9), np.uint8)
    empty = {"hidden": (0, 9, 33), "own": (0, 2), "ids": (0, 5), "weights": (0, 5), "counts": (0,)}
    arguments = head_arguments()
    shaped = {name: np.zeros(shape, arguments[name].dtype) for name, shape in empty.items()}
    assert _native.lexicon_head(**arguments | shaped | {"mask": none}) == -1


@pytest.mark.parametrize("term", [-2, 70, 2**62])
def test_own_terms_are_columns(term: int) -> None:
    with pytest.raises(ValueError, match="own must be term ids, or -1"):
        _native.lexicon_head(**head_arguments() | {"own": np.full((4, 2), term, np.int64)})
