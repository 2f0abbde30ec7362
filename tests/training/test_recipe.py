"""The recipe of lexlip-tiny, whole and very small: it learns, selects, logs, resumes, and trains every tensor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from lexlip_kernels.errors import InputError
from lexlip_training import LexLIP, ModelConfig, load_checkpoint, save_checkpoint
from lexlip_training.data.batch import PairBatch
from lexlip_training.engine.batches import GroupBatches
from lexlip_training.engine.dry_run import plan
from lexlip_training.engine.monitoring import read_log
from lexlip_training.engine.run import train
from lexlip_training.engine.settings import TrainingConfig, load_config
from lexlip_training.recipe import RecipeSettings, recipe

SETTINGS = RecipeSettings(
    epochs=4, unfreeze_epoch=3, stem_blocks=1, views=2, evaluate_every=2, batch_size=2, learning_rate=3e-3, warmup=0.1
)


@pytest.fixture(scope="module")
def captioned(photographs: Path, captions: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """captions.jsonl of 5 photographs with 2 captions each, for training and development alike."""
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    rows = [
        {"image": str(path), "captions": [caption, caption.upper()], "split": split}
        for split in ("train", "dev")
        for path, caption in zip(paths, captions, strict=False)
    ]
    file = tmp_path_factory.mktemp("captioned") / "captions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def start(model_config: ModelConfig, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("start") / "checkpoint"
    save_checkpoint(folder, LexLIP(model_config), tokenizer, {"notice": "Random.", "log": [{"epoch": 0, "loss": 1.0}]})
    return folder


def configuration(captioned: Path, start: Path, settings: RecipeSettings = SETTINGS) -> TrainingConfig:
    """With a log line a step."""
    config = settings.config(captioned, None, start, 16, "", 1)
    return config.model_copy(update={"run": config.run.model_copy(update={"log_steps": 1})})


def run(captioned: Path, start: Path, output: Path, settings: RecipeSettings = SETTINGS) -> list[dict[str, Any]]:
    """Train to the end, or on; the log without times."""
    train(configuration(captioned, start, settings), output, resume=True)
    return [line | {"seconds": 0} for line in read_log(output / "log.jsonl")]


@pytest.fixture(scope="module")
def finished(captioned: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "recipe"
    run(captioned, start, output)
    return output


def test_log_and_selection(finished: Path) -> None:
    log = read_log(finished / "log.jsonl")
    # Three steps while the stem is frozen, the last of them short; two afterwards.
    assert [line["epoch"] for line in log] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    evaluated = {line["step"]: line for line in log if "dev_sum" in line}
    assert [(step, line["epoch"]) for step, line in evaluated.items()] == [(6, 1), (11, 3)]
    assert fmean(line["words"] for line in log[9:]) < fmean(line["words"] for line in log[:3])
    assert evaluated[11]["text_to_image"].count("/") == 2
    model, _, training = load_checkpoint(finished / "best")
    assert training["selected"]["dev_sum"] == max(line["dev_sum"] for line in evaluated.values())
    assert training["log"] == [line for line in log if line["step"] <= training["selected"]["step"]]
    assert training["settings"]["data"]["views"] == 2
    assert training["notice"] == "Random."
    assert "log" not in training["continued_from"]
    assert not model.training


def test_every_tensor_is_trained(finished: Path, start: Path) -> None:
    state = torch.load(finished / "last" / "state.pt", weights_only=True)["objective"]
    initial = dict(load_checkpoint(start)[0].named_parameters())
    unchanged = [name for name, value in initial.items() if torch.equal(value, state[f"model.{name}"])]
    # Token types: a caption has one segment. Positions: no caption is that long. Both move by weight decay at most.
    assert unchanged == []
    saved = load_checkpoint(finished / "last")[0].state_dict()
    for name, value in saved.items():
        assert torch.equal(value, state[f"average.module.{name}"]), name


def test_stem_is_still_while_frozen(captioned: Path, start: Path, tmp_path: Path) -> None:
    run(captioned, start, tmp_path, SETTINGS.model_copy(update={"epochs": 2, "unfreeze_epoch": 2}))
    state = torch.load(tmp_path / "last" / "state.pt", weights_only=True)["objective"]
    backbone = load_checkpoint(start)[0].image_tower.backbone
    assert torch.equal(state["model.image_tower.backbone.conv_stem.weight"], backbone.conv_stem.weight)
    assert not torch.equal(state["model.image_tower.backbone.conv_head.weight"], backbone.conv_head.weight)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_run_goes_on_exactly(
    captioned: Path, start: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """Killed after one step of an epoch, with some of its crops remembered already."""

    class KilledError(Exception):
        pass

    batches = GroupBatches.epoch

    def dying(self: GroupBatches, number: int, first_step: int) -> Iterator[list[PairBatch]]:
        for count, batch in enumerate(batches(self, number, first_step)):
            if (number, count) == (epoch, 1):
                raise KilledError
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(GroupBatches, "epoch", dying)
        with pytest.raises(KilledError):
            run(captioned, start, tmp_path)
    assert (tmp_path / "stem").exists()
    log = run(captioned, start, tmp_path)
    assert log == [line | {"seconds": 0} for line in read_log(finished / "log.jsonl")]
    assert not (tmp_path / "stem").exists()
    ours, theirs = (torch.load(folder / "last" / "state.pt", weights_only=True) for folder in (tmp_path, finished))
    for name, value in ours["objective"].items():
        assert torch.equal(value, theirs["objective"][name]), name
    with pytest.raises(InputError, match=r"holds a run with optimiser.learning_rate"):
        run(captioned, start, tmp_path, SETTINGS.model_copy(update={"learning_rate": 1.0}))


def test_words_are_left_out_alike_in_a_repeated_run(captioned: Path, start: Path, tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"epochs": 2, "word_dropout": 0.3})
    assert run(captioned, start, tmp_path / "first", short) == run(captioned, start, tmp_path / "second", short)


def test_what_cannot_be_trained_is_refused(captioned: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 training images for batches of 64"):
        run(captioned, start, tmp_path, SETTINGS.model_copy(update={"batch_size": 64}))
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    single = tmp_path / "captions.jsonl"
    rows = [{"image": "red.png", "captions": ["a red square"], "split": split} for split in ("train", "dev")]
    single.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"red\.png: has one caption"):
        run(single, start, tmp_path / "run")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "last.pt").touch()
    with pytest.raises(InputError, match=r"earlier version of the recipe.*--start .*old.best"):
        run(captioned, start, tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["last.pt"]


def test_a_run_is_repeated_by_its_configuration(captioned: Path, start: Path, finished: Path, tmp_path: Path) -> None:
    again = load_config(str(finished / "config.json"))
    assert again == configuration(captioned, start)
    report = plan(again, processes=1, pairs=None)
    assert "both towers, two captions" in report
    with pytest.raises(InputError, match=r"data\.rows"):
        load_config(str(finished / "config.json"), ['data.rows="captions"'])
    with pytest.raises(InputError, match=r"read by objective\.kind 'recipe' alone"):
        load_config(str(finished / "config.json"), ["objective.kind=momentum_contrast"])


@pytest.mark.parametrize("both", [False, True])
def test_one_starting_point(captioned: Path, tmp_path: Path, both: bool) -> None:
    given = tmp_path / "weights" if both else None
    with pytest.raises(InputError, match="give either --backbone"):
        recipe(captioned, tmp_path / "run", backbone=given, start=given, threads=torch.get_num_threads())


@pytest.mark.parametrize("text", ["{", '{"epochs": 0}', '{"epoch": 3}'])
def test_settings_are_checked(captioned: Path, tmp_path: Path, text: str) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(text)
    with pytest.raises(InputError, match=r"settings\.json: not valid recipe settings"):
        recipe(captioned, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()
