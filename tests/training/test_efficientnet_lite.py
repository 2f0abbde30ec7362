"""Public EfficientNet-Lite weights in timm's model: by order and shape, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lexlip_kernels.errors import BundleError
from lexlip_training import efficientnet_lite
from lexlip_training.efficientnet_lite import load_efficientnet_lite


def network(classes: int = 1000, name: str = "tf_efficientnet_lite0", seed: int = 0) -> nn.Module:
    import timm

    torch.manual_seed(seed)
    made: nn.Module = timm.create_model(name, num_classes=classes, bn_eps=1e-3)
    for value in made.buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `efficientnet_pytorch` saves them: other names, the same order."""
    file = tmp_path_factory.mktemp("weights") / "efficientnet-lite0.pth"
    values = network(seed=1).state_dict().values()
    names = [f"tensor{number}" + ("" if value.ndim else ".num_batches_tracked") for number, value in enumerate(values)]
    torch.save(dict(zip(names, values, strict=True)), file)
    return file


def test_the_loaded_network_computes_the_same(weights: Path) -> None:
    model = network(seed=2)
    load_efficientnet_lite(model, weights)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), network(seed=1)(pixels), rtol=0, atol=0)


def test_without_a_classifier_the_features_are_the_same(weights: Path) -> None:
    model = network(classes=0, seed=2)
    load_efficientnet_lite(model, weights)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(seed=1).forward_features(pixels)  # type: ignore[operator]
        torch.testing.assert_close(model.forward_features(pixels), expected, rtol=0, atol=0)  # type: ignore[operator]


def test_weights_of_another_size_are_refused_and_nothing_is_copied(weights: Path) -> None:
    for other, message in [
        (
            network(name="tf_efficientnet_lite2"),
            r"lite0\.pth: \d+ tensors for the model's \d+; number \d+ has the shape",
        ),
        (network(classes=7), r"number \d+ has the shape \(1000, 1280\), expected \(7, 1280\)"),
    ]:
        before = {name: value.clone() for name, value in other.state_dict().items()}
        with pytest.raises(BundleError, match=message):
            load_efficientnet_lite(other, weights)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_what_is_no_file_of_weights(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("missing.pth", "text.pth", "list.pth"):
        with pytest.raises(BundleError, match=rf"{name}: not a readable file of EfficientNet-Lite weights") as caught:
            load_efficientnet_lite(model, tmp_path / name)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(efficientnet_lite, "MOST_BYTES", 1000)
    with pytest.raises(BundleError, match=r"lite0\.pth: not a readable file"):
        load_efficientnet_lite(model, weights)
