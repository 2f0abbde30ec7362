"""`lexlip doctor --model`: a bundle in plain words, each of which is the manifest's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lexlip_infer.bundle import Bundle
from lexlip_infer.cli.doctor_model import explained

Lexlip = Callable[..., Any]


def section(lexlip: Lexlip, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Lines below the heading, whole and by what they are about."""
    outcome = lexlip("doctor", "--model", folder)
    assert outcome.status == 0, outcome.stdout
    lines = outcome.stdout.splitlines()
    name = Bundle.open(folder).manifest.name
    found = lines[lines.index(f"what {name} is") + 1 : lines.index("model")]
    return found, {line[2:18].strip(): line[18:].strip() for line in found}


def changed(folder: Path, copy: Path, **fields: Any) -> Path:
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "lexlip.json").read_text())
    for name, value in fields.items():
        manifest[name] = manifest[name] | value if isinstance(value, dict) else value
    (copy / "lexlip.json").write_text(json.dumps(manifest))
    return copy


def test_both_towers(lexlip: Lexlip, bundle_folder: Path) -> None:
    lines, said = section(lexlip, bundle_folder)
    manifest = Bundle.open(bundle_folder).manifest
    assert manifest.image is not None
    assert manifest.text is not None
    assert said["does"] == f"gives images and texts weights over {manifest.vocab_size:,} terms"
    assert said["images"].startswith(f"{manifest.image.size} x {manifest.image.size} pixels")
    assert f"{manifest.top_k.image} heaviest terms" in said["images"]
    assert said["texts"].startswith(f"at most {manifest.text.max_length} tokens")
    assert f"weight x {manifest.quantisation.scale:g}" in said["impacts"]
    assert "image tower in f32; text tower in f32" in said["size"]
    assert said["score"].startswith("cosine")
    assert sum("log(1 + x)" in line for line in lines) == 2
    assert manifest.provenance["training"]["notice"].split()[0] in said["notice"]
    assert "queries" not in said


def test_another_head(bundle_folder: Path, tmp_path: Path) -> None:
    head = {"saturation": "elu1p", "normalise": "full_vocabulary"}
    text = head | {"admit_padding": True, "keep_own_tokens": True}
    copy = changed(bundle_folder, tmp_path / "b", image=head, text=text, similarity="dot", format_version=5)
    lines = [sentence for _, sentence in explained(Bundle.open(copy))]  # the graphs of this bundle compute otherwise
    assert (
        sum("exp(x) of the rest, so that every term has a weight; weights are divided" in line for line in lines) == 2
    )
    assert sum("the filling takes part" in line or "own terms are kept" in line for line in lines) == 2


def test_every_way_of_queries(lexlip: Lexlip, lookup_folder: Path, tmp_path: Path) -> None:
    _, said = section(lexlip, lookup_folder)
    assert said["queries"].startswith("go through the tower; with --query-mode lookup")
    copy = changed(
        lookup_folder,
        tmp_path / "b",
        text={"static": "sum", "query_mode": "lookup"},
        similarity="dot",
        format_version=5,
    )
    _, said = section(lexlip, copy)
    assert said["queries"].startswith("looked up in a table, no model runs: each term counts as often as it stands")
    assert said["score"].startswith("dot product")


def test_a_table_alone(lexlip: Lexlip, lookup_folder: Path, tmp_path: Path) -> None:
    files = json.loads((lookup_folder / "lexlip.json").read_text())["files"]
    copy = changed(lookup_folder, tmp_path / "b", image=None, format_version=5)
    manifest = json.loads((copy / "lexlip.json").read_text())
    manifest["files"] = {name: record for name, record in files.items() if not name.startswith("onnx/")}
    manifest["provenance"] = {}
    (copy / "lexlip.json").write_text(json.dumps(manifest))
    lines, said = section(lexlip, copy)
    assert said["does"].startswith("looks up texts in a table")
    assert any("looked up, no model runs: each term counts once" in line for line in lines)
    assert not any("log(1 + x)" in line for line in lines)
    assert said["notice"] == "nothing is recorded of the terms on which it may be used"
    assert "no tower" in said["size"]


def test_nothing_is_explained_unasked(lexlip: Lexlip) -> None:
    assert "what lexlip-tiny is" not in lexlip("doctor").stdout
