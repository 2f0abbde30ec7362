"""Parity with the original code: every array it left behind, from the checkpoint files on, in both runtimes."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle_parity import ONNX_ARRAYS, TOLERANCES, Row, compare


@pytest.fixture(scope="module")
def rows(data: Path) -> dict[tuple[str, str], Row]:
    return {(row.runtime, row.name): row for row in compare(data / "oracle")}


@pytest.mark.parametrize("name", TOLERANCES)
def test_torch_reproduces(name: str, rows: dict[tuple[str, str], Row]) -> None:
    assert rows["torch", name].passed, rows["torch", name]


@pytest.mark.parametrize("name", ONNX_ARRAYS)
def test_onnx_runtime_reproduces(name: str, rows: dict[tuple[str, str], Row]) -> None:
    assert rows["ONNX Runtime", name].passed, rows["ONNX Runtime", name]
