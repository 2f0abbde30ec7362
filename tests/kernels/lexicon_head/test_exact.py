"""`exact` is `f32` bit for bit at the shapes it is made for, on inputs that are hard for a scan and on photographs.

benchmarks/check_lexicon_head_exact.py does the same for a thousand inputs, on every CPU path.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import check_lexicon_head_exact as head_inputs  # of benchmarks
import pytest

from lexlip_kernels.lexicon_head import cpu_paths, lexicon_head

TOP_K = 128

pytestmark = pytest.mark.skipif(len(cpu_paths()) < 2, reason="no CPU path scans here: exact and f32 are one")


def compare(inputs: head_inputs.Inputs, check_identical: Callable[..., None]) -> int:
    """Rows compared, on the path that `auto` takes."""
    rows = 0
    for hidden in inputs.batches:
        run = partial(lexicon_head, hidden, inputs.decoder, k=TOP_K, threads=2)
        check_identical(run(mode="exact"), run(mode="f32"))
        rows += len(hidden)
    return rows


@pytest.mark.parametrize("name", head_inputs.RANDOM)
def test_random_inputs_of_full_shape(name: str, check_identical: Callable[..., None]) -> None:
    assert compare(head_inputs.random_inputs(name, 4), check_identical) == 4


def test_photographs(data: Path, check_identical: Callable[..., None]) -> None:
    photographs = sorted((data / "flickr8k" / "images").iterdir())[:50]
    assert compare(head_inputs.lexlip_tiny(photographs), check_identical) == 50
