"""Format 5 of the manifest: other heads, and terms that are some of the tokens; all older manifests as they were."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexlip_infer.bundle import MANIFEST, Bundle
from lexlip_infer.errors import BundleError
from lexlip_infer.manifest import Manifest, format_of

NEW = {"saturation": "elu1p", "normalise": "full_vocabulary"}


def changed(folder: Path, copy: Path, change: Callable[[dict[str, Any]], object], tokens: Any = None) -> Path:
    """A copy of a bundle with another manifest, and perhaps a list of the tokens of its terms."""
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / MANIFEST).read_text())
    if tokens is not None:
        data = json.dumps(tokens).encode()
        (copy / "term_tokens.json").write_bytes(data)
        manifest["files"]["term_tokens.json"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        manifest["tokens"] = {"count": manifest["vocab_size"]}
        manifest["vocab_size"] = len(tokens) if isinstance(tokens, list) else 3
        manifest |= {"suppressed_ids": [0], "placeholder_id": 0}
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


def test_what_is_not_used_is_not_written(bundle_folder: Path) -> None:
    text = (bundle_folder / MANIFEST).read_text()
    assert Manifest.model_validate_json(text).model_dump_json(indent=2) + "\n" == text
    assert not {"saturation", "admit_padding", "tokens"} & set(text.split('"'))


def test_what_is_used_is_written(bundle_folder: Path, tmp_path: Path) -> None:
    own = {"admit_padding": True, "keep_own_tokens": True}
    change = lambda m: (m.update(similarity="dot"), m["image"].update(NEW), m["text"].update(NEW | own))  # noqa: E731
    manifest = Bundle.open(changed(bundle_folder, tmp_path / "b", change, [1, 5, 7, 9])).manifest
    again = json.loads(manifest.model_dump_json())
    assert again["image"].items() >= NEW.items()
    assert again["text"].items() >= (NEW | own).items()
    assert again["tokens"] == {"count": manifest.token_count, "of_terms": "term_tokens.json"}
    assert [format_of(side) for side in (set(), {"prompts"}, {"static"}, manifest.image.needed)] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["image"].update(saturation="tanh"), "saturation"),
        (lambda m: m["image"].update(cpu_precision="int8"), "image_backbone_int8.onnx is none of the files"),
        (lambda m: m["text"].update(normalise="kept_terms"), "normalise"),
        (lambda m: m["text"].update(normalise="full_vocabulary"), 'similarity "cosine"; expected "dot"'),
        (lambda m: m.update(tokens={"count": 5}), "5 tokens; expected at most as many"),
        (lambda m: m.update(tokens={"count": 5000}), "term_tokens.json.*none of the files"),
    ],
    ids=["saturation", "no int8", "normalise", "twice", "fewer tokens", "no file"],
)
def test_refused(bundle_folder: Path, tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Bundle.open(changed(bundle_folder, tmp_path / "b", change))


def test_terms_are_some_of_the_tokens(bundle_folder: Path, tmp_path: Path) -> None:
    all_terms = Bundle.open(bundle_folder).vocabulary().terms
    bundle = Bundle.open(changed(bundle_folder, tmp_path / "b", lambda _: None, [4, 6, 7, 30]))
    vocabulary = bundle.vocabulary()
    assert vocabulary.terms == tuple(all_terms[i] for i in (4, 6, 7, 30))
    assert vocabulary.ids[all_terms[30]] == 3
    terms = bundle.token_terms()
    assert len(terms) == len(all_terms)
    assert np.flatnonzero(terms >= 0).tolist() == [4, 6, 7, 30]
    assert terms[[4, 6, 7, 30]].tolist() == [0, 1, 2, 3]
    assert Bundle.open(bundle_folder).term_tokens() is None
    assert Bundle.open(bundle_folder).token_terms().tolist() == list(range(len(all_terms)))


@pytest.mark.parametrize(
    "tokens", [[3, 2, 4], [1, 1, 2], [-1, 2, 3], [0, 1, 10**6], [0.5, 1, 2], {"0": 1}, [[0], 1, 2]]
)
def test_tokens_that_are_none(bundle_folder: Path, tmp_path: Path, tokens: Any) -> None:
    bundle = Bundle.open(changed(bundle_folder, tmp_path / "b", lambda _: None, tokens))
    with pytest.raises(BundleError, match=r"term_tokens\.json: "):
        bundle.term_tokens()
