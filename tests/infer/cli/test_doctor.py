"""`lexlip doctor`: healthy here, and the faults it is there to name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import bundle
from lexlip_infer.cli import doctor, doctor_paths
from lexlip_infer.runtime import machine
from lexlip_infer.runtime.machine import Machine
from lexlip_infer.runtime.tower import Tower


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, bundle_folder: Path, tmp_path: Path) -> Path:
    """Another bundle in the place of the shipped one."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "shipped"))
    monkeypatch.setattr(bundle, "shipped_bundle", lambda: folder)
    return folder


def pretend_installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    def version(name: str) -> str:
        found = versions.get(name.replace("-", "_"), installed_version(name) if name != "onnxruntime-gpu" else None)
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor, "version", version)


def test_healthy(lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch)
    outcome = lexlip("doctor")
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    place = lines.index("model")
    assert lines[place + 1].split(maxsplit=1)[0] == "random"
    assert lines[place + 1].endswith("hashes match")
    assert re.fullmatch(r"  'dog' becomes +\S+ \d\.\d\d( .*)?", lines[place + 2])
    assert outcome.stdout.endswith("no problems found\n")


def test_two_onnxruntimes(lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, onnxruntime="1.26.0", onnxruntime_gpu="1.26.0")
    outcome = lexlip("doctor")
    assert outcome.status == 2
    assert (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install --no-deps onnxruntime-gpu==1.26.0"
        in outcome.stdout
    )
    assert "no problems found" not in outcome.stdout


def test_onnxruntime_gpu_alone_is_no_problem(
    lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_installed(monkeypatch, onnxruntime=None, onnxruntime_gpu="1.26.0")
    assert lexlip("doctor").status == 0


@pytest.mark.parametrize("name", ["scipy", "pydantic", "onnxruntime", "huggingface_hub"])
def test_a_missing_base_dependency(
    name: str, lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_installed(monkeypatch, **{name: None})
    outcome = lexlip("doctor")
    assert outcome.status == 2
    assert f"problem: {name} is missing: pip install {name}" in outcome.stdout
    assert "no problems found" not in outcome.stdout


def test_a_model_that_does_not_run(lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, feeds: object, k: int) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(Tower, "__call__", broken)
    outcome = lexlip("doctor")
    assert outcome.status == 2
    assert "problem: the model cannot be run (RuntimeError: no such operator)" in outcome.stdout


def test_a_damaged_model(lexlip: Callable[..., Any], shipped: Path) -> None:
    (shipped / "tokenizer.json").write_bytes(b"{}")
    outcome = lexlip("doctor")
    assert outcome.status == 2
    assert f"problem: {shipped / 'tokenizer.json'}: damaged or changed" in outcome.stdout


def test_missing_extras_name_their_cure(
    lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_installed(monkeypatch, torch=None)
    outcome = lexlip("doctor")
    assert outcome.status == 0
    assert "torch            not installed (only for the extra 'train': pip install 'lexlip-infer[train]')" in (
        outcome.stdout
    )


def test_paths_are_explained(lexlip: Callable[..., Any], shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch)
    monkeypatch.setattr(machine, "look_around", Machine)
    lines = [" ".join(line.split()) for line in lexlip("doctor").stdout.splitlines()]
    reason = "no GPU, the driver reports no NVIDIA GPU; the compiled module loads"
    for modality in ("image", "text"):
        assert f"{modality} ONNX Runtime f32 on cpu, native head: {reason}" in lines
    start = lines.index("what else lexlip-encode can be asked for")
    others = "\n".join(lines[start:])
    for said in (
        "--precision int8 no: the bundle has no onnx/image_backbone_int8.onnx: export the model again with --precision",
        "--precision bf16 no: openvino is not installed; it comes with the extra 'openvino': pip install",
        "--device cuda no: the driver reports no NVIDIA GPU: check nvidia-smi",
    ):
        assert said in others


def test_another_model(lexlip: Callable[..., Any], bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch)
    assert "paths of random, " in lexlip("doctor", "--model", bundle_folder).stdout
    outcome = lexlip("doctor", "--model", bundle_folder / "none")
    assert outcome.status == 2
    assert "not a model bundle" in outcome.stdout


GPU = Machine(cuda_provider=True, gpus=((9, 0),), triton=True, torch_cuda=True, openvino=True)


def test_what_could_be(bundle_folder: Path) -> None:
    opened = bundle.Bundle.open(bundle_folder)
    paths = dict(doctor_paths.other_paths(opened, GPU, runs_bf16=lambda: True))
    assert paths["--precision bf16"] == "yes: OpenVINO bf16 on cpu, native head"
    assert paths["--device cuda"] == "yes: ONNX Runtime f32 on cuda:0, triton head"
    assert paths["--device cuda --precision fp16"].startswith("no: the bundle has no onnx/image_backbone_fp16.onnx")
    assert dict(doctor_paths.other_paths(opened, GPU, lambda: False))["--precision bf16"] == "no: this CPU has no bf16"
