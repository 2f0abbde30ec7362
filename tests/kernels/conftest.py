"""What the tests of torch ops share: where their kernels run, poisoned memory, and the one table of tolerances.

Without an NVIDIA GPU, Triton's interpreter runs the kernels on the CPU (`tests/conftest.py` chooses it). On a machine
with a GPU the same tests run there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator

import pytest

if sanitised := os.environ.get("LEXLIP_NATIVE"):  # of `make sanitize`: the compiled module built another way
    assert "lexlip_kernels._native" not in sys.modules
    spec = importlib.util.spec_from_file_location("lexlip_kernels._native", sanitised)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])

#: (relative, absolute) by dtype. Products are accumulated in float32 whatever the dtype of their factors, so what is
#: float32 in the end agrees with float64 to the rounding of some hundred sums; what is stored in half precision is
#: off by its last bit: 2^-11 and 2^-8.
TOLERANCE = {"float32": (1e-5, 2e-5), "float16": (2e-3, 2e-3), "bfloat16": (1e-2, 1e-2)}


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda` if there is one, otherwise `cpu`, for the interpreter."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that is allocated but not written holds NaN or the largest integer; ops without one result raise."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.zeros(1).new_empty(3).isnan().all()
    assert torch.empty_like(torch.zeros(3)).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """Compare a result with its float64 reference, within the tolerance of the result's dtype, naming the tensor."""
    import torch

    def compare(name: str, actual: torch.Tensor, expected: torch.Tensor) -> None:
        relative, absolute = TOLERANCE[str(actual.dtype).removeprefix("torch.")]
        torch.testing.assert_close(
            actual.double(), expected.double(), rtol=relative, atol=absolute, msg=lambda text: f"{name}: {text}"
        )

    return compare
