"""The training record: what the trainer writes, what both old trainers wrote, and what is refused."""

from __future__ import annotations

import pytest

from lexlip_kernels.errors import BundleError
from lexlip_training.record import RECORD_VERSION, TrainingRecord, mean_record, nowhere, provenance

RUN = {"step": 3, "epoch": 0, "loss": 2.5, "t2i_1": 1.0, "t2i_5": 5.0, "t2i_10": 10.0}
RUN |= {"i2t_1": 2.0, "i2t_5": 6.0, "i2t_10": 11.0, "dev_sum": 35.0, "dev_terms_image": 12.5}
OLD_RECIPE = {"epoch": 8, "loss": 4.9, "text_to_image": "20.2/47.5/61.0", "image_to_text": "25.8/48.5/60.6"}
OLD_RECIPE |= {"dev_sum": 263.64}


def test_both_old_trainers_are_understood() -> None:
    run = TrainingRecord.read({"selected": RUN, "log": [{"step": 2, "loss": 3.0}, RUN], "settings": {"run": {}}})
    assert run.record_version == 0
    found = run.selection()
    assert found is not None
    assert (found.ranking, found.text_to_image, found.image_to_text) == ("impacts", (1, 5, 10), (2, 6, 11))
    assert [line.step for line in run.evaluations()] == [3]
    recipe = TrainingRecord.read({"selected": OLD_RECIPE, "log": [{"epoch": 0, "loss": 6.0}, OLD_RECIPE]})
    found = recipe.selection()
    assert found is not None
    assert (found.ranking, found.text_to_image, found.epoch) == ("vectors", (20.2, 47.5, 61.0), 8)
    assert len(recipe.evaluations()) == 1


def test_recalls_of_other_weights_are_not_shown() -> None:
    assert TrainingRecord.read({"selected": RUN, "resized": [{"image_size": 320}]}).selection() is None
    assert TrainingRecord.read({"selected": {"step": 2, "epoch": 0}}).selection() is None  # a checkpoint in between
    assert TrainingRecord.read({"notice": "Not trained.", "beit": "x"}).selection() is None


def test_averages_hold_their_runs() -> None:
    parts = [{"command": name, "notice": name, "selected": OLD_RECIPE, "log": [OLD_RECIPE]} for name in ("a", "b")]
    record = TrainingRecord.read(mean_record(parts))
    assert record.selection() is None
    assert [run.command for run in record.runs()] == ["a", "b"]
    assert record.notice == "a b"
    assert TrainingRecord.read(parts[0]).runs()[0].command == "a"


def test_written_records_have_a_version() -> None:
    assert TrainingRecord.read(provenance("Mine.")).record_version == RECORD_VERSION
    with pytest.raises(BundleError, match=r"training\.json: record_version: .*expected a record of version 1"):
        TrainingRecord.read({"record_version": RECORD_VERSION + 1})
    with pytest.raises(BundleError, match=r"training\.json: log"):
        TrainingRecord.read({"log": "none"})


def test_settings_do_not_tell_where_files_lay() -> None:
    settings = {
        "data": {"train": [{"path": "/mnt/someone/flickr8k/captions.jsonl"}]},
        "model": {"start": "runs/a"},
        "seed": 1,
    }
    told = nowhere(settings)
    assert told["data"]["train"][0]["path"] == "flickr8k/captions.jsonl"
    assert told["model"] == {"start": "runs/a"}
    assert told["seed"] == 1
