"""Bundle: a folder from strangers; whatever is wrong with it is one BundleError that names the place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lexlip_infer.bundle import FORMAT_VERSION, MANIFEST, Bundle, KeptTerms, shipped_bundle
from lexlip_infer.errors import BundleError
from lexlip_infer.files import MOST_JSON
from lexlip_infer.vocabulary import Vocabulary, read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lexlip_infer.bundle import Modality

    Change = Callable[[dict[str, Any]], object]

CONTENTS = {"tokenizer.json": b"{}", "onnx/image_head.onnx": b"\x08\x0a" * 50, "README.md": b""}


def manifest() -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "name": "test",
        "vocab_size": 200,
        "hidden_size": 8,
        "image": {"size": 16, "resize": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "text": {"max_length": 12},
        "similarity": "cosine",
        "suppressed_ids": [0, 1],
        "placeholder_id": 2,
        "top_k": {"image": 8, "text": 4},
        "quantisation": {"scale": 100.0, "cap": 255},
        "provenance": {"data": "none"},
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in CONTENTS.items()
        },
    }


def rewrite(folder: Path, change: Change) -> None:
    fields = manifest()
    change(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, data in CONTENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    rewrite(folder, lambda _: None)
    return folder


def test_opens_and_reads(folder: Path) -> None:
    bundle = Bundle.open(str(folder))
    assert bundle.manifest.image.std == (0.5, 0.5, 0.5)
    assert {name: bundle.read(name) for name in bundle.manifest.files} == CONTENTS
    assert bundle.fingerprint == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def test_short_representations(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert repr(bundle) == f"Bundle(test in {folder}, fingerprint {bundle.fingerprint[:12]})"
    for text in (repr(bundle.manifest), str(bundle.manifest)):
        assert text == "Manifest(test: image and text, 200 terms, cosine)"


def test_vocabulary(bundle_folder: Path) -> None:
    bundle = Bundle.open(bundle_folder)
    assert bundle.vocabulary() == Vocabulary.from_tokenizer(read_tokenizer(bundle.read("tokenizer.json")))
    other = Bundle(bundle.folder, bundle.manifest.model_copy(update={"vocab_size": 7}), "")
    with pytest.raises(BundleError, match="the manifest says 7; export the bundle again"):
        other.vocabulary()
    wordless = Bundle(bundle.folder, bundle.manifest.model_copy(update={"tokenizer": None}), "")
    with pytest.raises(BundleError, match="has no tokenizer, so it knows no words"):
        wordless.vocabulary()


def test_words_and_settings_take_no_runtime() -> None:
    code = "import sys, lexlip_infer; lexlip_infer.Bundle.open().vocabulary(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"onnxruntime", "scipy", "numba", "PIL", "huggingface_hub"} & set(loaded)


def test_fingerprint_follows_the_contents(folder: Path) -> None:
    before = Bundle.open(folder).fingerprint
    rewrite(folder, lambda fields: fields["files"]["tokenizer.json"].update(sha256="0" * 64))
    assert Bundle.open(folder).fingerprint != before


def test_shipped_bundle_lies_in_the_package() -> None:
    assert shipped_bundle().parts[-3:] == ("lexlip_infer", "models", "lexlip-tiny")


@pytest.mark.parametrize("place", ["absent", "model/onnx", "model/README.md"])
def test_not_a_bundle(folder: Path, place: str) -> None:
    with pytest.raises(BundleError, match=r"not a model bundle, lexlip\.json cannot be read \("):
        Bundle.open(folder.parent / place)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b'"lexlip"',
        b"null",
        b"{}",
        b'{"format_version": "two"}',
        b'{"format_version": 0}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100000,
        b'{"format_version": 1',
    ],
    ids=range(11),
)
def test_not_a_manifest(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(BundleError, match=r"lexlip\.json: not a bundle manifest"):
        Bundle.open(folder)


def test_newer_format_says_upgrade_whatever_its_fields(folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps({"format_version": FORMAT_VERSION + 1, "new_field": 1}))
    with pytest.raises(BundleError, match="pip install --upgrade lexlip-infer"):
        Bundle.open(folder)


@pytest.mark.parametrize("field", sorted(manifest().keys() - {"format_version"}))
def test_missing_field_is_named(folder: Path, field: str) -> None:
    rewrite(folder, lambda fields: fields.pop(field))
    with pytest.raises(BundleError, match=rf"lexlip\.json: {field}: Field required"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["image"].update(surprise=1), r"image\.surprise"),
        (lambda m: m["image"].update(size=0), r"image\.size"),
        (lambda m: m["image"].update(resize="stretch"), r"image\.resize"),
        (lambda m: m["image"].update(mean=[0.5, 0.5]), r"image\.mean\.2"),
        (lambda m: m["image"].update(mean=[0.5, 0.5, float("nan")]), r"image\.mean\.2"),
        (lambda m: m["image"].update(std=[0.5, 0, 0.5]), r"image\.std\.1"),
        (lambda m: m["text"].update(max_length=2), r"text\.max_length"),
        (lambda m: m.update(similarity="l2"), "similarity"),
        (lambda m: m.update(vocab_size=-1), "vocab_size"),
        (lambda m: m.update(suppressed_ids=[0, 200]), "suppressed_ids"),
        (lambda m: m.update(suppressed_ids=[-1]), "suppressed_ids"),
        (lambda m: m.update(placeholder_id=200), "placeholder_id"),
        (lambda m: m["quantisation"].update(cap=65536), r"quantisation\.cap"),
        (lambda m: m["quantisation"].update(scale=float("inf")), r"quantisation\.scale"),
        (lambda m: m["files"]["README.md"].update(sha256="ABC"), r"files\.README\.md\.sha256"),
        (lambda m: m["files"]["README.md"].update(size=-1), r"files\.README\.md\.size"),
    ],
)
def test_wrong_field_is_named(folder: Path, change: Change, place: str) -> None:
    rewrite(folder, change)
    with pytest.raises(BundleError, match=rf"lexlip\.json: {place}: "):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "onnx/../../secret",
        "/etc/passwd",
        "//etc/passwd",
        "..",
        ".",
        "",
        "onnx/..",
        "..\\secret",
        "a\0b",
    ],
)
def test_a_name_outside_the_folder_is_refused_at_open(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"key")
    record = {"sha256": hashlib.sha256(b"key").hexdigest(), "size": 3}
    rewrite(folder, lambda fields: fields["files"].update({name: record}))
    with pytest.raises(BundleError, match="not a path inside the bundle"):
        Bundle.open(folder)


def test_dots_inside_a_name_are_fine(folder: Path) -> None:
    record = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    (folder / "a..b").write_bytes(b"x")
    rewrite(folder, lambda fields: fields["files"].update({"a..b": record}))
    assert Bundle.open(folder).read("a..b") == b"x"


@pytest.mark.parametrize("name", ["absent.onnx", MANIFEST, "../model/README.md", "onnx"])
def test_reads_only_what_the_manifest_lists(folder: Path, name: str) -> None:
    (folder / "absent.onnx").write_bytes(b"there, but not listed")
    with pytest.raises(BundleError, match=r"the bundle has no .*; it holds tokenizer\.json, "):
        Bundle.open(folder).read(name)


@pytest.mark.parametrize("data", [b"", b"{ }", b"{}\n", b"{]"])
def test_changed_file(folder: Path, data: bytes) -> None:
    bundle = Bundle.open(folder)
    (folder / "tokenizer.json").write_bytes(data)
    with pytest.raises(BundleError, match=rf"tokenizer\.json: damaged or changed: .*{len(data)} bytes.*2 bytes"):
        bundle.read("tokenizer.json")


def test_right_hash_but_wrong_size_in_the_manifest(folder: Path) -> None:
    rewrite(folder, lambda fields: fields["files"]["tokenizer.json"].update(size=3))
    with pytest.raises(BundleError, match="damaged or changed"):
        Bundle.open(folder).read("tokenizer.json")


def test_missing_file(folder: Path) -> None:
    bundle = Bundle.open(folder)
    (folder / "README.md").unlink()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").mkdir()
    for name in ("README.md", "tokenizer.json"):
        with pytest.raises(BundleError, match=rf"{name}: cannot be read .*copy the bundle again"):
            bundle.read(name)


@pytest.mark.parametrize(("present", "absent"), [("image", "text"), ("text", "image")])
def test_one_tower_is_enough(folder: Path, present: Modality, absent: Modality) -> None:
    rewrite(folder, lambda m: m.update({absent: None}))
    bundle = Bundle.open(folder)
    assert (bundle.has_tower(present), bundle.has_tower(absent)) == (True, False)


def test_no_tower_is_refused(folder: Path) -> None:
    rewrite(folder, lambda m: m.update(image=None, text=None))
    with pytest.raises(BundleError, match="neither an image nor a text tower"):
        Bundle.open(folder)


def test_precisions_are_those_whose_files_are_there(folder: Path) -> None:
    record = {"sha256": "0" * 64, "size": 1}
    names = ["onnx/image_backbone_int8.onnx", "onnx/image_backbone.onnx", "onnx/text_backbone_fp16.onnx"]
    rewrite(folder, lambda m: m["files"].update(dict.fromkeys(names, record)))
    bundle = Bundle.open(folder)
    assert (bundle.precisions("image"), bundle.precisions("text")) == (("f32", "int8"), ("fp16",))


def test_a_tokenizer_needs_a_placeholder(folder: Path) -> None:
    rewrite(folder, lambda m: m.update(tokenizer=None, placeholder_id=None))
    assert Bundle.open(folder).manifest.tokenizer is None
    rewrite(folder, lambda m: m.update(placeholder_id=None))
    with pytest.raises(BundleError, match="a tokenizer but no placeholder_id"):
        Bundle.open(folder)


class TestStrangers:
    """Bundles from other people: what is read, and through what."""

    @pytest.mark.parametrize("name", [MANIFEST, "tokenizer.json"])
    def test_special_files_are_not_waited_for(self, name: str, folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(BundleError, match=rf"{name}: .*is a FIFO; expected a regular file"):
            Bundle.open(folder).read("tokenizer.json")

    def test_a_manifest_of_too_many_bytes_is_not_read(self, folder: Path) -> None:
        os.truncate(folder / MANIFEST, MOST_JSON + 1)
        with pytest.raises(BundleError, match=r"lexlip\.json: holds 16 MB; at most 16 MB are read"):
            Bundle.open(folder)

    def test_a_file_of_another_size_is_not_read(self, folder: Path) -> None:
        os.truncate(folder / "tokenizer.json", 10**12)
        with pytest.raises(
            BundleError, match=r"tokenizer\.json: damaged or changed: 1000000000000 bytes, the manifest"
        ):
            Bundle.open(folder).read("tokenizer.json")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda m: m.update(vocab_size=1e30), "vocab_size: "),
            (lambda m: m.update(vocab_size=10**30), "vocab_size: "),
            (lambda m: m.update(hidden_size=2**31), "hidden_size: Input should be less than or equal to 2147483647"),
            (
                lambda m: m["files"]["tokenizer.json"].update(size=2**40),
                "files.tokenizer.json.size: Input should be less than or equal to 4294967296",
            ),
            (lambda m: m["image"].update(size=10**6), "image.size: Input should be less than or equal to 4096"),
            (
                lambda m: m["text"].update(max_length=10**6),
                "text.max_length: Input should be less than or equal to 655",
            ),
            (lambda m: m["top_k"].update(text=10**12), "top_k.text: Input should be less than or equal to 2147483647"),
            (lambda m: m["quantisation"].update(cap=1e30), "quantisation.cap: "),
            (lambda m: m["files"]["tokenizer.json"].update(size=-1), "files.tokenizer.json.size: "),
        ],
    )
    def test_sizes_beyond_measure(self, change: Callable[[Any], None], said: str, folder: Path) -> None:
        rewrite(folder, change)
        with pytest.raises(BundleError, match=rf"lexlip\.json: {said}") as raised:
            Bundle.open(folder)
        assert "\n" not in str(raised.value)

    def test_read_through_links_but_not_written(self, folder: Path, tmp_path: Path) -> None:
        """As the hub's cache has them."""
        shutil.copytree(folder, tmp_path / "blobs")
        for name in (MANIFEST, "tokenizer.json"):
            (folder / name).unlink()
            (folder / name).symlink_to(tmp_path / "blobs" / name)
        bundle = Bundle.open(folder)
        assert bundle.read("tokenizer.json") == CONTENTS["tokenizer.json"]
        before = (tmp_path / "blobs" / MANIFEST).read_bytes()
        bundle.set_defaults(KeptTerms(image=1, text=1), bundle.manifest.quantisation)
        assert (tmp_path / "blobs" / MANIFEST).read_bytes() == before
        assert not (folder / MANIFEST).is_symlink()
        assert Bundle.open(folder).manifest.top_k == KeptTerms(image=1, text=1)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_what_cannot_be_a_path_is_no_bundle(name: str) -> None:
    with pytest.raises(BundleError, match=r"not a model bundle|no path"):
        Bundle.open(name)
