"""Static int8 of a convolutional image backbone: integer convolutions on every CPU alike, and the rest as it was."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from small_models import relu6_config, small_model
from tokenizers import Tokenizer

from lexlip_export import ExportSettings
from lexlip_export.backbone_graph import backbone_graph
from lexlip_export.bundle_writer import write_bundle
from lexlip_export.graph_builder import IR_VERSION, OPSET, channel_ranges
from lexlip_export.precision.inputs import calibration_inputs
from lexlip_export.precision.int8 import is_convolutional, static_int8_graph
from lexlip_export.precision.report import PARITY, ParityReport
from lexlip_export.settings import GateSettings
from lexlip_infer.bundle import Bundle, backbone_file
from lexlip_infer.errors import InputError
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.opening import open_tower
from lexlip_training import LexLIP

Pixels = np.ndarray

#: What an adapter, class tokens and the head's transform are made of.
_FLOAT = ("MatMul", "Gemm", "LayerNormalization", "Softmax", "TopK", "Gelu", "Gather", "Log")


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> LexLIP:
    return small_model(relu6_config(tokenizer))


@pytest.fixture(scope="module")
def backbone(model: LexLIP) -> onnx.ModelProto:
    return backbone_graph(model, "image")


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    coarse = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(4 * coarse - 2, size=(64, 64), mode="bilinear").numpy()


def quantised(backbone: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    batches = ({"pixel_values": torch.from_numpy(pixels[start : start + 4])} for start in (0, 4))
    return static_int8_graph(backbone, batches, "image int8 backbone")


@pytest.fixture(scope="module")
def int8(backbone: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    return quantised(backbone, pixels)


def kinds(graph: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)


def hidden(graph: onnx.ModelProto, pixels: Pixels) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["hidden"], {"pixel_values": pixels})[0]


def test_what_runs_is_integer_convolutions(int8: onnx.ModelProto, backbone: onnx.ModelProto, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(int8.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run = kinds(onnx.load(tmp_path / "optimised.onnx", load_external_data=False))
    convolutions = kinds(backbone)["Conv"]
    assert run["QLinearConv"] == convolutions - 1
    assert sum(run[kind] for kind in ("Conv", "FusedConv", "NhwcFusedConv")) == 1, "that of the three colours"
    assert run["QLinearAdd"] >= 5, "of the residual connections"
    assert run["Clip"] == 0
    assert run["QuantizeLinear"] == 1, "behind that one"


def test_adapter_and_class_tokens_stay_float(int8: onnx.ModelProto, backbone: onnx.ModelProto) -> None:
    assert kinds(backbone)["TopK"] == 1
    assert {kind: kinds(int8)[kind] for kind in _FLOAT} == {kind: kinds(backbone)[kind] for kind in _FLOAT}


def test_weights_are_stored_as_int8(int8: onnx.ModelProto, backbone: onnx.ModelProto) -> None:
    before = {tensor.name: tensor for tensor in backbone.graph.initializer}
    after = {tensor.name: tensor for tensor in int8.graph.initializer}
    names = [node.input[1] for node in backbone.graph.node if node.op_type == "Conv"]
    stored = [name for name in names if name in after]
    assert [before[name].dims[1] for name in stored] == [3]
    for name in set(names) - set(stored):
        weight = numpy_helper.to_array(after[f"{name}_quantized"])
        assert weight.dtype == np.int8
        assert np.abs(weight.astype(int)).reshape(len(weight), -1).max(axis=1).min() >= 63, "a scale for each channel"


def test_no_two_products_leave_16_bits(int8: onnx.ModelProto) -> None:
    """What AVX2 and AVX-512 without VNNI add up before they widen: uint8 times int8 of two neighbouring channels."""
    convolutions = 0
    for tensor in int8.graph.initializer:
        if tensor.data_type != onnx.TensorProto.INT8 or len(tensor.dims) != 4 or tensor.dims[1] == 1:
            continue
        weight = numpy_helper.to_array(tensor).astype(int)
        pairs = weight.reshape(len(weight), -1, 2, weight.shape[2] * weight.shape[3])
        assert 255 * pairs.clip(min=0).sum(axis=2).max() <= 32767
        assert 255 * pairs.clip(max=0).sum(axis=2).min() >= -32768
        convolutions += 1
    assert convolutions > 10


def test_ranges_are_no_wider_than_the_neighbours_demand() -> None:
    weight = np.zeros((4, 4, 1, 1), np.float32)
    weight[0, :, 0, 0] = (1.0, 0.5, 0.1, 0.1)  # together 1.5
    weight[1, :, 0, 0] = (1.0, -0.9, 0.1, 0.1)  # of two signs
    weight[2, :, 0, 0] = (0.1, 1.0, 0.9, 0.1)  # large, and no pair
    weight[3, :, 0, 0] = (-1.0, -0.5, 0.1, 0.1)
    np.testing.assert_allclose(channel_ranges(weight), [1.5, 1.0, 1.1, 1.5], rtol=1e-6)
    np.testing.assert_array_equal(channel_ranges(weight[:, :1]), [1.0, 1.0, np.float32(0.1), 1.0])


def test_hidden_states_of_patches_stay_close(int8: onnx.ModelProto, backbone: onnx.ModelProto, pixels: Pixels) -> None:
    """Those of classes do not: to random weights all classes are about as likely, and which come first is chance."""
    expected, found = hidden(backbone, pixels), hidden(int8, pixels)
    assert found.shape == expected.shape == (8, 4 + 3, 32)
    patches = np.s_[:, :4]
    error = np.square(found - expected)[patches].mean() / np.square(expected)[patches].mean()
    assert 0 < error < 0.1


def test_the_same_inputs_give_the_same_bytes(
    int8: onnx.ModelProto, backbone: onnx.ModelProto, pixels: Pixels, tmp_path: Path
) -> None:
    """In another process, whose sets of strings have another order, too."""
    onnx.save(backbone, tmp_path / "backbone.onnx")
    np.save(tmp_path / "pixels.npy", pixels)
    program = (
        "import hashlib, numpy as np, onnx, torch\n"
        "from lexlip_export.precision.int8 import static_int8_graph\n"
        "halves = ({'pixel_values': torch.from_numpy(half)} for half in np.split(np.load('pixels.npy'), 2))\n"
        "graph = static_int8_graph(onnx.load('backbone.onnx'), halves, 'again')\n"
        "print(hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hashlib.sha256(int8.SerializeToString(deterministic=True)).hexdigest()


def test_a_transformer_is_not_convolutional(backbone: onnx.ModelProto, bundle_folder: Path) -> None:
    assert is_convolutional(backbone)
    assert not is_convolutional(onnx.load(bundle_folder / "onnx/text_backbone.onnx"))


@pytest.fixture(scope="module")
def bundle(
    model: LexLIP,
    tokenizer: Tokenizer,
    photographs: Path,
    captions_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """Exported with int8 as a user would, but for limits that random weights cannot be asked to keep."""
    folder = tmp_path_factory.mktemp("static") / "bundle"
    gate = GateSettings(captions=captions_file, calibration=photographs)
    limits = gate.int8.model_copy(
        update={
            "weight_max": 10.0,
            "weight_mean": 1.0,
            "hidden_mean": 1.0,
            "overlap": 0.1,
            "recall_loss": 100.0,
            "agreement": 0.0,
        }
    )
    settings = ExportSettings(image_top_k=24, text_top_k=8, precisions=("int8",))
    write_bundle(model, tokenizer, {}, folder, settings, gate=gate.model_copy(update={"int8": limits}))
    return Bundle.open(folder)


def test_the_bundle_says_what_it_was_calibrated_on(bundle: Bundle) -> None:
    (report,) = ParityReport.model_validate_json(bundle.read(PARITY)).precisions
    assert report.calibration == "5 of 5 images of photographs0"
    assert "calibrated on 5 of 5 images" in bundle.read("README.md").decode()
    graph = onnx.load_from_string(bundle.read(backbone_file("image", "int8")))
    assert graph.ir_version == IR_VERSION
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]


def test_batches_run_whole_and_rows_do_not_depend_on_each_other(bundle: Bundle, pixels: Pixels) -> None:
    tower = open_tower(bundle, "image", RuntimeOptions("cpu", "int8", threads=1))
    assert tower.path.graph == backbone_file("image", "int8")
    assert tower._rows.limit is None
    assert open_tower(bundle, "text", RuntimeOptions("cpu", "int8", threads=1))._rows.limit == 1
    together = tower({"pixel_values": pixels}, 24)
    for row in range(len(pixels)):
        alone = tower({"pixel_values": pixels[row : row + 1]}, 24)
        np.testing.assert_array_equal(together.row(row)[0], alone.row(0)[0])
        np.testing.assert_allclose(together.row(row)[1], alone.row(0)[1], rtol=1e-5)  # as matrices in float32 do


def test_calibration_takes_the_same_images_every_time(
    model: LexLIP, captions_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexlip_export.precision.inputs._CALIBRATION", 3)
    gate = GateSettings(captions=captions_file)
    description, batches = calibration_inputs(model.config, gate)
    assert description == "3 of 5 images of captions.jsonl, split 'dev'"
    (first,), (again,) = list(batches), list(calibration_inputs(model.config, gate)[1])
    assert first["pixel_values"].shape == (3, 3, 64, 64)
    assert torch.equal(first["pixel_values"], again["pixel_values"])


def test_without_photographs_there_is_nothing_to_calibrate_on(model: LexLIP) -> None:
    with pytest.raises(InputError, match="give --calibration-images or --gate-captions"):
        calibration_inputs(model.config, GateSettings())
    description, batches = calibration_inputs(model.config, GateSettings(calibration="synthetic"))
    assert description.startswith("synthetic")
    assert next(batches)["pixel_values"].shape[1:] == (3, 64, 64)


def test_float32_and_int8_share_the_weights(model: LexLIP, tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    settings = ExportSettings(storage="i8", cpu_precision="int8")
    gate = GateSettings(calibration="synthetic")
    free = gate.int8.model_copy(update={"hidden_mean": 9.0, "weight_max": 9.0, "weight_mean": 9.0, "overlap": 0.0})
    write_bundle(model, tokenizer, {"notice": "Random."}, folder, settings, gate=gate.model_copy(update={"int8": free}))
    bundle = Bundle.open(folder)
    assert (bundle.manifest.format_version, bundle.manifest.cpu_precision) == (5, {"image": "int8", "text": "f32"})
    exact = bundle.read(backbone_file("image", "f32"))
    sharing = onnx.load_from_string(bundle.read(backbone_file("image", "int8")))
    outside = [tensor for tensor in sharing.graph.initializer if tensor.external_data]
    assert outside
    inside = [len(tensor.raw_data) for tensor in sharing.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    assert max(inside, default=0) < 4096, "every large weight is shared"
    assert sum(tensor.ByteSize() for tensor in sharing.graph.initializer) < len(exact) / 2
    path = open_tower(bundle, "image", RuntimeOptions(device="cpu")).path
    assert (path.precision, path.graph) == ("int8", backbone_file("image", "int8"))
    asked = open_tower(bundle, "image", RuntimeOptions(device="cpu", precision="f32")).path
    assert asked.precision == "f32"
    assert open_tower(bundle, "text", RuntimeOptions(device="cpu")).path.precision == "f32"
