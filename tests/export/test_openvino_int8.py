"""OpenVINO's int8 backbone: calibrated, carried in a bundle, run, and close to float32."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from lexlip_export.openvino_int8 import openvino_int8_files, synthetic_samples
from lexlip_infer.bundle import Bundle, FileRecord, Modality
from lexlip_infer.errors import InputError
from lexlip_infer.runtime.options import RuntimeOptions
from lexlip_infer.runtime.tower import open_tower

if not all(importlib.util.find_spec(module) for module in ("openvino", "nncf")):
    pytest.skip("openvino and nncf are not installed (extra 'openvino')", allow_module_level=True)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_quantised_and_run(modality: Modality, bundle_folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    samples = synthetic_samples(modality, 64 if modality == "image" else 16, 150, count=8)
    files = openvino_int8_files(bundle.read(f"onnx/{modality}_backbone.onnx"), modality, samples)
    assert sorted(files) == [f"openvino/{modality}_backbone_int8.{suffix}" for suffix in ("bin", "xml")]
    assert b"/tmp" not in files[f"openvino/{modality}_backbone_int8.xml"], "no path of this machine"
    (bundle.folder / "openvino").mkdir()
    records = dict(bundle.manifest.files)
    for name, data in files.items():
        (bundle.folder / name).write_bytes(data)
        records[name] = FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    bundle = Bundle(bundle.folder, bundle.manifest.model_copy(update={"files": records}), "")

    int8 = open_tower(bundle, modality, RuntimeOptions("cpu", "int8", "openvino", threads=1))
    f32 = open_tower(bundle, modality, RuntimeOptions("cpu", threads=1))
    width = 64 if modality == "image" else 2
    row = {name: np.concatenate([sample[name][:, :width] for sample in samples]) for name in samples[0]}
    found, expected = int8(row, 150).to_dense(), f32(row, 150).to_dense()
    assert not np.array_equal(found, expected)
    cosine = (found * expected).sum() / (np.linalg.norm(found) * np.linalg.norm(expected))
    assert cosine > 0.97


def test_no_samples() -> None:
    with pytest.raises(InputError, match="no calibration inputs; expected at least one"):
        openvino_int8_files(b"", "image", [])


def test_samples_are_of_the_sizes_asked_for() -> None:
    texts = synthetic_samples("text", 9, 30, count=50)
    lengths = {sample["input_ids"].shape[1] for sample in texts}
    assert (min(lengths), max(lengths)) == (2, 9)
    assert max(sample["input_ids"].max() for sample in texts) < 30
