"""Weights that are stored in int8: the same graph, rounded, and every copy of a decoder rounded alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from lexlip_export.bundle_writer import write_bundle
from lexlip_export.graph_builder import GraphBuilder, check, store_int8, to_int8
from lexlip_export.settings import ExportSettings
from lexlip_infer import Bundle, LexLIPEncoder
from lexlip_infer.runtime.heads import read_decoder
from lexlip_training import LexLIP


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    (output,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    assert isinstance(output, np.ndarray)
    return output


def graph_of_weights(generator: np.random.Generator) -> onnx.ModelProto:
    """Rows of a table, times a matrix, and a constant that is no weight."""
    graph = GraphBuilder()
    graph.input("ids", "int64", ["batch"])
    table = graph.constant("table", generator.normal(size=(90, 64)).astype(np.float32))
    rows = graph.node("Gather", [table, "ids"], "rows", axis=0)
    product = graph.node(
        "MatMul", [rows, graph.constant("matrix", generator.normal(size=(64, 80)).astype(np.float32))], "product"
    )
    graph.node("Add", [product, graph.constant("bias", generator.normal(size=80).astype(np.float32))], "out")
    graph.output("out", "float32", ["batch", 80])
    return check(graph.model("weights"), "weights")


def test_int8_rounds_to_half_a_step_of_each_output() -> None:
    values = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32) * np.float32(
        [[1], [9], [0.1], [1], [0], [2]]
    )
    whole, scale = to_int8(values, axis=0)
    assert whole.dtype == np.int8
    assert scale.shape == (6, 1)
    assert np.all(np.abs(whole * scale - values) <= scale * 0.5001)
    again, same = to_int8(whole * scale, axis=0)
    np.testing.assert_array_equal(again, whole)
    np.testing.assert_allclose(same, scale, rtol=1e-6)


def test_a_stored_graph_gives_nearly_the_same_and_takes_a_quarter() -> None:
    generator = np.random.default_rng(1)
    plain = graph_of_weights(generator)
    stored = store_int8(onnx.ModelProto.FromString(plain.SerializeToString()))
    types = {tensor.name: tensor.data_type for tensor in stored.graph.initializer}
    assert types["table.int8"] == types["matrix.int8"] == TensorProto.INT8
    assert types["bias"] == types["table.scale"] == types["matrix.scale"] == TensorProto.FLOAT
    assert stored.ByteSize() < 0.4 * plain.ByteSize()
    ids = np.arange(90)
    before, after = run(plain, ids=ids), run(stored, ids=ids)
    assert 0 < np.abs(after - before).max() < 0.3
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9999


@pytest.fixture(scope="module")
def in_int8(random_model: LexLIP, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    write_bundle(random_model, tokenizer, {}, folder, ExportSettings(image_top_k=20, text_top_k=9, storage="i8"))
    return folder


def test_a_shared_decoder_is_stored_once(in_int8: Path, random_model: LexLIP) -> None:
    tensors = load_file(in_int8 / "heads.safetensors")
    owners = ("",) if random_model.config.tie_decoders else ("image.", "text.")
    wanted = {f"{owner}{name}" for owner in owners for name in ("weight", "scale")} | {"image.bias", "text.bias"}
    assert set(tensors) == wanted
    assert Bundle.open(in_int8).manifest.format_version == 4
    weight, _ = read_decoder(Bundle.open(in_int8), "image")
    exact = random_model.image_head.weight.detach().numpy()
    assert 0 < np.abs(weight - exact).max() <= np.abs(exact).max() / 253


def test_native_and_onnx_heads_have_the_same_decoder(in_int8: Path, captions: list[str]) -> None:
    native, onnx_head = (
        LexLIPEncoder.from_pretrained(in_int8, head=head).encode_texts(captions) for head in ("native", "onnx")
    )
    np.testing.assert_allclose(native.to_dense(), onnx_head.to_dense(), atol=2e-5)
