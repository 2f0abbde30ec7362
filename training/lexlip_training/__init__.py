"""lexlip_training: the model in torch, its objectives, and the training that makes weights.

Needs the extra `train`; without it the first name asked for raises MissingExtra. Weights leave this package as a
checkpoint folder, which `lexlip_export` turns into a bundle.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lexlip_kernels.errors import require

if TYPE_CHECKING:
    from lexlip_training.checkpoint import load_checkpoint, save_checkpoint
    from lexlip_training.config import ImageTowerConfig, ModelConfig, TextTowerConfig, preset
    from lexlip_training.model import LexLIP

__all__ = [
    "ImageTowerConfig",
    "LexLIP",
    "ModelConfig",
    "TextTowerConfig",
    "load_checkpoint",
    "preset",
    "save_checkpoint",
]

_HOMES = {"LexLIP": "model", "load_checkpoint": "checkpoint", "save_checkpoint": "checkpoint"}

if find_spec("torch") is not None:
    # Here, because it must happen before any module of this package imports timm or transformers.
    from lexlip_training.torchvision_shim import declare_operators as _declare_operators

    _declare_operators()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("torch", extra="train")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'config')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
