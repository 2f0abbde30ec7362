"""A few generated photographs with captions, and a configuration that trains a very small model on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lexlip_training import LexLIP
    from lexlip_training.engine.settings import TrainingConfig

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def captioned(photographs: Path, captions: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """captions.jsonl: 5 photographs with 3 captions each for training, the same with one each for development."""
    file = tmp_path_factory.mktemp("captioned") / "captions.jsonl"
    paths = sorted(path for path in photographs.rglob("*") if path.is_file())
    rows = []
    for number, path in enumerate(paths):
        texts = [captions[number], f"{captions[number]} {captions[-1]}", f"Look : {captions[number]}"]
        rows += [{"image": str(path), "captions": texts, "split": "train"}]
        rows += [{"image": str(path), "captions": texts[:1], "split": "dev"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="session")
def start(random_model: LexLIP, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the small random model."""
    from lexlip_training import save_checkpoint

    folder = tmp_path_factory.mktemp("start") / "checkpoint"
    save_checkpoint(folder, random_model, tokenizer, {"notice": "Random weights."})
    return folder


@pytest.fixture(scope="session")
def values(start: Path, captioned: Path) -> dict[str, dict[str, object]]:
    """A configuration's sections: 15 pairs, 4 a step, 3 steps an epoch."""
    return {
        "model": {"start": str(start)},
        "objective": {"kind": "momentum_contrast", "queue_size": 24, "queue_top_k": 64},
        "data": {"train": [str(captioned)], "dev": [str(captioned)], "max_length": 16, "augmentation": "crop_flip"},
        "optimiser": {"batch_size": 4, "accumulation": 2, "learning_rate": 1e-3},
        "schedule": {"max_steps": 26, "warmup": 0.2},
        "evaluation": {"every_steps": 13, "image_top_k": 32, "text_top_k": 16},
        "run": {"precision": "f32", "device": "cpu", "log_steps": 1, "checkpoint_steps": 2, "tensorboard": False},
    }


@pytest.fixture
def config(values: dict[str, dict[str, object]]) -> Callable[..., TrainingConfig]:
    """Makes a configuration; arguments are sections to change."""
    from lexlip_training.engine.settings import TrainingConfig

    def make(**changes: dict[str, object]) -> TrainingConfig:
        sections = {name: section | changes.get(name, {}) for name, section in values.items()}
        return TrainingConfig.model_validate(sections)

    return make


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.Popen[str]]:
    """Starts `lexlip-train run` with its arguments, in processes that import what this one does."""
    paths = [str(path) for path in (ROOT, ROOT / "kernels", ROOT / "training", ROOT / "export")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}

    def start(*arguments: str, processes: int = 1) -> subprocess.Popen[str]:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        line = [*(launcher if processes > 1 else []), "-m", "lexlip_training.cli", "run", *arguments]
        return subprocess.Popen(
            [sys.executable, *line], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start
