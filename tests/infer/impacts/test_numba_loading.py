"""Numba stays out of a plain import, and its disk cache never gets in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
from lexlip_infer.impacts._kernels import compiled

@compiled
def double(number):
    return 2 * number
"""
USE = "import kernel; print(kernel.double(21), getattr(kernel.double._cache, 'cache_path', None))"


def run(code: str, folder: Path, **environment: str) -> str:
    """Run code in a fresh interpreter, in `folder`, with warnings as errors; what it prints."""
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A folder with a kernel module where no `__pycache__` can be made, not even by root."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "__pycache__").write_text("a file where a folder should be")
    return tmp_path


def test_import_leaves_numba_out(tmp_path: Path) -> None:
    code = "import sys, lexlip_infer.impacts; print({'numba', 'llvmlite'} & set(sys.modules))"
    assert run(code, tmp_path) == "set()"


def test_building_a_writer_leaves_numba_out(tmp_path: Path) -> None:
    code = (
        "import sys; from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings;"
        "JsonLinesWriter(['a']); QuantisationSettings(); print('numba' in sys.modules)"
    )
    assert run(code, tmp_path) == "False"


def test_read_only_installation_caches_in_the_home_folder(read_only: Path) -> None:
    home = read_only / "home"
    answer, cache = run(USE, read_only, XDG_CACHE_HOME=str(home)).split()
    assert answer == "42"
    assert Path(cache).is_relative_to(home)
    assert list(Path(cache).glob("kernel.double-*.nbc"))


def test_nowhere_to_cache(read_only: Path) -> None:
    nowhere = read_only / "kernel.py" / "below"
    assert run(USE, read_only, XDG_CACHE_HOME=str(nowhere)) == "42 None"
