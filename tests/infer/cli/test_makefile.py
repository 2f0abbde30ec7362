"""`make encode`: folder names reach the command as they were typed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[3] / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is installed already, with a command that prints its arguments."""
    for name in ("pyproject.toml", "CMakeLists.txt", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / "lexlip_infer").mkdir()
    (tmp_path / "kernels" / "lexlip_kernels").mkdir(parents=True)
    shutil.copy(MAKEFILE, tmp_path)
    command = tmp_path / ".venv" / "bin" / "lexlip-encode"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    command.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def make(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("IMAGES", "OUT", "MAKEFLAGS")}
    return subprocess.run(
        ["make", "-s", "-C", str(project), "encode", *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["photos", "my photos", 'it\'s "here"', "$HOME $(OUT) `id`", "a;b", "$$", "a#b"])
def test_names_survive(name: str, project: Path) -> None:
    for done in (make(project, f"IMAGES={name}", f"OUT={name}/o"), make(project, IMAGES=name, OUT=f"{name}/o")):
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["--images", name, "--output", f"{name}/o"]


def test_without_images(project: Path) -> None:
    (project / ".venv" / ".installed").unlink()
    done = make(project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: make encode IMAGES=dir/ OUT=out/\n")
