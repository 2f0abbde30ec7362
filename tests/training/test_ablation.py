"""The ablation's order of runs: what is finished is skipped, what is not is resumed, a failure is one line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lexlip_kernels.errors import LexLIPError
from lexlip_training import ablation

FIGURES = {f"{way}_{k}": float(k) for way in ("t2i", "i2t") for k in (1, 5, 10)}


class Runs:
    """Stands for the processes: records each command, and leaves a finished run's files."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.starts: list[str] = []
        self.fails = ""

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("run") + 1])
        assert "--resume" in command
        self.folders.append(f"{folder.parent.name}/{folder.name}")
        self.starts += [part for part in command if part.startswith("model.start=")]
        if self.fails and self.fails in str(folder):
            return subprocess.CompletedProcess(command, 2)
        (folder / "best").mkdir(parents=True)
        (folder / "best" / "training.json").write_text(json.dumps({"selected": FIGURES}))
        (folder / "curves.png").touch()
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(ablation.subprocess, "run", made)
    return made


def test_phases_follow_each_other_and_a_failure_stops(runs: Runs, tmp_path: Path) -> None:
    runs.fails = "tiny_dense_momentum"
    with pytest.raises(LexLIPError, match="tiny_dense_momentum: the run failed"):
        ablation.ablation(tmp_path / "captions.jsonl", tmp_path / "out", None, 8, 1, None)
    assert not (tmp_path / "out" / "ablation.json").exists()
    assert runs.folders[:2] == ["LexLIP/tiny_pretrain_lexicon", "LexLIP/tiny_momentum"]
    assert runs.starts[0] == "model.start=none"
    assert runs.starts[1].endswith('LexLIP/tiny_pretrain_lexicon/best"')


def test_a_repeated_command_runs_only_the_rest(runs: Runs, tmp_path: Path) -> None:
    runs.fails = "tiny_dense_momentum"
    with pytest.raises(LexLIPError):
        ablation.ablation(tmp_path / "captions.jsonl", tmp_path / "out", None, 8, 1, None)
    finished = [folder for folder in runs.folders if "tiny_dense_momentum" not in folder]
    runs.fails, runs.folders = "", []
    ablation.ablation(tmp_path / "captions.jsonl", tmp_path / "out", None, 8, 1, None)
    assert not set(finished) & set(runs.folders)
    rows = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [row["model"] for row in rows] == ["LexLIP", "LexLIP without Phase 1", "Dense", "CLIP"]
    assert {row["steps"] for row in rows} == {8}
    assert "| CLIP | 8 | 1.0/5.0/10.0 | 1.0/5.0/10.0 | - | - |" in (tmp_path / "out" / "ablation.md").read_text()
