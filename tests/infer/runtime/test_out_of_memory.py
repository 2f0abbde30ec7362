"""A device that is full: half the rows, the same result, one report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.errors import BundleError
from lexlip_infer.runtime.choice import PathChoice
from lexlip_infer.runtime.onnxruntime_session import translate
from lexlip_infer.runtime.opening import rows_within
from lexlip_infer.runtime.tower import DeviceOutOfMemory, RowsAtOnce, Tower, is_out_of_memory

#: What ONNX Runtime, CUDA, cuBLAS and torch say.
MESSAGES = [
    (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul node. "
        "Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
        "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for "
        "requested buffer of size 1207959552"
    ),
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; file=cuda_allocator.cc ; line=47 ; expr=cudaMalloc(p, size);",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    "CUDA out of memory. Tried to allocate 1.12 GiB. GPU 0 has a total capacity of 15.77 GiB",
    "Available memory of 1024 is smaller than requested bytes of 4096",
]
PATH = PathChoice("cuda:0", "onnxruntime", "fp16", "onnx", "onnx/image_backbone_fp16.onnx", "a test")


class SmallGpu:
    """A backbone that holds so many rows, and says what ONNX Runtime says where it cannot."""

    def __init__(self, room: int, message: str = MESSAGES[0]) -> None:
        self.room = room
        self.message = message
        self.asked: list[int] = []

    def __call__(self, inputs: Mapping[str, Any]) -> list[Any]:
        rows = len(inputs["pixel_values"])
        self.asked.append(rows)
        if rows > self.room:
            raise translate(RuntimeError(self.message), Path("image_backbone_fp16.onnx"), inputs)
        return [inputs["pixel_values"]]


def head(hidden: Any, mask: Any, top_k: int, input_ids: Any = None) -> tuple[Any, Any]:
    """The first pixel of a row is its only term, the second its weight."""
    return hidden[:, :1].astype(np.int64), hidden[:, 1:2]


def batch(rows: int) -> dict[str, Any]:
    return {"pixel_values": np.stack([np.arange(rows), np.arange(1, rows + 1)], axis=1).astype(np.float32)}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("room", [1, 3, 7, 20])
def test_the_batch_is_halved_until_it_fits(room: int, message: str, caplog: pytest.LogCaptureFixture) -> None:
    gpu = SmallGpu(room, message)
    tower = Tower(PATH, gpu, head, 100)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = tower(batch(20), 1)
            np.testing.assert_array_equal(found.indices, np.arange(20))
            np.testing.assert_array_equal(found.values, np.arange(1, 21))
    reports = [record.getMessage() for record in caplog.records]
    assert len(reports) == (room < 20)
    if reports:
        assert "out of memory with 20 rows at a time" in reports[0]
    assert sum(rows > room for rows in gpu.asked) == {1: 4, 3: 3, 7: 2, 20: 0}[room], "what failed is not tried again"


def test_one_row_that_does_not_fit() -> None:
    gpu = SmallGpu(0)
    with pytest.raises(
        DeviceOutOfMemory, match=r"out of memory on pixel_values \(1, 2\) float32: .*use another device"
    ):
        Tower(PATH, gpu, head, 100)(batch(5), 1)
    assert gpu.asked == [5, 2, 1]


def test_other_errors_stay_errors() -> None:
    gpu = SmallGpu(1, "CUDA failure 700: an illegal memory access was encountered")
    with pytest.raises(BundleError, match=r"failed on .*illegal memory access"):
        Tower(PATH, gpu, head, 100)(batch(4), 1)
    assert gpu.asked == [4]


@pytest.mark.parametrize("message", ["memory pattern mismatch", "invalid argument", ""])
def test_what_is_no_lack_of_memory(message: str) -> None:
    assert not is_out_of_memory(RuntimeError(message))


def test_a_known_limit_is_never_exceeded() -> None:
    gpu = SmallGpu(100)
    Tower(PATH, gpu, head, 100, RowsAtOnce(6))(batch(20), 1)
    assert gpu.asked == [6, 6, 6, 2]


@pytest.mark.parametrize("tokens", [2, 40, 197, 577, 100_000])
def test_logits_stay_below_a_gibibyte(tokens: int) -> None:
    rows = rows_within(tokens, 30522)
    assert rows == 1 or rows * tokens * 30522 * 2 < 2**30
    assert (rows + 1) * tokens * 30522 * 2 >= 2**30
