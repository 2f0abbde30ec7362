"""The public doors: what they show is what they say, and opening them is cheap."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "triton", "onnx", "transformers", "timm", "pyserini", "faiss", "ray", "numba")


@pytest.mark.parametrize("package", ["lexlip_infer", "lexlip_kernels", "lexlip_training", "lexlip_export"])
def test_all_is_sorted_complete_and_real(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = module.nonsense


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    import lexlip_infer

    assert dir(lexlip_infer) == lexlip_infer.__all__


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running some code."""
    code += "\nimport json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import lexlip_infer",
        "from lexlip_infer import LexLIPEncoder, SparseBatch, Bundle",
        "import lexlip_kernels",
        "import lexlip_infer.impacts",
    ],
)
def test_imports_are_light(code: str) -> None:
    assert not loaded_after(code) & set(HEAVY)


def test_a_search_loads_what_it_needs(bundle_folder: Path, tmp_path: Path) -> None:
    """Words against an index: no numba for one query, no Pillow for a text, no engine but its own."""
    from lexlip_infer.search.exact.building import IndexWriter

    code = f"""
import sys
sys.argv = ["lexlip", "search", {str(tmp_path / "idx")!r}, "a dog"]
from lexlip_infer.cli.main import run
try:
    run()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    import numpy as np

    from lexlip_infer import Bundle
    from lexlip_infer.collection.manifest import EncodedWith
    from lexlip_kernels import ImpactMatrix

    bundle = Bundle.open(bundle_folder)
    encoded_with = EncodedWith(
        model=str(bundle_folder),
        model_name=bundle.manifest.name,
        model_fingerprint=bundle.fingerprint,
        scale=100,
        cap=255,
        normalise=True,
    )
    terms = bundle.vocabulary().terms
    everything = np.arange(len(terms), dtype=np.int32)
    matrix = ImpactMatrix(np.array([0, len(terms)]), everything, np.ones(len(terms), np.int32), len(terms))
    with IndexWriter(tmp_path / "idx", len(terms), terms, encoded_with) as writer:
        writer.add(["all.jpg"], matrix)
        writer.commit()
    assert not loaded_after(code) & {*HEAVY, "scipy", "PIL", "rich", "huggingface_hub"}


def test_a_word_list_needs_no_model(bundle_folder: Path) -> None:
    code = f"from lexlip_infer import Bundle; assert len(Bundle.open({str(bundle_folder)!r}).vocabulary())"
    assert not loaded_after(code) & {*HEAVY, "onnxruntime"}


@pytest.mark.parametrize("command", ["encode", "main"])
def test_help_is_light(command: str) -> None:
    code = f"""
import sys
sys.argv = ["x", "--help"]
from lexlip_infer.cli.{command} import app
try:
    app()
except SystemExit as stop:
    assert stop.code == 0
"""
    assert not loaded_after(code) & {*HEAVY, "numpy", "onnxruntime", "tokenizers", "pydantic"}


@pytest.mark.parametrize("command", ["lexlip", "lexlip-encode", "lexlip-bench", "lexlip-train", "lexlip-export"])
def test_console_scripts_answer(command: str) -> None:
    from importlib.metadata import entry_points

    (entry,) = [point for point in entry_points(group="console_scripts") if point.name == command]
    assert callable(entry.load())


def test_encoding_phones_nobody(bundle_folder: Path, tmp_path: Path) -> None:
    """ONNX Runtime would otherwise keep a device id and a queue of usage events below the user's home."""
    code = "import sys, lexlip_infer as l; l.LexLIPEncoder.from_pretrained(sys.argv[1]).encode_texts(['a dog'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code, str(bundle_folder)], check=True, env=environment)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in str(path)]


def test_a_missing_extra_names_its_pip_command() -> None:
    code = """
import sys
sys.modules["torch"] = None  # what an import of a missing module looks like
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "torch" else found(name, *a)
import lexlip_training, lexlip_export
from lexlip_infer import MissingExtra
for package, name, extra in ((lexlip_training, "LexLIP", "train"), (lexlip_export, "export_bundle", "export")):
    try:
        getattr(package, name)
    except MissingExtra as error:
        assert f"pip install 'lexlip-infer[{extra}]'" in str(error), error
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
