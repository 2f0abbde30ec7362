"""lexlip_training: the model in torch, its objectives, and the training that makes weights.

Needs the extra `train`. Weights leave this package as a checkpoint folder, which `lexlip_export` turns into a bundle.
"""

from lexlip_kernels.errors import require

require("torch", extra="train")

from lexlip_training.torchvision_shim import declare_operators  # noqa: E402

declare_operators()  # before anything imports timm or transformers

from lexlip_training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from lexlip_training.config import ImageTowerConfig, ModelConfig, TextTowerConfig, preset  # noqa: E402
from lexlip_training.model import LexLIP  # noqa: E402

__all__ = [
    "ImageTowerConfig",
    "LexLIP",
    "ModelConfig",
    "TextTowerConfig",
    "load_checkpoint",
    "preset",
    "save_checkpoint",
]
