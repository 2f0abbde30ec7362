"""Graphs tell what they are without their bundle, and never where they were made."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import pytest

from lexlip_infer import Bundle


@pytest.mark.parametrize("modality", ["image", "text"])
def test_every_graph_carries_the_manifests_fields(graphs_folder: Path, modality: str) -> None:
    manifest = Bundle.open(graphs_folder).manifest
    common = {
        "name": manifest.name,
        "modality": modality,
        "similarity": manifest.similarity,
        "lexlip_version": version("lexlip-infer"),
    }
    numbers: dict[str, Any] = {
        "vocab_size": manifest.vocab_size,
        "hidden_size": manifest.hidden_size,
        "top_k": getattr(manifest.top_k, modality),
        "scale": manifest.quantisation.scale,
        "cap": manifest.quantisation.cap,
    }
    image, text = manifest.image, manifest.text
    assert image is not None
    assert text is not None
    if modality == "image":
        common |= {"resize": image.resize}
        numbers |= {"image_size": image.size, "mean": list(image.mean), "std": list(image.std)}
    else:
        numbers |= {"max_length": text.max_length}
    paths = sorted(graphs_folder.glob(f"onnx/{modality}_*.onnx"))
    assert len(paths) == {"image": 6, "text": 7}[modality]
    for path in paths:
        found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert {key: found.pop(key) for key in common} == common, path
        assert {key: json.loads(value) for key, value in found.items()} == numbers, path


def test_a_session_shows_it(graphs_folder: Path, session: Any) -> None:
    graph = session((graphs_folder / "onnx/text_merged.onnx").read_bytes())
    assert graph.session.get_modelmeta().custom_metadata_map["name"] == "random"


def test_no_graph_tells_where_it_was_made(graphs_folder: Path) -> None:
    for path in graphs_folder.glob("onnx/*"):
        data = path.read_bytes()
        assert b"site-packages" not in data, path
        assert str(Path.home()).encode() + b"/" not in data, path
        assert str(graphs_folder.parent).encode() not in data, path
