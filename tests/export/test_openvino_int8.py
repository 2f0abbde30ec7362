"""OpenVINO's int8 backbones: calibrated on images and texts, added to a bundle, run, and close to float32."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_export.add_openvino_int8 import add_openvino_int8, openvino_int8_files, run
from lexlip_infer import LexLIPEncoder
from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import InputError, MissingExtra

needs_nncf = pytest.mark.skipif(
    not all(importlib.util.find_spec(module) for module in ("openvino", "nncf")),
    reason="openvino and nncf are not installed (extra 'openvino-export')",
)


@pytest.fixture
def bundle(bundle_folder: Path, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Any:
    monkeypatch.setattr(sys, "argv", ["add_openvino_int8", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    return ended.value.code


@needs_nncf
def test_added_and_run(
    bundle: Bundle,
    photographs: Path,
    captions: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(captions))
    assert command(monkeypatch, bundle.folder, "--images", photographs, "--texts", texts, "--bf16") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith(f"{bundle.folder}: added openvino/image_backbone_int8.bin, openvino/image_")
    assert len(captured.out.splitlines()) == 1
    graph = (bundle.folder / "openvino" / "image_backbone_int8.xml").read_text()
    assert str(tmp_path) not in graph
    assert '<unquantised_precision value="bf16" />' in graph
    assert not list(bundle.folder.rglob("*.partial"))

    f32, int8 = (
        LexLIPEncoder.from_pretrained(bundle.folder, "cpu", precision, 1, backend="openvino")
        for precision in ("f32", "int8")
    )
    images = sorted(path for path in photographs.rglob("*") if path.is_file())
    for expected, found in (
        (f32.encode_images(images, top_k=150), int8.encode_images(images, top_k=150)),
        (f32.encode_texts(captions, top_k=150), int8.encode_texts(captions, top_k=150)),
    ):
        assert not np.array_equal(found.to_dense(), expected.to_dense()), "the quantised graph is the one that ran"
        scores = f32.similarity(found, expected).diagonal()
        assert scores.min() > 0.95


@needs_nncf
def test_no_samples() -> None:
    with pytest.raises(InputError, match="no calibration inputs; expected at least one"):
        openvino_int8_files(b"", "image", [])


def test_nothing_to_calibrate_on(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, bundle.folder) == 2
    assert capsys.readouterr().err.endswith("nothing to calibrate on; give --images DIR, --texts FILE or both\n")


def test_without_nncf_nothing_is_written(bundle: Bundle, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed (extra 'openvino')")
    monkeypatch.setitem(sys.modules, "nncf", None)
    before = (bundle.folder / "lexlip.json").read_bytes()
    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[openvino-export\]'"):
        add_openvino_int8(bundle, {"image": [{"pixel_values": np.zeros((1, 3, 64, 64), np.float32)}]})
    assert (bundle.folder / "lexlip.json").read_bytes() == before
    assert not (bundle.folder / "openvino").exists()
