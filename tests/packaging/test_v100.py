"""The environment of a V100: its pins are one set of exact versions, and kernels compile for it with them.

Which releases those are, and why, stands in docs/v100.md. `make check-v100` asks pip whether they can be installed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import v100_ceilings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "kernels" / "triton_ops" / "compile_kernels.py"
PIN = re.compile(r"[a-z0-9-]+==\d+(\.\d+)+")


def extra() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins: list[str] = project["optional-dependencies"]["gpu-v100"]
    return pins


def constraints() -> list[str]:
    lines = (ROOT / "constraints-v100.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pinned(package: str) -> str:
    return next(pin.split("==")[1] for pin in extra() if pin.startswith(f"{package}=="))


def test_the_extra_pins_what_the_constraints_pin() -> None:
    assert extra() == constraints() == sorted(extra())


def test_every_pin_is_one_exact_version() -> None:
    for pin in extra():
        assert PIN.fullmatch(pin), pin


def test_the_document_names_every_pin() -> None:
    document = (ROOT / "docs" / "v100.md").read_text(encoding="utf-8")
    for pin in extra():
        assert re.search(rf"`{re.escape(pin)}`", document), pin


def test_the_document_has_the_figures_of_the_script() -> None:
    document = (ROOT / "docs" / "v100.md").read_text(encoding="utf-8")
    assert f"\n{v100_ceilings.table()}\n" in document
    small, large, text = (work.largest_batch for work in v100_ceilings.WORKS)
    split = f"{small} images of 224 px at a time, {large} of 384 px, {text} texts of 40 tokens"
    assert split in " ".join(document.split())


def test_the_work_of_a_backbone_is_what_others_count() -> None:
    """ViT-B/16 at 224 and 384 pixels, in multiply-adds: Swin Transformer (ICCV 2021), table 1."""
    for work, backbone in zip(v100_ceilings.WORKS, (17.5e9, 55.4e9), strict=False):
        head = work.tokens * v100_ceilings.HIDDEN * (v100_ceilings.HIDDEN + v100_ceilings.VOCABULARY)
        assert work.flop / 2 - head == pytest.approx(backbone, rel=0.01)


@pytest.fixture(scope="module")
def interpreter() -> str:
    """A Python with the pinned Triton, GPU or not, or a skip."""
    chosen = os.environ.get("LEXLIP_V100_PYTHON", sys.executable)
    question = [chosen, "-c", "from importlib.metadata import version; print(version('triton'))"]
    answer = subprocess.run(question, capture_output=True, text=True, check=False)
    if "LEXLIP_V100_PYTHON" not in os.environ and answer.stdout.strip() != pinned("triton"):
        pytest.skip(f"Triton {pinned('triton')} is not installed; LEXLIP_V100_PYTHON may name a Python that has it")
    assert answer.stdout.strip() == pinned("triton"), answer.stderr
    return chosen


def test_every_kernel_compiles_for_volta_with_the_pinned_triton(interpreter: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "kernels")}
    command = [interpreter, str(SCRIPT), "70"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    kernels = json.loads(finished.stdout.splitlines()[-1])
    assert {entry["capability"] for entry in kernels} == {70}
    assert len(kernels) == 3 * 3 + 5
    for entry in kernels:
        assert not entry["mma"], "Volta's tensor cores are cuBLAS' business: docs/v100.md says so"
        assert entry["shared_bytes"] <= 96 << 10, entry
        assert entry["stack"] == 0, entry
