"""Heads for the lexicon_head tests, and what "equal to the reference" means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_kernels.lexicon_head import PackedDecoder, RankedTerms, cpu_paths, lexicon_head, reference

#: Tolerance of a float32 dot product of H terms against the exact one, relative to |token| * |column| (Higham, gamma_n:
#: any order of summation); log1p adds no more than one rounding, and its slope is at most 1.
ROUNDOFF = 2.0**-24


@dataclass(frozen=True)
class Head:
    """Inputs of the op."""

    hidden: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    mask: npt.NDArray[Any] | None = None

    def decoder(self) -> PackedDecoder:
        return PackedDecoder.pack(self.weight, self.bias)

    def run(self, k: int, **options: Any) -> RankedTerms:
        return lexicon_head(self.hidden, self.decoder(), self.mask, k=k, **options)

    def bytes_mask(self) -> npt.NDArray[np.uint8]:
        shape = self.hidden.shape[:2]
        return np.ones(shape, np.uint8) if self.mask is None else (self.mask != 0).astype(np.uint8)

    def logits(self) -> npt.NDArray[np.float64]:
        """(B, V), in float64."""
        wide = (array.astype(np.float64) for array in (self.hidden, self.weight, self.bias))
        return reference.max_logits(*wide, self.bytes_mask())

    def tolerance(self) -> npt.NDArray[np.float64]:
        """(B, 1), how far a float32 weight may lie from the float64 one."""
        tokens = np.linalg.norm(self.hidden.astype(np.float64), axis=2) * self.bytes_mask()
        columns = np.linalg.norm(self.weight.astype(np.float64), axis=1).max()
        terms = self.weight.shape[1] + 2
        largest = tokens.max(axis=1, initial=0)[:, None] * columns
        return terms * ROUNDOFF * largest + 4 * ROUNDOFF * (1 + np.abs(self.bias).max() + np.log1p(largest))


def random_head(rows: int, tokens: int, hidden: int, vocab: int, seed: int = 0, shift: float = 0.0) -> Head:
    """Gaussian hidden states and weights, logits of about unit size, moved by `shift`."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((vocab, hidden), dtype=np.float32) / np.float32(np.sqrt(hidden))
    bias = random.standard_normal(vocab, dtype=np.float32) * np.float32(0.1) + np.float32(shift)
    return Head(random.standard_normal((rows, tokens, hidden), dtype=np.float32), weight, bias)


def integer_head(rows: int, tokens: int, hidden: int, vocab: int, seed: int = 0, largest: int = 3) -> Head:
    """Small integers: every order of summation gives the same float32, so even ids must be equal. Many ties."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return random.integers(-largest, largest + 1, shape).astype(np.float32)

    return Head(draw(rows, tokens, hidden), draw(vocab, hidden), draw(vocab))


def assert_well_formed(found: RankedTerms, rows: int, k: int) -> None:
    """Ranked, padded and counted as the contract says."""
    assert found.ids.shape == found.weights.shape == (rows, k)
    assert (found.ids.dtype, found.weights.dtype, found.counts.dtype) == (np.int64, np.float32, np.int32)
    kept = np.arange(k) < found.counts[:, None]
    assert ((found.weights > 0) == kept).all()
    assert (found.ids[~kept] == -1).all()
    assert (found.weights[~kept] == 0).all()
    for ids, weights, count in zip(found.ids, found.weights, found.counts, strict=True):
        assert len(set(ids[:count].tolist())) == count
        order = np.lexsort((ids[:count], -weights[:count]))
        assert (order == np.arange(count)).all(), "weight descending, then id ascending"


def assert_close(found: RankedTerms, head: Head, k: int) -> None:
    """At every rank the weight of the float64 reference, and ids whose float64 weights are those, within rounding."""
    k = min(k, len(head.bias))
    assert_well_formed(found, len(head.hidden), k)
    expected = np.log1p(np.maximum(head.logits(), 0))
    tolerance = head.tolerance()
    padded = np.pad(-np.sort(-expected, axis=1), ((0, 0), (0, k)))[:, :k]
    assert (np.abs(padded - found.weights) <= tolerance).all()
    of_ids = np.where(found.ids >= 0, np.take_along_axis(expected, np.maximum(found.ids, 0), axis=1), 0)
    assert (np.abs(of_ids - found.weights) <= tolerance).all()


def assert_identical(found: RankedTerms, expected: RankedTerms) -> None:
    """Bit for bit."""
    np.testing.assert_array_equal(found.weights, expected.weights)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.fixture(params=["amx", "avx512_vnni", "avx2", "portable"])
def cpu_path(request: pytest.FixtureRequest) -> str:
    if request.param not in cpu_paths():
        pytest.skip(f"this CPU has no {request.param}")
    return str(request.param)


@pytest.fixture(params=["amx", "avx512_vnni", "avx2"])
def scanning_path(request: pytest.FixtureRequest) -> str:
    """A path that scans in int8."""
    if request.param not in cpu_paths():
        pytest.skip(f"this CPU has no {request.param}")
    return str(request.param)


@pytest.fixture(scope="session")
def make_random() -> Callable[..., Head]:
    return random_head


@pytest.fixture(scope="session")
def make_integer() -> Callable[..., Head]:
    return integer_head


@pytest.fixture(scope="session")
def make_head() -> type[Head]:
    return Head


@pytest.fixture(scope="session")
def check_close() -> Callable[..., None]:
    return assert_close


@pytest.fixture(scope="session")
def check_identical() -> Callable[..., None]:
    return assert_identical
