"""Folders and hub ids that are no bundle: one right line each on what they are and where to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lexlip_infer import BundleError
from lexlip_infer import bundle as bundles
from lexlip_infer.bundle import Bundle

EXPECTED = "a lexicon model is expected, which gives weights of words; docs/models.md says which there are to download"


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as raised:
        Bundle.open(folder)
    message = str(raised.value)
    assert message.startswith(f"{folder}: not a model bundle, ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "clip"}, f"a dense CLIP model: one vector without words for each image; {EXPECTED}"),
        ({"model_type": "siglip", "architectures": ["SiglipModel"]}, "a dense SigLIP model"),
        ({"model_type": "blip"}, "a dense BLIP model, or the towers under a D2S head"),
        ({"model_type": "vit"}, f"a model of transformers of type 'vit'; {EXPECTED}"),
        ({"model_type": "d2s"}, "a D2S head without its towers: lexlip-export FOLDER OUT --dense BLIP_FOLDER makes"),
        (
            {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
            "a masked language model of type 'bert': lexlip-",
        ),
        (
            {"vocab_size": 9, "image": None, "text": {}},
            "a checkpoint, not exported yet: lexlip-export FOLDER OUT makes",
        ),
        ({"encoder_p": {}, "encoder_q": {}}, "a VDR model, not exported yet: lexlip-export FOLDER OUT makes"),
        ({}, "lexlip.json cannot be read (No such file or directory)"),
        ([], "lexlip.json cannot be read (No such file or directory)"),
        ({"model_type": 3}, "lexlip.json cannot be read (No such file or directory)"),
    ],
)
def test_a_folder_of_transformers(config: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert said.replace("FOLDER OUT", f"{tmp_path} OUT") in refusal(tmp_path)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["x.Transformer", "x.Pooling"], f"a dense model of sentence-transformers; {EXPECTED}"),
        (["x.MLMTransformer", "x.SpladePooling"], "a sparse encoder of sentence-transformers: lexlip-export"),
        (["x.Router"], "a sparse encoder of sentence-transformers: lexlip-export"),
    ],
)
def test_a_folder_of_sentence_transformers(kinds: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"type": kind, "path": ""} for kind in kinds]))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert said in refusal(tmp_path)


def test_a_folder_of_openclip(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {}}')
    assert "a dense CLIP model of OpenCLIP" in refusal(tmp_path)


def test_files_that_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{" * 100_000)
    (tmp_path / "modules.json").write_text('[{"type": 3}, 4, null]')
    assert "lexlip.json cannot be read" in refusal(tmp_path)


def test_a_model_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def snapshot(name: str, files: Any, *_: object) -> Path:
        asked.extend(files)
        return tmp_path

    monkeypatch.setattr(bundles, "snapshot", snapshot)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(BundleError) as raised:
        Bundle.open("openai/clip-vit-base-patch32")
    assert str(raised.value) == (
        "openai/clip-vit-base-patch32: on the Hugging Face hub, but no LexLIP bundle: a dense CLIP model: one vector "
        f"without words for each image; {EXPECTED}"
    )
    assert not any(name.endswith((".bin", ".safetensors")) for name in asked)


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("openai/clip-vit-base-patch32", True),
        ("google/siglip-base-patch16-224", True),
        ("owner/lexlip-clip", False),
        ("owner/words", False),
    ],
)
def test_a_hub_that_cannot_be_reached(name: str, guess: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, *_: object) -> Path:
        raise BundleError(f"{name}: no such folder, and the hub is away")

    monkeypatch.setattr(bundles, "snapshot", snapshot)
    with pytest.raises(BundleError) as raised:
        Bundle.open(name)
    said = f"; by its name it is a dense model, and {EXPECTED}" if guess else ""
    assert str(raised.value) == f"{name}: no such folder, and the hub is away{said}"
