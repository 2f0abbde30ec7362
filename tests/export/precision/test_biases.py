"""Biases that make up for rounded weights: on average, a rounded convolution gives what the exact one gave."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from lexlip_export.graph_builder import GraphBuilder, convolution_int8
from lexlip_export.precision.biases import corrected, input_means


@pytest.fixture(scope="module")
def backbone() -> onnx.ModelProto:
    """Three convolutions: of the colours, depthwise without a border, and pointwise without a bias; ReLUs between."""
    draw, graph = np.random.default_rng(0), GraphBuilder()
    value = graph.input("pixel_values", "float32", ["batch", 3, 12, 12])
    shapes = {"colours": (8, 3, 3, 3), "depthwise": (8, 1, 3, 3), "pointwise": (6, 8, 1, 1)}
    for name, shape in shapes.items():
        inputs = [value, graph.constant(f"{name}.weight", draw.normal(size=shape).astype(np.float32))]
        if name != "pointwise":
            inputs.append(graph.constant(f"{name}.bias", draw.normal(size=shape[0]).astype(np.float32)))
        value = graph.node("Conv", inputs, name, group=8 if name == "depthwise" else 1)
        if name != "pointwise":
            value = graph.node("Relu", [value], f"{name}.relu")
    for name in shapes:
        graph.output(name, "float32", ["batch", shapes[name][0], "height", "width"])
    return graph.model("backbone")


@pytest.fixture(scope="module")
def batches() -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return [{"pixel_values": torch.rand(rows, 3, 12, 12, generator=draw)} for rows in (4, 2)]


def rounded(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in names:
            values, scale = convolution_int8(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(values * scale, tensor.name))
    return copy


def restore(model: onnx.ModelProto, source: onnx.ModelProto, name: str) -> None:
    tensors = {tensor.name: tensor for tensor in source.graph.initializer}
    (own,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    own.CopyFrom(tensors[name])


def channel_means(model: onnx.ModelProto, batches: list[dict[str, torch.Tensor]], name: str) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [session.run([name], {"pixel_values": batch["pixel_values"].numpy()})[0] for batch in batches]
    return np.concatenate(outputs).mean(axis=(0, 2, 3))


def test_means_are_over_images_and_places(backbone: onnx.ModelProto, batches: list[dict[str, torch.Tensor]]) -> None:
    means = input_means(backbone, batches)
    assert set(means) == {"colours.relu", "depthwise.relu"}, "the colours' convolution stays in float32"
    whole = torch.cat([batch["pixel_values"] for batch in batches])
    session = onnxruntime.InferenceSession(backbone.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["colours"], {"pixel_values": whole.numpy()})
    np.testing.assert_allclose(means["colours.relu"], expected.clip(min=0).mean(axis=(0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("name", ["depthwise", "pointwise"])
def test_a_rounded_convolution_keeps_its_means(
    backbone: onnx.ModelProto, batches: list[dict[str, torch.Tensor]], name: str
) -> None:
    plain = rounded(backbone, f"{name}.weight")
    smallest = {"depthwise": 72, "pointwise": 48}[name]
    made_up = rounded(corrected(backbone, input_means(backbone, batches), smallest), f"{name}.weight")
    if name == "pointwise":  # the depthwise one is larger, and was not rounded here
        restore(made_up, backbone, "depthwise.bias")
    exact = channel_means(backbone, batches, name)
    before = np.abs(channel_means(plain, batches, name) - exact).max()
    after = np.abs(channel_means(made_up, batches, name) - exact).max()
    assert before > 1e-3
    # A depthwise filter without a border does not see all places equally often.
    assert after < (1e-5 if name == "pointwise" else before / 2)


def test_weights_stay_and_small_ones_keep_their_biases(
    backbone: onnx.ModelProto, batches: list[dict[str, torch.Tensor]]
) -> None:
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in backbone.graph.initializer}
    made_up = corrected(backbone, input_means(backbone, batches), smallest=49)  # the pointwise one has 48 weights
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in made_up.graph.initializer}
    assert after.keys() == before.keys()
    assert {name for name in after if not np.array_equal(after[name], before[name])} == {"depthwise.bias"}
    unchanged = {tensor.name: numpy_helper.to_array(tensor) for tensor in backbone.graph.initializer}
    assert all(np.array_equal(unchanged[name], before[name]) for name in before)
    every = corrected(backbone, input_means(backbone, batches))
    assert {tensor.name for tensor in every.graph.initializer} - before.keys() == {"pointwise.weight_bias"}
