"""Which devices run together, with how many lanes and threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from lexlip_infer.errors import InputError
from lexlip_infer.pipeline import settings
from lexlip_infer.pipeline.settings import open_devices, share_out
from lexlip_infer.runtime.choice import PathChoice, RuntimeOptions


@dataclass
class Pretended:
    """An encoder that says which path it takes."""

    bundle: str
    options: RuntimeOptions
    backend: Any = field(default="onnxruntime")

    @property
    def threads(self) -> int:
        return self.options.thread_count

    def path(self, modality: str) -> PathChoice:
        device, precision = self.options.device, "fp16" if self.options.device.startswith("cuda") else "f32"
        return PathChoice(device, self.backend, precision, "native", "graph", "because")  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LexLIPEncoder", Pretended)


def pretend(*names: str, threads: int = 8, backend: str = "onnxruntime", cuda_graph: bool = False) -> list[Any]:
    return [
        Pretended("bundle", RuntimeOptions(name, threads=threads, cuda_graph=cuda_graph), backend) for name in names
    ]


@pytest.mark.parametrize(
    ("names", "threads", "lanes", "expected"),
    [
        (["cpu"], 8, None, (8, 1)),
        (["cpu"], 1, None, (1, 1)),
        (["cpu"], 64, None, (16, 4)),
        (["cpu"], 8, 2, (2, 4)),
        (["cpu"], 2, 8, (8, 1)),
        (["cuda:0"], 8, None, (1, 8)),
        (["cuda:0", "cuda:1"], 8, None, (1, 4)),
        (["cuda:0", "cuda:1"], 8, 2, (2, 2)),
    ],
)
def test_lanes_and_threads(names: list[str], threads: int, lanes: int | None, expected: tuple[int, int]) -> None:
    shared = share_out(pretend(*names, threads=threads), "image", lanes)
    assert (shared.lanes, shared.encoders[0].threads) == expected
    assert shared.threads == threads
    assert [encoder.path("image").device for encoder in shared.encoders] == names
    assert shared.path.device == names[0]


def test_one_caller_at_a_time() -> None:
    assert share_out(pretend("cpu", backend="openvino"), "image").lanes == 1
    for encoders in (pretend("cpu", backend="openvino"), pretend("cuda:0", cuda_graph=True)):
        with pytest.raises(InputError, match="2 lanes with OpenVINO or CUDA graphs, which serve one at a time"):
            share_out(encoders, "image", 2)


def test_refused() -> None:
    with pytest.raises(InputError, match="the devices are cuda:0, cuda:0; expected each of them once"):
        share_out(pretend("cuda:0", "cuda:0"), "image")
    with pytest.raises(InputError, match=r"round differently \(cpu onnxruntime f32 native, cuda onnxruntime fp16"):
        share_out(pretend("cuda:0", "cpu"), "image")


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def open_one(model: str, device: str, precision: str, **wishes: Any) -> Any:
        asked.append((model, device, precision, wishes))
        return Pretended("bundle", RuntimeOptions(device, precision, **wishes))

    monkeypatch.setattr(Pretended, "from_pretrained", open_one, raising=False)
    options = RuntimeOptions("auto", "fp16", threads=4)
    opened = open_devices("model", "cuda:0, cuda:1", options, "image")
    assert [encoder.options.device for encoder in opened.encoders] == ["cuda:0", "cuda:1"]
    wishes = {"backend": "auto", "head": "auto", "threads": 4, "memory_arena": True, "cuda_graph": False}
    assert asked == [("model", device, "fp16", wishes) for device in ("cuda:0", "cuda:1")]
