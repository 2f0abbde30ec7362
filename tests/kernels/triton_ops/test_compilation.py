"""Every Triton kernel compiles for Volta, Ampere and Hopper, and uses their tensor cores where they have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="Triton is not installed: pip install 'lexlip-infer[triton]'")

SCRIPT = Path(__file__).parent / "compile_kernels.py"
#: Shared memory that a program of any GPU of the generation may take, and threads' registers.
SHARED = {70: 96 << 10, 80: 99 << 10, 90: 227 << 10}
#: Bytes of stack a thread may need beside its registers: a handful of spilled registers outside of the main loop.
STACK = 32
#: The Triton that is pinned for Volta (docs/v100.md) runs nowhere else; what it spills on Hopper is of no consequence.
FOR_VOLTA_ONLY = "3.6.0"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_all_kernels_of_all_ops_are_there(kernels):
    names = {(entry["kernel"], entry["capability"]) for entry in kernels}
    assert len(names) == len(kernels) == 3 * (3 * 3 + 5)


def test_tensor_cores_are_used_where_there_are_some(kernels):
    for entry in kernels:
        multiplies = entry["kernel"].startswith("lexicon_") and "float32" not in entry["kernel"]
        assert entry["mma"] == (multiplies and entry["capability"] == 80), entry
        assert entry["wgmma"] == (multiplies and entry["capability"] == 90), entry


def test_resources(kernels):
    for entry in kernels:
        assert entry["shared_bytes"] <= SHARED[entry["capability"]], entry
        if entry["capability"] == 70 or version("triton") != FOR_VOLTA_ONLY:
            assert entry["stack"] <= STACK, entry
