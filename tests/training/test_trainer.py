"""A whole, very small training run: it learns, selects, logs, resumes, and trains every tensor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from lexlip_kernels.errors import BundleError, InputError
from lexlip_training import LexLIP, ModelConfig, load_checkpoint
from lexlip_training.captioned_images import CaptionedImage, read_captions
from lexlip_training.recipe import RecipeSettings
from lexlip_training.trainer import Trainer, seed_everything

SETTINGS = RecipeSettings(
    epochs=4, unfreeze_epoch=3, stem_blocks=1, views=2, evaluate_every=2, batch_size=2, learning_rate=3e-3, warmup=0.1
)


@pytest.fixture(scope="module")
def images(photographs: Path, captions: list[str]) -> list[CaptionedImage]:
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    return [CaptionedImage(path, (caption, caption.upper())) for path, caption in zip(paths, captions, strict=False)]


def run(
    model_config: ModelConfig,
    tokenizer: Tokenizer,
    images: list[CaptionedImage],
    output: Path,
    settings: RecipeSettings,
) -> LexLIP:
    seed_everything(settings.seed)
    model = LexLIP(model_config)
    Trainer(model, tokenizer, images, images, settings, output, {"command": "test"}).run()
    return model


@pytest.fixture(scope="module")
def finished(
    model_config: ModelConfig,
    tokenizer: Tokenizer,
    images: list[CaptionedImage],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, LexLIP]:
    output = tmp_path_factory.mktemp("run")
    return output, run(model_config, tokenizer, images, output, SETTINGS)


def test_log_and_selection(finished: tuple[Path, LexLIP]) -> None:
    output, _ = finished
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [0, 1, 2, 3]
    assert ["dev_sum" in line for line in log] == [False, True, False, True]
    assert log[-1]["words"] < log[0]["words"]
    model, _, training = load_checkpoint(output / "best")
    assert training["selected"]["dev_sum"] == max(line["dev_sum"] for line in log if "dev_sum" in line)
    assert training["log"] == log[: training["selected"]["epoch"] + 1]
    assert training["settings"]["views"] == 2
    assert not model.training


def test_every_tensor_is_trained(finished: tuple[Path, LexLIP], model_config: ModelConfig) -> None:
    _, trained = finished
    seed_everything(SETTINGS.seed)
    initial = dict(LexLIP(model_config).named_parameters())
    unchanged = [name for name, value in trained.named_parameters() if torch.equal(value, initial[name])]
    # Token types: a caption has one segment. Positions: no caption is that long. Both move by weight decay at most.
    assert unchanged == []


def test_stem_is_still_while_frozen(
    model_config: ModelConfig, tokenizer: Tokenizer, images: list[CaptionedImage], tmp_path: Path
) -> None:
    frozen = SETTINGS.model_copy(update={"epochs": 2, "unfreeze_epoch": 2})
    model = run(model_config, tokenizer, images, tmp_path, frozen)
    seed_everything(SETTINGS.seed)
    initial = LexLIP(model_config)
    assert torch.equal(model.image_tower.backbone.conv_stem.weight, initial.image_tower.backbone.conv_stem.weight)
    assert not torch.equal(model.image_tower.backbone.conv_head.weight, initial.image_tower.backbone.conv_head.weight)


def test_resuming_goes_on_where_the_run_stopped(
    model_config: ModelConfig, tokenizer: Tokenizer, images: list[CaptionedImage], tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    seed_everything(0)
    trainer = Trainer(LexLIP(model_config), tokenizer, images, images, SETTINGS, tmp_path, {})
    train_epoch = trainer._train_epoch

    def dies_in_the_third(epoch: int) -> dict[str, float]:
        if epoch == 2:
            raise KilledError
        return train_epoch(epoch)

    trainer._train_epoch = dies_in_the_third  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        trainer.run()
    resumed = Trainer(LexLIP(model_config), tokenizer, images, images, SETTINGS, tmp_path, {})
    resumed.run()
    log = [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log == [0, 1, 2, 3]
    assert trainer.scheduler.last_epoch == 2 * 3
    assert resumed.scheduler.last_epoch == 3 * 3 + 2  # the last epoch, unfrozen, drops the short batch
    other = SETTINGS.model_copy(update={"learning_rate": 1.0})
    with pytest.raises(InputError, match="holds a run with other settings"):
        Trainer(LexLIP(model_config), tokenizer, images, images, other, tmp_path, {}).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    del state["settings"]
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(InputError, match="of an earlier version, which cannot be resumed"):
        Trainer(LexLIP(model_config), tokenizer, images, images, SETTINGS, tmp_path, {}).run()


def test_a_run_repeats_itself(
    model_config: ModelConfig, tokenizer: Tokenizer, images: list[CaptionedImage], tmp_path: Path
) -> None:
    short = SETTINGS.model_copy(update={"epochs": 2, "word_dropout": 0.3})
    logs = []
    for name in ("first", "second"):
        run(model_config, tokenizer, images, tmp_path / name, short)
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        logs.append([json.loads(line) | {"seconds": 0} for line in lines])
    assert logs[0] == logs[1]


def test_too_few_images_are_refused(
    model_config: ModelConfig, tokenizer: Tokenizer, images: list[CaptionedImage], tmp_path: Path
) -> None:
    large = SETTINGS.model_copy(update={"batch_size": 64})
    with pytest.raises(InputError, match="5 training images for batches of 64"):
        run(model_config, tokenizer, images, tmp_path, large)


def test_captions_file_problems(tmp_path: Path) -> None:
    file = tmp_path / "captions.jsonl"
    with pytest.raises(InputError, match="cannot be read"):
        read_captions(file, "train")
    file.write_text('{"image": "a.jpg", "captions": ["x"], "split": "dev"}\n')
    with pytest.raises(InputError, match="no image of split 'train'"):
        read_captions(file, "train")
    file.write_text('{"image": "a.jpg"}\n')
    with pytest.raises(InputError, match="expected a line"):
        read_captions(file, "train")


def test_damaged_checkpoints_are_refused(finished: tuple[Path, LexLIP], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a checkpoint"):
        load_checkpoint(tmp_path)
    for name in ("config.json", "training.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((finished[0] / "best" / name).read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BundleError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "x"}')
    with pytest.raises(BundleError, match="damaged checkpoint"):
        load_checkpoint(tmp_path)
