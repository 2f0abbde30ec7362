"""What made a run: command, git revision, versions. Written beside its weights."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["provenance"]

_PACKAGES = ("lexlip-infer", "torch", "timm", "transformers", "accelerate", "tokenizers", "numpy")


def provenance(notice: str = "") -> dict[str, Any]:
    """A JSON-serialisable record; the paths of the command are cut to their last part."""
    return {
        "notice": notice,
        "command": " ".join([Path(sys.argv[0]).name, *(Path(argument).name for argument in sys.argv[1:])]),
        "revision": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _git(*arguments: str) -> str | None:
    try:
        run = subprocess.run(  # noqa: S603  (fixed words)
            ["git", *arguments],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return None
    return run.stdout.strip() or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
