"""What is found out about the machine, with a driver that is made up."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import BackendUnavailable, Bundle, LexLIPEncoder
from lexlip_infer.runtime import machine
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.machine import Machine


class Driver:
    """libcuda with an A100 and a V100, as cuda.h declares it."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.gpus = [(8, 0), (7, 0)]

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.gpus)
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = 100 + number  # a handle is no number
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = self.gpus[device.value - 100][{75: 0, 76: 1}[attribute]]
        return 0


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    machine.compute_capabilities.cache_clear()
    yield
    machine.compute_capabilities.cache_clear()


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert machine.compute_capabilities() == ((8, 0), (7, 0))


def test_a_driver_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(status=100))  # CUDA_ERROR_NO_DEVICE
    assert machine.compute_capabilities() == ()


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert machine.compute_capabilities() == ()


@pytest.mark.parametrize(
    ("version", "oldest"), [("1.26.0", (7, 0)), ("1.27.0", (7, 5)), ("1.32.0", (7, 5)), ("2.0.1", (7, 5))]
)
def test_volta_was_dropped(version: str, oldest: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.__version__", version)
    monkeypatch.setattr(machine, "compute_capabilities", lambda: ((7, 0),))
    assert machine.look_around().oldest_gpu == oldest


@pytest.mark.parametrize("options", [{"device": "cpu"}, {"precision": "int8"}, {"head": "native"}])
def test_gpus_are_not_looked_for_where_the_cpu_is_asked_for(
    options: dict[str, str], bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_for() -> None:
        raise AssertionError

    monkeypatch.setattr(machine, "compute_capabilities", looked_for)
    bundle = Bundle.open(bundle_folder)
    with contextlib.suppress(BackendUnavailable):  # the bundle has no int8
        assert LexLIPEncoder(bundle, RuntimeOptions(**options)).path("text").device == "cpu"  # type: ignore[arg-type]


def test_onnxruntime_waits_for_a_tower(bundle_folder: Path) -> None:
    code = """
import sys
from lexlip_infer.encoder import LexLIPEncoder
encoder = LexLIPEncoder.from_pretrained(sys.argv[1], device="cpu")
encoder.tokenize(["a dog"]), encoder.path("text")
print(*(module for module in ("onnxruntime", "openvino", "scipy", "numba", "torch", "PIL") if module in sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code, bundle_folder], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_a_gpu_that_is_too_old() -> None:
    mixed = Machine(cuda_provider=True, gpus=((8, 0), (7, 0)), oldest_gpu=(7, 5))
    assert mixed.cuda_refusal(0) is None
    assert "compute capability 7.0: install the extra 'gpu-v100'" in (mixed.cuda_refusal(1) or "")
    assert "reports 2 NVIDIA GPUs, numbered from 0" in (mixed.cuda_refusal(2) or "")
