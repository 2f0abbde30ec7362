"""A small vocabulary with awkward terms, and documents with awkward ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lexlip_infer.formats import FORMATS, FormatSettings
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

Documents = dict[str, dict[int, int]]

TERMS = (
    "[PAD]",
    "[unused993]",
    "the",
    "##ing",
    '"',
    "\\",
    "é",
    "日本語",
    "😀",
    "cells",
    "values",
    "type",
    "a.b",
    "_",
    "zoo",
)
DOTTED = TERMS.index("a.b")


def matrix_of(documents: Sequence[dict[int, int]], vocab_size: int) -> ImpactMatrix:
    rows = [sorted(document.items()) for document in documents]
    return ImpactMatrix(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([term for row in rows for term, _ in row], np.int32),
        np.array([impact for row in rows for _, impact in row], np.int32),
        vocab_size,
    )


@pytest.fixture(autouse=True)
def _pyarrow(request: pytest.FixtureRequest) -> None:
    """Tests of every format skip where Parquet's library is missing."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("name") == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'lexlip-infer[io]'")


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(TERMS)


@pytest.fixture
def documents() -> Documents:
    """No empty one, no dot, impacts up to 2,048: what every engine takes."""
    everything = {term: 1 + 146 * term for term in range(len(TERMS)) if term != DOTTED}
    return {
        "sub/é beach.jpg": {3: 12, 7: 255, 14: 1},
        "placeholder": {1: 1},
        "日本語 😀": everything,
        "quote\"back\\slash'": {0: 2048},
        "no\u00a0break\u2028separator": {2: 127, 9: 128},
        "000000391895": dict.fromkeys(range(9, 12), 129),
    }


@pytest.fixture
def write(vocabulary: Vocabulary) -> Callable[..., bytes]:
    """The file of a format, written in chunks of a given size."""

    def written(
        name: str, documents: Documents, chunk: int = 4, terms: Vocabulary = vocabulary, **choices: Any
    ) -> bytes:
        writer = FORMATS[name].open(terms, FormatSettings(**choices))
        ids, rows = list(documents), list(documents.values())
        data = [
            writer.add(ids[at : at + chunk], matrix_of(rows[at : at + chunk], len(terms)))
            for at in range(0, max(len(ids), 1), chunk)
        ]
        return b"".join([*data, *writer.finish()])

    return written
