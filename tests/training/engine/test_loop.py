"""A run that is killed, moved to two processes, or handed from phase to phase is the run it would have been."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lexlip_kernels.errors import BackendUnavailable, InputError
from lexlip_training import load_checkpoint
from lexlip_training.engine.monitoring import read_log
from lexlip_training.engine.run import micro_batch_size, train
from lexlip_training.engine.settings import TrainingConfig

MakeConfig = Callable[..., TrainingConfig]
Start = Callable[..., subprocess.Popen[str]]


def losses(folder: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_log(folder / "log.jsonl")}


def write(config: TrainingConfig, file: Path) -> Path:
    file.write_text(config.model_dump_json())
    return file


@pytest.fixture(scope="module")
def uninterrupted(values: dict[str, dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "momentum"
    train(TrainingConfig.model_validate(values), folder, resume=False)
    return folder


def test_a_killed_run_goes_on_exactly(uninterrupted: Path, config: MakeConfig, command: Start, tmp_path: Path) -> None:
    file, folder = write(config(), tmp_path / "config.json"), tmp_path / "run"
    process = command(str(folder), "--config", str(file))
    deadline = time.monotonic() + 400
    # Step 5 is in the middle of the second epoch, one step behind the checkpoint of step 4.
    while 5 not in (losses(folder) if folder.exists() else {}):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')  # as a kill in the middle of a write leaves it
    killed_at = max(losses(folder))
    assert killed_at < 26 - 5
    train(config(), folder, resume=True)
    assert losses(folder) == losses(uninterrupted)
    for name in ("last", "best"):
        assert (folder / name).resolve().name == (uninterrupted / name).resolve().name
    ours, theirs = (torch.load(path / "last" / "state.pt", weights_only=True) for path in (folder, uninterrupted))
    for name, value in ours["objective"].items():
        assert torch.equal(value, theirs["objective"][name]), name


def test_a_run_leaves_its_record(uninterrupted: Path) -> None:
    record = json.loads((uninterrupted / "run.json").read_text())
    assert record["steps_per_epoch"] == 3
    assert record["seed"] == 0
    assert record["versions"]["torch"] == torch.__version__
    assert record["continued_from"] == {}
    resolved = json.loads((uninterrupted / "config.json").read_text())
    assert resolved["optimiser"]["weight_decay"] == 0.01  # a default, written out
    assert (uninterrupted / "curves.png").stat().st_size > 1000
    log = read_log(uninterrupted / "log.jsonl")
    assert [line["step"] for line in log] == list(range(1, 27))
    evaluated = {line["step"]: line["dev_sum"] for line in log if "dev_sum" in line}
    assert sorted(evaluated) == [13, 26]
    model, _, training = load_checkpoint(uninterrupted / "best")
    assert training["selected"]["dev_sum"] == max(evaluated.values())
    assert not model.training
    kept = {path.name for path in (uninterrupted / "checkpoints").iterdir()}
    assert kept == {(uninterrupted / name).resolve().name for name in ("last", "best")}


def test_two_processes_equal_one(config: MakeConfig, command: Start, tmp_path: Path) -> None:
    changes = {
        "optimiser": {"batch_size": 4, "accumulation": 1, "learning_rate": 1e-3},
        "schedule": {"max_steps": 8},
        "run": {"precision": "f64", "norms_in_evaluation": True},
    }
    file = write(config(**changes), tmp_path / "config.json")
    process = command(str(tmp_path / "two"), "--config", str(file), processes=2)
    train(config(**changes), tmp_path / "one", resume=False)
    output = process.communicate(timeout=400)[0]
    assert process.returncode == 0, output
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    assert max(abs(one[step] - two[step]) for step in one) < 1e-9


def test_a_phase_starts_from_the_one_before(uninterrupted: Path, config: MakeConfig, tmp_path: Path) -> None:
    changes = {
        "model": {"start": str(uninterrupted / "best"), "image_size": 96, "gradient_checkpointing": True},
        "schedule": {"max_steps": 1},
    }
    train(config(**changes), tmp_path, resume=False)
    model, _, training = load_checkpoint(tmp_path / "best")
    assert model.config.image is not None
    assert model.config.image.image_size == 96
    assert training["continued_from"]["selected"]["step"] in (13, 26)
    assert training["notice"] == "Random weights."


def test_a_dense_model_trains(config: MakeConfig, tmp_path: Path) -> None:
    changes = {
        "model": {"representation": "dense"},
        "objective": {"kind": "pretrain_dense"},
        "schedule": {"max_steps": 2},
        "optimiser": {"accumulation": 1},
        "run": {"tensorboard": True},
    }
    pytest.importorskip("tensorboard")
    train(config(**changes), tmp_path, resume=False)
    assert "dev_terms_image" not in read_log(tmp_path / "log.jsonl")[-1]
    assert '"representation":"dense"' in (tmp_path / "best" / "config.json").read_text().replace(" ", "")
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_folder_with_a_run_is_not_overwritten(uninterrupted: Path, config: MakeConfig) -> None:
    with pytest.raises(InputError, match="holds a run; give --resume"):
        train(config(), uninterrupted, resume=False)
    with pytest.raises(InputError, match=r"optimiser.learning_rate = 0.001, now it is 0.1"):
        train(config(optimiser={"learning_rate": 0.1}), uninterrupted, resume=True)


def test_what_does_not_fit_is_refused(config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch_size 4 on 3 processes"):
        micro_batch_size(config(), 3)
    with pytest.raises(InputError, match=r"lower optimiser.batch_size|make the batch smaller"):
        train(config(optimiser={"batch_size": 64}), tmp_path, resume=False)
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailable, match="fp16"):
            train(config(run={"precision": "fp16"}), tmp_path, resume=False)
