"""timm's MobileNetV2 with the folded weights in it, against a direct evaluation of the archive's own graph listing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu6

from lexlip_kernels.errors import BundleError
from lexlip_training import mobilenet_v2, preset
from lexlip_training.mobilenet_v2 import load_folded_mobilenet_v2
from lexlip_training.towers import ImageTower

Archive = Mapping[str, npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def tower() -> ImageTower:
    return ImageTower(preset("lexlip-tiny").image, hidden_size=256, layer_norm_eps=1e-12)


def test_an_archive_that_expands_without_end(
    tower: ImageTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobilenet_v2, "MOST_BYTES", 10_000)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000))
    with pytest.raises(BundleError, match=r"a\.npz: .* bytes; at most 10,000 are read"):
        load_folded_mobilenet_v2(tower.backbone, tmp_path / "a.npz")


def evaluate(operations: Path, archive: Archive, pixels: Tensor) -> Tensor:
    """Walk the listing line by line; an ADD joins the linear output before this block."""
    value, linear, before = pixels, pixels, pixels
    for line in operations.read_text().splitlines():
        if line.startswith("-- PAD"):
            value = pad(value, (0, 1, 0, 1))
        elif line.startswith("-- ADD"):
            value = linear = value + before
        elif match := re.match(r"(\d\d) (\w+) w.* stride(\d) pad(\w+) act(\d)", line):
            number, kind, stride, padding, activation = match.groups()
            value = convolve(archive, f"{number}_{kind}", value, int(stride), padding == "SAME")
            if activation == "3":
                value = relu6(value)
            else:
                before, linear = linear, value
    return value


def convolve(archive: Archive, name: str, value: Tensor, stride: int, same: bool) -> Tensor:
    weight, bias = torch.from_numpy(archive[f"{name}_w"]), torch.from_numpy(archive[f"{name}_b"])
    depthwise = "DEPTHWISE" in name
    weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
    size = weight.shape[-1]
    if same:
        total = max((-(-value.shape[-1] // stride) - 1) * stride + size - value.shape[-1], 0)
        value = pad(value, (total // 2, total - total // 2) * 2)
    return conv2d(value, weight, bias, stride, groups=len(weight) if depthwise else 1)


def test_features_equal_a_direct_evaluation(data: Path, tower: ImageTower) -> None:
    folder = data / "mobilenet_v2"
    path = folder / "mobilenet_v2_1.0_224_dequant_fp32.npz"
    load_folded_mobilenet_v2(tower.backbone, path)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 224, 224, generator=generator)
    with torch.no_grad():
        ours = tower.eval().backbone_tokens(pixels).mean(dim=1)
        direct = evaluate(folder / "ops.txt", dict(np.load(path)), pixels).mean(dim=(2, 3))
    assert ours.shape == (2, 1280)
    assert direct.abs().max() > 0.1
    torch.testing.assert_close(ours, direct, rtol=1e-4, atol=1e-4)


def folded_archive(tower: ImageTower) -> dict[str, npt.NDArray[np.float32]]:
    """An archive of random values that fits the backbone."""
    generator = np.random.default_rng(1)
    archive = {}
    convolutions = [module for module in tower.backbone.modules() if isinstance(module, nn.Conv2d)]
    for number, module in enumerate(convolutions):
        out, inside, height, width = module.weight.shape
        shape = (1, height, width, out) if module.groups > 1 else (out, height, width, inside)
        kind = "DEPTHWISE_CONV_2D" if module.groups > 1 else "CONV_2D"
        archive[f"{number:02d}_{kind}_w"] = generator.normal(size=shape).astype(np.float32)
        archive[f"{number:02d}_{kind}_b"] = generator.normal(size=out).astype(np.float32)
    return archive


def test_every_tensor_is_copied(tower: ImageTower, tmp_path: Path) -> None:
    archive = folded_archive(tower)
    np.savez(tmp_path / "weights.npz", **archive)  # type: ignore[arg-type]
    load_folded_mobilenet_v2(tower.backbone, tmp_path / "weights.npz")
    norms = [module for module in tower.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    biases = [archive[name] for name in sorted(archive) if name.endswith("_b")]
    for norm, bias in zip(norms, biases, strict=True):
        values = torch.randn(2, len(bias), 3, 3)
        identity = nn.functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, eps=norm.eps)
        torch.testing.assert_close(identity, values, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(norm.bias.detach().numpy(), bias)


def test_a_foreign_archive_is_refused(tower: ImageTower, tmp_path: Path) -> None:
    archive = folded_archive(tower)
    archive.pop("51_CONV_2D_w")
    np.savez(tmp_path / "short.npz", **archive)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="51 convolutions; the model has 52"):
        load_folded_mobilenet_v2(tower.backbone, tmp_path / "short.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(BundleError, match="not a readable"):
        load_folded_mobilenet_v2(tower.backbone, tmp_path / "text.npz")
