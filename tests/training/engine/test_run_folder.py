"""A run's folder may come from somebody else: its links lead to its own checkpoints, or nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lexlip_kernels.errors import InputError, OutputError
from lexlip_training.engine.monitoring import read_log
from lexlip_training.engine.run_folder import STATE, RunFolder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine").write_text("mine")
    return tmp_path / "outside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = RunFolder(tmp_path / "run")
    run.mark_best(run.save(1, {"step": 1}, lambda path: (path / "weights").touch()))
    return run.path


def test_its_own_links_stay(folder: Path) -> None:
    (folder / ".last.tmp").symlink_to("checkpoints/step-00000001")  # of a run that was killed
    again = RunFolder(folder)
    assert again.load() == {"step": 1}
    again.save(2, {"step": 2}, lambda path: (path / "weights").touch())
    again.prune(1)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-00000001", "step-00000002"]


@pytest.mark.parametrize(
    "place",
    [
        "checkpoints",
        "log.jsonl",
        "config.json",
        "stem",
        "tensorboard",
        "checkpoints/step-00000009",
        "data_failures.jsonl",
    ],
)
def test_a_link_that_may_lead_out(place: str, folder: Path, outside: Path) -> None:
    if place == "checkpoints":
        (folder / place).rename(folder / "kept")
    (folder / place).symlink_to(outside)
    with pytest.raises(OutputError, match=rf"{place}: is a symbolic link"):
        RunFolder(folder)
    assert (outside / "mine").read_text() == "mine"


@pytest.mark.parametrize("target", ["../outside", "checkpoints/../../outside", "/", "checkpoints"])
def test_last_leads_to_a_checkpoint(target: str, folder: Path, outside: Path) -> None:
    assert outside.exists()
    (folder / "last").unlink()
    (folder / "last").symlink_to(target)
    with pytest.raises(OutputError, match=r"last: leads to .*; expected a checkpoint of the run: remove it"):
        RunFolder(folder)


def test_a_state_that_is_no_file(folder: Path) -> None:
    (folder / "last" / STATE).unlink()
    os.mkfifo(folder / "last" / STATE)
    with pytest.raises(InputError, match=r"state\.pt: damaged \(is a FIFO; expected a regular file\)"):
        RunFolder(folder).load()
    (folder / "last" / STATE).unlink()
    torch.save(torch.nn.Linear(1, 1), folder / "last" / STATE)
    with pytest.raises(InputError, match=r"state\.pt: damaged"):
        RunFolder(folder).load()


@pytest.mark.parametrize("text", ["[1]\n", "{}\n", '{"step": "1"}\n', "no json\n", "[" * 100_000 + "\n", "\xff\n"])
def test_a_log_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"log\.jsonl: not the log of a run \(.*\); move it away"):
        read_log(tmp_path / "log.jsonl")
