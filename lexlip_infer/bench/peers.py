"""`lexlip-bench --peers`: the engines that people use instead, on the same model, through the scripts of the checkout.

They need the extra `dev` and are no part of an installed package; this finds them and runs them, nothing more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexlip_infer.errors import BackendUnavailable, InputError

__all__ = ["peers_folder", "run_peers"]

_CHECKOUT = Path(__file__).parents[2]


def peers_folder() -> Path:
    """Where the scripts are.

    Raises:
        InputError: this package is not in a checkout.
    """
    folder = _CHECKOUT / "benchmarks" / "peers"
    if not (folder / "run.py").is_file():
        raise InputError(
            "--peers runs scripts that are in the repository alone, in benchmarks/peers; clone it and "
            "pip install -e '.[dev]' there"
        )
    return folder


def run_peers(preset: str, model: Path, folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Measure peers and ourselves in turn; benchmarks/results/ of the checkout keeps the record.

    Args:
        preset: that the bundle of random weights was made of.
        model: folder of that bundle.
        folder: for the checkpoint.
        options: of `benchmarks/peers/run.py`.

    Returns:
        The record.

    Raises:
        BackendUnavailable: a script fails; with its own last line.
    """
    scripts = peers_folder()
    checkpoint = folder / "checkpoint"
    _run(scripts / "make_checkpoint.py", preset, str(checkpoint))
    said = _run(scripts / "run.py", "--model", str(model), "--checkpoint", str(checkpoint), *options)
    record: dict[str, Any] = json.loads(said.splitlines()[-1])
    return record


def _run(script: Path, *arguments: str) -> str:
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own scripts)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"{script.name} ended with status {done.returncode}"]
        raise BackendUnavailable(lines[-1].removeprefix("error: "))
    return done.stdout
