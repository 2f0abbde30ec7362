"""The frozen stem's memory: right, asked once for each crop, shared through its file, and refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lexlip_kernels.errors import InputError
from lexlip_training.config import ImageTowerConfig
from lexlip_training.engine.batches import StemMemory
from lexlip_training.towers import ImageTower

CONFIG = ImageTowerConfig(
    backbone="mobilenetv2_050",
    image_size=32,
    resize="squash",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    adapter_layers=1,
    adapter_heads=1,
    freeze_batch_norm=True,
)


@pytest.fixture(scope="module")
def tower() -> ImageTower:
    torch.manual_seed(0)
    made = ImageTower(CONFIG, 8, 1e-12)
    made.split(3)
    return made


def never() -> Tensor:
    raise AssertionError("this crop is known")


def test_both_halves_make_the_whole(tower: ImageTower) -> None:
    pixels = torch.rand(3, 32, 32)
    features = StemMemory(tower, 1, 1, None, "")(0, 0, lambda: pixels)
    tower.freeze_stem(True)
    assert not any(parameter.requires_grad for parameter in tower.stem().parameters())
    whole = tower.backbone_tokens(pixels.unsqueeze(0))
    torch.testing.assert_close(tower.backbone_tokens(features.unsqueeze(0)), whole, rtol=5e-3, atol=5e-3)  # float16


def test_another_run_finds_what_is_known(tower: ImageTower, tmp_path: Path) -> None:
    first = StemMemory(tower, 2, 3, tmp_path, "crops")
    features = first(1, 2, lambda: torch.rand(3, 32, 32))
    second = StemMemory(tower, 2, 3, tmp_path, "crops")
    assert torch.equal(second(1, 2, never), features)
    with pytest.raises(AssertionError, match="known"):
        second(0, 2, never)
    StemMemory(tower, 2, 3, tmp_path, "other crops")
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_split_is_refused(tower: ImageTower) -> None:
    with pytest.raises(InputError, match="99 frozen stages; mobilenetv2_050 has 7"):
        ImageTower(CONFIG, 8, 1e-12).split(99)
    plain = CONFIG.model_copy(update={"backbone": "resnet10t"})
    with pytest.raises(InputError, match="no stages to freeze"):
        ImageTower(plain, 8, 1e-12).split(1)
