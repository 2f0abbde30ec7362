"""A model of a preset's shapes with random weights, for benchmarks where no trained one is at hand.

Made by the export package in a process of its own: this package never imports torch for it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lexlip_infer.errors import InputError, MissingExtra

__all__ = ["add_openvino_int8", "make_random_bundle"]

_NEEDED = {"torch": "export", "timm": "export", "transformers": "export", "onnx": "export"}
_FOR_OPENVINO = {"openvino": "openvino-export", "nncf": "openvino-export"}


def make_random_bundle(preset: str, folder: Path, precisions: Sequence[str]) -> None:
    """Export a bundle with random weights.

    Args:
        preset: "lexlip-base" or "lexlip-tiny".
        folder: where it is written.
        precisions: to store beside float32, of "fp16" and "int8".

    Raises:
        MissingExtra: the export needs packages that are not installed.
        InputError: there is no such preset, or the export fails.
    """
    _check_installed(_NEEDED)
    stored = [word for name in precisions for word in ("--precision", name)]
    _run("lexlip_export.random_bundle", preset, str(folder), *stored)


def add_openvino_int8(folder: Path, images: Path, texts: Path) -> None:
    """Calibrate int8 models for OpenVINO on a folder of images and a file of texts, and add them to a bundle.

    Raises:
        MissingExtra, InputError: as above.
    """
    _check_installed(_FOR_OPENVINO)
    _run("lexlip_export.add_openvino_int8", str(folder), "--images", str(images), "--texts", str(texts), "--bf16")


def _check_installed(packages: dict[str, str]) -> None:
    """Without importing them: torch takes seconds."""
    for package, extra in packages.items():
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(
                f"{package} is not installed; a bundle of random weights is made by the extra {extra!r}: "
                f"pip install 'lexlip-infer[{extra}]', or give a bundle with --model"
            )


def _run(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own modules)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise InputError(f"no bundle of random weights could be made: {lines[-1]}")
