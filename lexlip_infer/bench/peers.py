"""`lexlip-bench --peers`: the engines that people use instead, on the same model, through the scripts of the checkout.

They need the extra `dev` and are no part of an installed package; this finds them and runs them, nothing more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexlip_infer.bench.progress import Tell
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


def run_peers(preset: str, model: Path, folder: Path, options: Sequence[str], tell: Tell) -> dict[str, Any]:
    """Measure peers and ourselves in turn; benchmarks/results/ of the checkout keeps the record.

    Args:
        preset: that the bundle of random weights was made of.
        model: folder of that bundle.
        folder: for the checkpoint.
        options: of `benchmarks/peers/run.py`.
        tell: hears of every step.

    Returns:
        The record.

    Raises:
        BackendUnavailable: a script fails; with its own last line.
    """
    scripts = peers_folder()
    checkpoint = folder / "checkpoint"
    tell(f"making a checkpoint of {preset}")
    _run(tell, scripts / "make_checkpoint.py", preset, str(checkpoint))
    said = _run(tell, scripts / "run.py", "--model", str(model), "--checkpoint", str(checkpoint), *options)
    record: dict[str, Any] = json.loads(said.splitlines()[-1])
    return record


def _run(tell: Tell, script: Path, *arguments: str) -> str:
    """What a script prints; what it says on the way is passed on."""
    command = [sys.executable, str(script), *arguments]
    said = [""]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)  # noqa: S603  (our own)
        with process:
            assert process.stderr is not None
            for line in map(str.strip, process.stderr):
                said.append(line)
                tell(line)
        if process.returncode != 0:
            last = said[-1] or f"{script.name} ended with status {process.returncode}"
            raise BackendUnavailable(last.removeprefix("error: "))
        output.seek(0)
        return output.read()
