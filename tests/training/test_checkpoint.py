"""Checkpoint folders: what is damaged or missing is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lexlip_kernels.errors import BundleError, OutputError
from lexlip_training import checkpoint, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training import LexLIP


def test_damaged_checkpoints_are_refused(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, random_model, tokenizer, {})
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BundleError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "x"}')
    with pytest.raises(BundleError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)


@pytest.fixture
def saved(random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoint", random_model, tokenizer, {})
    return tmp_path / "checkpoint"


def change(folder: Path, tower: str | None = None, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (config if tower is None else config[tower]).update(settings)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("tower", "settings", "said"),
    [
        (None, {"vocab_size": 2**31 - 1, "hidden_size": 1 << 20}, "has the shape"),
        ("text", {"layers": 512}, "lacks the tensor text_tower.bert.encoder.layer"),
        ("text", {"intermediate_size": 1 << 20}, "has the shape"),
        ("text", {"layers": 10**30}, "text.layers: Input should be less than or equal to 512"),
        (
            "text",
            {"layers": 1e30},
            "text.layers: Unable to parse input string as an integer|Input should be a valid integer",
        ),
        ("text", {"dropout": float("nan")}, "text.dropout: Input should be a finite number"),
        (None, {"vocab_size": 10**30}, "vocab_size: Input should be less than or equal to 2147483647"),
        ("image", {"image_size": 10**6}, "image.image_size: Input should be less than or equal to 4096"),
        ("image", {"backbone_options": {"depth": 10**9}}, "depth is 1000000000; expected at most 512"),
        ("image", {"backbone_options": {"checkpoint_path": "/a"}}, "checkpoint_path would load other weights"),
        ("image", {"backbone_options": {"no_such": 1}}, "no model of this configuration can be built"),
        ("image", {"backbone": "resnet50"}, "has the tensor|lacks the tensor"),
    ],
)
def test_a_configuration_is_compared_with_the_file_before_anything_is_built(
    tower: str | None, settings: dict[str, Any], said: str, saved: Path
) -> None:
    """The first would take petabytes."""
    change(saved, tower, **settings)
    with pytest.raises(BundleError, match=f"checkpoint: damaged checkpoint .*({said})") as raised:
        load_checkpoint(saved)
    assert "\n" not in str(raised.value)


def test_what_a_model_computes_for_itself_is_bounded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MOST_COMPUTED", 100)
    with pytest.raises(BundleError, match=r"computes tables of .* for itself; expected at most 100 bytes"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "training.json"])
def test_special_files_are_not_waited_for(name: str, saved: Path) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(BundleError, match=rf"{name}: .*is a FIFO; expected a regular file"):
        load_checkpoint(saved)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 1000, "{", '{"name": "\\ud800"}', "[]", "nonsense"])
def test_what_is_no_object_of_json(text: str, saved: Path) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(BundleError, match=r"config\.json: (is no JSON|holds no JSON object)"):
        load_checkpoint(saved)


def test_types_that_weights_are_not_stored_in(saved: Path, random_model: LexLIP) -> None:
    state = {name: value.clone() for name, value in random_model.state_dict().items()}
    name = next(name for name, value in state.items() if value.is_floating_point())
    for dtype, said in ((torch.float8_e4m3fn, "is of type F8_E4M3"), (torch.int64, "is made of whole numbers")):
        save_file(state | {name: torch.zeros(state[name].shape).to(dtype)}, saved / "model.safetensors")
        with pytest.raises(BundleError, match=said):
            load_checkpoint(saved)


def test_half_precision_is_widened(saved: Path, random_model: LexLIP) -> None:
    halves = {name: value.bfloat16() if value.is_floating_point() else value for name, value in _stored(saved).items()}
    save_file(halves, saved / "model.safetensors")
    model, _, _ = load_checkpoint(saved)
    for name, value in random_model.state_dict().items():
        given = value.bfloat16().float() if value.is_floating_point() else value
        assert torch.equal(model.state_dict()[name], given), name


def _stored(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "training.json"])
def test_nothing_is_written_through_a_link(
    name: str, saved: Path, random_model: LexLIP, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (saved / name).unlink()
    (saved / name).symlink_to(mine)
    with pytest.raises(OutputError, match=rf"{name}: is a symbolic link"):
        save_checkpoint(saved, random_model, tokenizer, {})
    assert mine.read_text() == "mine"
