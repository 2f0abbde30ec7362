"""Rows in several streams of OpenVINO: the same rows in the same order as without, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import BundleError
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.runtime.openvino_session import MOST_STREAMS, Streams
from lexlip_infer.runtime.tower import INPUTS

pytestmark = pytest.mark.skipif(not look_around().openvino, reason="openvino is not installed (extra 'openvino')")


def open_session(bundle: Bundle, threads: int, modality: str = "image") -> Any:
    from lexlip_infer.runtime.openvino_session import OpenVINOSession

    return OpenVINOSession(bundle, f"onnx/{modality}_backbone.onnx", INPUTS[modality], "f32", threads, share_rows=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings that models are compiled with."""
    from lexlip_infer.runtime import openvino_session
    from lexlip_infer.runtime.openvino_session import openvino_core

    compiled_with: list[dict[str, Any]] = []

    class Core:
        read_model = openvino_core().read_model

        def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
            compiled_with.append(settings)
            return openvino_core().compile_model(model, device, settings)

    monkeypatch.setattr(openvino_session, "openvino_core", Core)
    return compiled_with


@pytest.fixture(scope="module")
def three(bundle: Bundle) -> Any:
    return open_session(bundle, 3)


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 8, 9])
def test_order(rows: int, three: Any, inputs: Any) -> None:
    """Too few rows for streams, just enough, and numbers that streams do not divide; a shape may come again."""
    pixels = np.concatenate([inputs["image"]["pixel_values"], -inputs["image"]["pixel_values"]])[:rows]
    alone = np.concatenate([three({"pixel_values": row[None]})[0].copy() for row in pixels])
    assert len({row.tobytes() for row in alone}) == rows, "rows that differ"
    for _ in range(2):
        (together,) = three({"pixel_values": pixels})
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-4)


def test_two_inputs(bundle: Bundle, inputs: Any) -> None:
    two, one = (open_session(bundle, threads, "text") for threads in (2, 1))
    assert len(inputs["text"]["input_ids"]) == 4, "two rows for each stream"
    np.testing.assert_allclose(two(inputs["text"])[0], one(inputs["text"])[0], atol=1e-5, rtol=1e-4)


def test_one_row_and_one_thread_compile_no_streams(bundle: Bundle, inputs: Any) -> None:
    pixels = inputs["image"]["pixel_values"]
    single = open_session(bundle, 1)
    single({"pixel_values": pixels})
    several = open_session(bundle, 3)
    for rows in (1, 3, 5):
        several({"pixel_values": pixels[:rows]})
    assert "_streams" not in vars(single)
    assert "_streams" not in vars(several)
    several({"pixel_values": np.concatenate([pixels, pixels])[:6]})
    assert "_streams" in vars(several)


@pytest.mark.parametrize(("threads", "streams"), [(2, 2), (MOST_STREAMS + 3, MOST_STREAMS)])
def test_threads_are_for_all_streams_together(
    threads: int, streams: int, bundle: Bundle, inputs: Any, asked: list[dict[str, Any]]
) -> None:
    session = open_session(bundle, threads)
    session({"pixel_values": np.tile(inputs["image"]["pixel_values"], (8, 1, 1, 1))})
    latency, throughput = asked
    assert {settings["INFERENCE_NUM_THREADS"] for settings in asked} == {threads}
    assert latency["PERFORMANCE_HINT"] == "LATENCY"
    assert "NUM_STREAMS" not in latency
    assert throughput["NUM_STREAMS"] == streams


@pytest.mark.parametrize(
    ("modality", "precision", "expected"), [("image", "int8", True), ("text", "int8", False), ("image", "f32", False)]
)
def test_whose_rows_are_shared_out(
    modality: Modality,
    precision: str,
    expected: bool,
    with_files: Callable[[dict[str, bytes]], Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lexlip_infer.runtime import opening

    opened: list[tuple[Any, ...]] = []
    monkeypatch.setattr(opening, "OpenVINOSession", lambda *given: opened.append(given))
    quantised = with_files({f"openvino/{modality}_backbone_int8.xml": b""})
    open_tower(quantised, modality, RuntimeOptions("cpu", precision, "openvino", threads=2))
    assert [given[-1] for given in opened] == [expected]


class Request:
    """A request that fails, or does not, and says when."""

    def __init__(self, happened: list[str], name: str, fails: str = "") -> None:
        self.happened, self.name, self.fails = happened, name, fails

    def start_async(self, part: dict[str, Any], share_inputs: bool) -> None:
        self._end("start")

    def wait(self) -> None:
        self._end("wait")

    def get_output_tensor(self) -> Any:
        raise AssertionError("a batch that failed has no output")

    def _end(self, step: str) -> None:
        self.happened.append(f"{step} {self.name}")
        if self.fails == step:
            raise RuntimeError(f"{self.name} broke")


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ("wait", ["start a", "start b", "start c", "wait c", "wait b", "wait a"]),
        ("start", ["start a", "start b", "wait a"]),
    ],
)
def test_a_failure_waits_for_the_others(fails: str, expected: list[str]) -> None:
    happened: list[str] = []
    requests = [Request(happened, "a"), Request(happened, "b", fails), Request(happened, "c")]

    class Compiled:
        create_infer_request = staticmethod(iter(requests).__next__)

    with pytest.raises(RuntimeError, match="b broke"):
        Streams(Compiled(), 3)({"x": np.zeros((6, 1))})
    assert happened == expected


def test_inputs_that_the_graph_refuses(three: Any, inputs: Any) -> None:
    """One clear line; afterwards the session still works."""
    pixels = inputs["image"]["pixel_values"]
    with pytest.raises(BundleError, match=r"image_backbone\.onnx: failed: ") as raised:
        three({"pixel_values": pixels[:, :2]})
    assert "\n" not in str(raised.value)
    assert three({"pixel_values": pixels})[0].shape[0] == len(pixels)
