"""Inputs of both towers, and a folder of the bundle that a test may add to."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lexlip_infer import LexLIPEncoder
from lexlip_infer.bundle import Bundle, FileRecord

Inputs = dict[str, npt.NDArray[Any]]

TEXTS = ["a dog", "two children play football on a sunny beach near the water", "", "a small white cat sleeps"]


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.open(bundle_folder)


@pytest.fixture(scope="session")
def inputs(bundle_folder: Path) -> dict[str, Inputs]:
    """By modality; texts of several lengths, so that there is padding."""
    encoder = LexLIPEncoder.from_pretrained(bundle_folder, threads=1)
    size = encoder.preprocess.size
    pixels = np.random.default_rng(0).standard_normal((5, 3, size, size), dtype=np.float32)
    ids, mask = encoder.tokenize(TEXTS)
    return {"image": {"pixel_values": pixels}, "text": {"input_ids": ids, "attention_mask": mask}}


@pytest.fixture
def with_files(bundle: Bundle, tmp_path: Path) -> Callable[[dict[str, bytes]], Bundle]:
    """A copy of the bundle that holds further files, by path, or others in their place."""

    def copy(files: dict[str, bytes]) -> Bundle:
        folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
        records = dict(bundle.manifest.files)
        for name, data in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
            records[name] = FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        return Bundle(folder, bundle.manifest.model_copy(update={"files": records}), bundle.fingerprint)

    return copy
