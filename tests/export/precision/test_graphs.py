"""The graphs of each precision: of the format, of the right types, and the arithmetic that the gate measured."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from lexlip_export.graph_builder import IR_VERSION, OPSET
from lexlip_export.precision.candidates import Half, Int8, head_file
from lexlip_export.precision.int8 import dynamic_int8_graph
from lexlip_infer.bundle import Bundle, Modality, backbone_file
from lexlip_kernels.lexicon_topk import lexicon_topk
from lexlip_training import LexLIP

MODALITIES: tuple[Modality, ...] = ("image", "text")
TOP_K = 8


@pytest.fixture(scope="module")
def half(random_model: LexLIP) -> Half:
    return Half(random_model)


def graph_of(bundle: Bundle, name: str) -> onnx.ModelProto:
    return onnx.load_from_string(bundle.read(name))


@pytest.fixture(scope="module")
def half_graphs(precise_bundle: Bundle) -> dict[str, onnx.ModelProto]:
    names = [
        name(modality) for modality in MODALITIES for name in (partial(backbone_file, precision="fp16"), head_file)
    ]
    return {name: graph_of(precise_bundle, name) for name in names}


@pytest.fixture(scope="module")
def float_graphs(precise_bundle: Bundle) -> dict[Modality, onnx.ModelProto]:
    return {modality: graph_of(precise_bundle, backbone_file(modality, "f32")) for modality in MODALITIES}


@pytest.fixture(scope="module")
def int8_graphs(precise_bundle: Bundle) -> dict[Modality, onnx.ModelProto]:
    return {modality: graph_of(precise_bundle, backbone_file(modality, "int8")) for modality in MODALITIES}


@pytest.fixture(scope="module")
def inputs() -> dict[Modality, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 100, (3, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    pixels = torch.rand(3, 3, 64, 64, generator=generator)
    return {"image": {"pixel_values": pixels}, "text": {"input_ids": ids, "attention_mask": mask}}


def run(graph: onnx.ModelProto, inputs: dict[str, Any]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in inputs.items()})


def element_types(values: Any) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in values}


def test_every_graph_is_ir_10_and_opset_20_of_standard_operators(
    half_graphs: dict[str, onnx.ModelProto], int8_graphs: dict[Modality, onnx.ModelProto]
) -> None:
    for graph in (*half_graphs.values(), *int8_graphs.values()):
        onnx.checker.check_model(graph, full_check=True)
        assert graph.ir_version == IR_VERSION
        assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
        assert {node.domain for node in graph.graph.node} == {""}


def test_half_graphs_take_float32_pixels_and_hand_half_hidden_states_on(
    half_graphs: dict[str, onnx.ModelProto],
) -> None:
    half, full, ints = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    image, text = (half_graphs[backbone_file(modality, "fp16")].graph for modality in MODALITIES)
    assert element_types(image.input) == {"pixel_values": full}
    assert element_types(text.input) == {"input_ids": ints, "attention_mask": ints}
    for modality, backbone in (("image", image), ("text", text)):
        head = half_graphs[head_file(modality)].graph
        assert element_types(backbone.output) == {"hidden": half}
        assert element_types(head.input)["hidden"] == half
        assert element_types(head.output) == {"ids": ints, "weights": full}


def test_large_weights_of_half_graphs_are_half(half_graphs: dict[str, onnx.ModelProto]) -> None:
    for name, graph in half_graphs.items():
        large = [tensor for tensor in graph.graph.initializer if np.prod(tensor.dims) > 500]
        assert large, name
        assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}, name


@pytest.mark.parametrize("modality", MODALITIES)
def test_half_backbone_is_close_to_what_the_gate_ran(
    modality: Modality, half: Half, half_graphs: dict[str, onnx.ModelProto], inputs: dict[Modality, dict[str, Any]]
) -> None:
    """Not equal: ONNX Runtime's CPU provider computes in float32 between the casts."""
    real = inputs[modality].get("attention_mask", torch.ones(3, 1)).numpy() != 0
    (hidden,) = run(half_graphs[backbone_file(modality, "fp16")], inputs[modality])
    expected = half.encode(modality, inputs[modality]).hidden.numpy()
    assert hidden.dtype == np.float16
    error = np.abs(hidden - expected)[np.broadcast_to(real, expected.shape[:2])]
    assert error.max() < 0.05
    assert error.mean() < 0.005


@pytest.mark.parametrize("modality", MODALITIES)
def test_half_head_keeps_what_the_gate_kept(
    modality: Modality, half: Half, half_graphs: dict[str, onnx.ModelProto], inputs: dict[Modality, dict[str, Any]]
) -> None:
    encoding = half.encode(modality, inputs[modality])
    masks = {name: value for name, value in inputs[modality].items() if name == "attention_mask"}
    hidden = encoding.hidden.numpy().astype(np.float16)
    k = np.array([TOP_K], np.int64)
    ids, weights = run(half_graphs[head_file(modality)], {"hidden": hidden, "k": k, **masks})
    expected_ids, expected, _ = lexicon_topk(encoding.pooled, TOP_K, backend="reference")
    assert ids.shape == (3, TOP_K)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected.numpy(), atol=2e-3)
    assert np.mean([len(np.intersect1d(a, b)) / TOP_K for a, b in zip(ids, expected_ids.numpy(), strict=True)]) > 0.9


def test_dynamic_int8_holds_int8_matrices(
    int8_graphs: dict[Modality, onnx.ModelProto], float_graphs: dict[Modality, onnx.ModelProto]
) -> None:
    graph = int8_graphs["text"]
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type == "MatMulInteger"]
    assert products
    for node in products:
        weight = numpy_helper.to_array(constants[node.input[1]])
        assert weight.dtype == np.int8
        assert np.abs(weight.astype(int)).max(axis=0).min() >= 120  # a scale of its own for each column
    assert graph.metadata_props == float_graphs["text"].metadata_props


@pytest.mark.parametrize("modality", MODALITIES)
def test_int8_is_close_to_float32_and_not_equal(
    modality: Modality,
    random_model: LexLIP,
    int8_graphs: dict[Modality, onnx.ModelProto],
    float_graphs: dict[Modality, onnx.ModelProto],
    inputs: dict[Modality, dict[str, Any]],
) -> None:
    hidden = Int8(random_model, int8_graphs).encode(modality, inputs[modality]).hidden.numpy()
    (expected,) = run(float_graphs[modality], inputs[modality])
    (plain,) = run(int8_graphs[modality], inputs[modality])
    np.testing.assert_array_equal(hidden, plain)
    assert 0 < np.abs(hidden - expected).mean() < 0.1 * np.abs(expected).mean()


def test_quantising_neither_warns_nor_changes_its_argument(
    float_graphs: dict[Modality, onnx.ModelProto], caplog: pytest.LogCaptureFixture
) -> None:
    before = float_graphs["text"].SerializeToString(deterministic=True)
    with caplog.at_level(logging.WARNING):
        dynamic_int8_graph(float_graphs["text"], "text")
    assert float_graphs["text"].SerializeToString(deterministic=True) == before
    assert not caplog.records
