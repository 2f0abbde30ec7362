"""Towers of GPUs as they are put together, placed on the CPU: ONNX Runtime on its memory, Triton in its interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.runtime import opening
from lexlip_infer.runtime.choice import PathChoice, RuntimeOptions, choose_path
from lexlip_infer.runtime.head_weights import read_decoder
from lexlip_infer.runtime.machine import Machine
from lexlip_infer.runtime.opening import Placement, open_cuda_tower, open_tower
from lexlip_infer.runtime.tower import Tower

AMPERE = Machine(cuda_provider=True, gpus=((8, 0),), triton=True, torch_cuda=True)
VOLTA = Machine(cuda_provider=True, gpus=((7, 0),), triton=True, torch_cuda=True)


@pytest.fixture(autouse=True)
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Placement(("CPUExecutionProvider", {}), ("cpu", 0), "cpu")
    monkeypatch.setattr(opening, "placement", lambda path, cuda_graph: host)


@pytest.fixture
def interpreter() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra 'triton')")
    from lexlip_kernels.backends import triton_refusal

    if (refusal := triton_refusal("cpu")) is not None:
        pytest.skip(refusal)


def opened(bundle: Bundle, modality: Modality, machine: Machine, **options: Any) -> tuple[PathChoice, Tower]:
    wishes = RuntimeOptions("cuda", **options)
    path = choose_path(wishes, machine, modality, bundle.manifest.files)
    return path, open_cuda_tower(bundle, modality, wishes, path)


def check(tower: Tower, bundle: Bundle, modality: Modality, inputs: Any, tolerance: float) -> None:
    expected = open_tower(bundle, modality, RuntimeOptions("cpu", head="onnx", threads=1))(inputs[modality], 150)
    for rows in (slice(0, 3), slice(2, 4), slice(0, 3)):
        found = tower({name: value[rows] for name, value in inputs[modality].items()}, 150)
        np.testing.assert_allclose(found.to_dense(), expected[rows].to_dense(), atol=tolerance)


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_onnx_head(modality: Modality, cuda_graph: bool, bundle: Bundle, inputs: Any) -> None:
    path, tower = opened(bundle, modality, AMPERE, head="onnx", cuda_graph=cuda_graph)
    assert (path.device, path.precision, path.head) == ("cuda:0", "f32", "onnx")
    check(tower, bundle, modality, inputs, 1e-5)


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("modality", ["image", "text"])
def test_triton_head(modality: Modality, bundle: Bundle, inputs: Any) -> None:
    path, tower = opened(bundle, modality, AMPERE)
    assert (path.device, path.precision, path.head) == ("cuda:0", "f32", "triton")
    check(tower, bundle, modality, inputs, 1e-5)


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("room", [1 << 30, 1])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_logits_of_older_gpus(
    modality: Modality,
    room: int,
    bundle: Bundle,
    inputs: Any,
    with_files: Callable[[dict[str, bytes]], Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the logits of a single row are all that is allowed at once."""
    monkeypatch.setattr(opening, "_LOGITS_BYTES", room)
    whole = with_files({f"onnx/{modality}_logits_fp16.onnx": logits_graph(bundle, modality)})
    path, tower = opened(whole, modality, VOLTA)
    assert (path.precision, path.head, path.gives_logits) == ("fp16", "triton", True)
    check(tower, bundle, modality, inputs, 2e-2)


def logits_graph(bundle: Bundle, modality: Modality) -> bytes:
    """The float32 backbone with the decoder behind it, and logits in half precision."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
    model = onnx.load_from_string(bundle.read(f"onnx/{modality}_backbone.onnx"))
    weight, bias = read_decoder(bundle, modality)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in (("decoder", weight.T), ("decoder_bias", bias))
    )
    model.graph.node.extend(
        [
            onnx.helper.make_node("MatMul", ["hidden", "decoder"], ["products"]),
            onnx.helper.make_node("Add", ["products", "decoder_bias"], ["wide"]),
            onnx.helper.make_node("Cast", ["wide"], ["logits"], to=onnx.TensorProto.FLOAT16),
        ]
    )
    shape = [dim.dim_value or dim.dim_param for dim in model.graph.output[0].type.tensor_type.shape.dim[:2]]
    del model.graph.output[:]
    output = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT16, [*shape, len(bias)])
    model.graph.output.append(output)
    return bytes(model.SerializeToString())
