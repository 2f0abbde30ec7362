"""The recipe of lexlip-tiny, whole and very small: it learns, selects, logs, resumes, and trains every tensor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from PIL import Image
from small_lexicon import seeing_config, seeing_model, small_lexicon
from typer.testing import CliRunner

from lexlip_infer.files import new_folder
from lexlip_kernels.errors import InputError
from lexlip_training import load_checkpoint, preset, save_checkpoint
from lexlip_training.cli import app
from lexlip_training.data import read_pairs
from lexlip_training.data.batch import PairBatch
from lexlip_training.data.caption_groups import CaptionGroups
from lexlip_training.engine.batches import GroupBatches
from lexlip_training.engine.dry_run import plan
from lexlip_training.engine.monitoring import read_log
from lexlip_training.engine.settings import load_config
from lexlip_training.lexicon.word_list import word_tokenizer
from lexlip_training.recipe import SETTINGS, recipe

#: On top of the shipped configuration.
SMALL = [
    *("model.frozen_stages=1", "model.unfreeze_epoch=3", "data.views=2", "data.max_length=16", "data.word_dropout=0"),
    *("optimiser.batch_size=2", "optimiser.learning_rate=3e-3", "schedule.epochs=4", "schedule.warmup=0.1"),
    *("evaluation.every_epochs=2", "run.threads=1", "run.log_steps=1"),
]


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
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and beside it the lexicon that it started from."""
    folder, lexicon = tmp_path_factory.mktemp("start"), small_lexicon()
    with new_folder(folder / "lexicon") as made:
        lexicon.save(made)
    record = {"notice": "Random.", "log": [{"epoch": 0, "loss": 1.0}]}
    save_checkpoint(folder / "checkpoint", seeing_model(lexicon), lexicon.tokenizer, record)
    return folder / "checkpoint"


def run(captioned: Path, start: Path, output: Path, *changes: str) -> list[dict[str, Any]]:
    """Train to the end, or on; the log without times."""
    recipe([captioned], output, start.parent / "lexicon", start=start, set_=[*SMALL, *changes])
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
    assert training["settings"]["data"]["dev"] == training["settings"]["data"]["train"]
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
    run(captioned, start, tmp_path, "schedule.epochs=2", "model.unfreeze_epoch=none")
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
        run(captioned, start, tmp_path, "optimiser.learning_rate=1.0")


def test_words_are_left_out_alike_in_a_repeated_run(captioned: Path, start: Path, tmp_path: Path) -> None:
    short = ("schedule.epochs=2", "data.word_dropout=0.3")
    assert run(captioned, start, tmp_path / "first", *short) == run(captioned, start, tmp_path / "second", *short)


def test_what_cannot_be_trained_is_refused(captioned: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 training images for batches of 64"):
        run(captioned, start, tmp_path, "optimiser.batch_size=64")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "last.pt").touch()
    with pytest.raises(InputError, match=r"earlier version of the recipe.*--start .*old.best"):
        run(captioned, start, tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["last.pt"]


def test_an_image_with_one_caption_has_it_twice(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        Image.new("RGB", (32, 32), name).save(tmp_path / f"{name}.png")
    file = tmp_path / "captions.jsonl"
    rows = [
        {"image": f"{name}.png", "captions": [f"a {name} jacket"], "split": split}
        for name in ("red", "blue")
        for split in ("train", "dev")
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_config(SETTINGS, [*SMALL, f"data.train={json.dumps([str(file)])}"])
    lexicon = small_lexicon()
    image = seeing_config(lexicon).image
    assert image is not None
    groups = CaptionGroups(config.data, read_pairs(config.data.train, "train"), lexicon.tokenizer, image)
    batch = CaptionGroups.collate([groups[0], groups[1]])
    assert batch.input_ids.shape[0] == 4
    assert torch.equal(batch.input_ids[0], batch.input_ids[1])
    assert not torch.equal(batch.input_ids[1], batch.input_ids[2])


def test_another_lexicon_is_refused(captioned: Path, start: Path, tmp_path: Path) -> None:
    other = small_lexicon()
    words = sorted(word for word in other.tokenizer.get_vocab() if word.isalpha())
    with new_folder(tmp_path / "lexicon") as folder:
        replace(other, tokenizer=word_tokenizer(words[::-1])).save(folder)
    with pytest.raises(InputError, match="its words are not those of the model; name the lexicon that it started from"):
        recipe([captioned], tmp_path / "run", tmp_path / "lexicon", start=start, set_=SMALL)


def test_a_run_is_repeated_by_its_configuration(finished: Path) -> None:
    again = load_config(str(finished / "config.json"))
    assert again.model_dump(mode="json") == json.loads((finished / "config.json").read_text())
    report = plan(again, processes=1, pairs=None)
    assert "both towers, two captions" in report
    for setting, message in [
        ('data.rows="captions"', r"data\.rows"),
        ("model.lexicon=none", r"needs model\.lexicon"),
        ("objective.kind=momentum_contrast", r"read by objective\.kind 'recipe' alone"),
    ]:
        with pytest.raises(InputError, match=message):
            load_config(str(finished / "config.json"), [setting])


@pytest.mark.parametrize("both", [False, True])
def test_one_starting_point(captioned: Path, tmp_path: Path, both: bool) -> None:
    given = tmp_path / "weights" if both else None
    with pytest.raises(InputError, match="give either --backbone"):
        recipe([captioned], tmp_path / "run", tmp_path, backbone=given, start=given)


def test_the_command_line_takes_several_captions(captioned: Path, start: Path, tmp_path: Path) -> None:
    """The last argument is the run's folder; the first captions select."""
    other = tmp_path / "more.jsonl"
    other.write_text("".join(line + "\n" for line in captioned.read_text().splitlines() if '"train"' in line))
    arguments = [str(captioned), str(other), str(tmp_path / "run"), "--lexicon", str(start.parent / "lexicon")]
    arguments += ["--start", str(start), "--notice", "Mine."]
    done = CliRunner().invoke(app, ["recipe", *arguments, *_set(*SMALL, "schedule.max_steps=2")])
    assert done.exit_code == 0, done.output
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [source["path"] for source in settings["data"]["train"]] == [str(captioned), str(other)]
    assert [source["path"] for source in settings["data"]["dev"]] == [str(captioned)]
    assert settings["run"]["notice"] == "Mine."


def _set(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def test_the_shipped_configuration_is_what_the_command_runs_by_default() -> None:
    config = load_config(SETTINGS)
    assert (config.model.preset, config.model.frozen_stages, config.model.unfreeze_epoch) == ("lexlip-tiny", 5, None)
    assert (config.optimiser.batch_size, config.schedule.epochs, config.data.views) == (128, 16, 4)
    shapes = preset("lexlip-tiny")
    assert shapes.text is not None
    assert config.data.max_length == shapes.text.max_length
