"""From training to a bundle that encodes: `best` and `last` of both phases, and of the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_lexicon import seeing_model, small_lexicon

from lexlip_export import ExportSettings, export_bundle
from lexlip_export.model_card import model_card
from lexlip_infer import LexLIPEncoder
from lexlip_infer.files import new_folder
from lexlip_training import load_checkpoint, save_checkpoint
from lexlip_training.engine.run import train
from lexlip_training.engine.settings import TrainingConfig
from lexlip_training.recipe import recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training import LexLIP


@pytest.fixture(scope="module")
def runs(
    random_model: LexLIP,
    tokenizer: Tokenizer,
    photographs: Path,
    captions: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Run folders `pretrain_lexicon`, `momentum_contrast`, which starts from the one before, and `recipe`."""
    folder = tmp_path_factory.mktemp("runs")
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    rows = [
        {"image": str(path), "captions": [caption, caption.upper()], "split": split}
        for split in ("train", "dev")
        for path, caption in zip(paths, captions, strict=False)
    ]
    source = folder / "captions.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_checkpoint(folder / "start", random_model, tokenizer, {"notice": "Random weights."})
    before = folder / "start"
    for kind in ("pretrain_lexicon", "momentum_contrast"):
        values = {
            "model": {"start": before},
            "objective": {"kind": kind, "queue_size": 8},
            "data": {"train": [source], "dev": [source], "max_length": 16, "rows": "images"},
            "optimiser": {"batch_size": 4},
            "schedule": {"max_steps": 3},
            "evaluation": {"every_steps": 2},
            "run": {"precision": "f32", "device": "cpu", "checkpoint_steps": 1, "tensorboard": False},
        }
        train(TrainingConfig.model_validate(values), folder / kind, resume=False)
        before = folder / kind / "last"
    lexicon = small_lexicon()
    with new_folder(folder / "lexicon") as made:
        lexicon.save(made)
    save_checkpoint(folder / "seeing", seeing_model(lexicon), lexicon.tokenizer, {"notice": "Random weights."})
    small = ["model.frozen_stages=1", "model.unfreeze_epoch=1", "data.views=1", "data.max_length=16"]
    small += ["optimiser.batch_size=2", "schedule.epochs=2", "evaluation.every_epochs=1", "run.threads=1"]
    recipe([source], folder / "recipe", folder / "lexicon", start=folder / "seeing", set_=small)
    return folder


@pytest.mark.parametrize(("run", "checkpoint"), [("pretrain_lexicon", "best"), ("momentum_contrast", "last")])
def test_a_trained_checkpoint_becomes_a_bundle(
    runs: Path, tmp_path: Path, captions: list[str], run: str, checkpoint: str
) -> None:
    export_bundle(runs / run / checkpoint, tmp_path / "bundle", ExportSettings(image_top_k=20, text_top_k=10))
    assert LexLIPEncoder.from_pretrained(tmp_path / "bundle").encode_texts(captions).nnz > 0


@pytest.mark.parametrize("run", ["pretrain_lexicon", "momentum_contrast", "recipe"])
@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_card_shows_how_the_weights_came_about(runs: Path, run: str, checkpoint: str) -> None:
    model, _, record = load_checkpoint(runs / run / checkpoint)
    card = model_card(model, record, {})
    assert "Random weights." in card
    assert "| selection |" in card
    assert "| step | epoch | loss |" in card
    assert '"log"' not in card
