"""Start an image tower from a MobileNetV2 that was saved with its batch norms folded into the convolutions.

The archive holds one `NN_KIND_w` and `NN_KIND_b` per convolution in graph order; weights are (out, height, width, in),
depthwise ones (1, height, width, channels). timm keeps a batch norm behind each convolution, so the folded bias
becomes that norm's bias, and the norm is made to pass its input through unchanged: mean 0, variance 1, weight
sqrt(1 + eps). It must then stay in evaluation mode.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lexlip_infer.files import open_regular
from lexlip_kernels.errors import BundleError

#: Of the archive, expanded; those of MobileNetV2 take 14 million.
MOST_BYTES = 256_000_000


def load_folded_mobilenet_v2(backbone: nn.Module, path: Path) -> None:
    """Copy the archive's 52 convolutions into timm's `mobilenetv2_100` (built with `pad_type="same"`).

    Args:
        backbone: the timm model, changed in place.
        path: the .npz archive.

    Raises:
        BundleError: the archive is missing or unreadable, or its convolutions do not match the model's.
    """
    try:
        with open_regular(path, refuse=ValueError) as file:
            size = sum(record.file_size for record in zipfile.ZipFile(file).infolist())
            if size > MOST_BYTES:
                raise ValueError(f"{size:,} bytes; at most {MOST_BYTES:,} are read")
            archive = dict(np.load(file))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: not a readable .npz archive of MobileNetV2 weights ({error})") from None
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    weights = sorted(name for name in archive if name.endswith("_w"))
    if not len(convolutions) == len(norms) == len(weights):
        raise BundleError(f"{path}: {len(weights)} convolutions; the model has {len(convolutions)}")
    for convolution, norm, name in zip(convolutions, norms, weights, strict=True):
        _copy(convolution, norm, archive[name], archive[f"{name[:-2]}_b"], name)


@torch.no_grad()
def _copy(convolution: nn.Conv2d, norm: nn.BatchNorm2d, weight: np.ndarray, bias: np.ndarray, name: str) -> None:
    axes = (3, 0, 1, 2) if convolution.groups > 1 else (0, 3, 1, 2)
    ours = torch.from_numpy(weight).permute(axes)
    if ours.shape != convolution.weight.shape:
        raise BundleError(f"{name} has shape {tuple(ours.shape)}; expected {tuple(convolution.weight.shape)}")
    convolution.weight.copy_(ours)
    norm.bias.copy_(torch.from_numpy(bias))
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)
