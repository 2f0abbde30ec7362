"""Official-layout checkpoints: see `official_checkpoint`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from official_checkpoint import official_content


@pytest.fixture(scope="session")
def content() -> Callable[..., dict[str, Any]]:
    return official_content


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    torch.save(official_content(), path)
    return path
