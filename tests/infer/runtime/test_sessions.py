"""Sessions: int8 row by row, OpenVINO against ONNX Runtime, and the GPU's session on the CPU's memory.

IO binding, DLPack and the order of calls are the same wherever the memory is. What needs a GPU is not tested here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import BackendUnavailable, BundleError, MissingExtra
from lexlip_infer.runtime import cuda_session
from lexlip_infer.runtime.choice import RuntimeOptions, choose_path
from lexlip_infer.runtime.cuda_session import CudaGraphs, CudaSession, cuda_provider
from lexlip_infer.runtime.head_contract import HeadContract
from lexlip_infer.runtime.head_weights import read_decoder
from lexlip_infer.runtime.heads import CudaOnnxHead, TritonHead, TritonTopK, head_inputs
from lexlip_infer.runtime.machine import Machine, look_around
from lexlip_infer.runtime.onnxruntime_session import CpuSession, open_session
from lexlip_infer.runtime.opening import open_tower
from lexlip_infer.runtime.tower import INPUTS, DeviceOutOfMemory, Tower

CPU = ("CPUExecutionProvider", {})
HOST = ("cpu", 0)


def on_the_host(bundle: Bundle, modality: Modality, part: str) -> CudaSession:
    """The session of GPUs, with its outputs in the memory of the CPU."""
    names = {"backbone": (INPUTS[modality], ("hidden",)), "head": CudaOnnxHead.graph(bundle, modality, half=False)[1:]}
    return CudaSession(bundle, f"onnx/{modality}_{part}.onnx", *names[part], CPU, HOST)


@pytest.mark.parametrize("memory_arena", [True, False])
def test_options_reach_onnx_runtime(memory_arena: bool, bundle: Bundle) -> None:
    backbone = CpuSession(bundle, "onnx/text_backbone.onnx", INPUTS["text"], ("hidden",), 3, memory_arena)
    options = backbone._session.get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.enable_cpu_mem_arena is memory_arena
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert backbone._session.get_providers() == ["CPUExecutionProvider"]


@pytest.fixture
def int8(bundle: Bundle, with_files: Callable[[dict[str, bytes]], Bundle], tmp_path: Path) -> Bundle:
    """The bundle with ONNX Runtime's int8 backbones."""
    quantization = pytest.importorskip("onnxruntime.quantization", reason="needs onnx")
    files = {}
    for modality in ("image", "text"):
        source, target = bundle.folder / f"onnx/{modality}_backbone.onnx", tmp_path / f"{modality}.onnx"
        quantization.quantize_dynamic(source, target, op_types_to_quantize=["MatMul"], per_channel=True)
        files[f"onnx/{modality}_backbone_int8.onnx"] = target.read_bytes()
    return with_files(files)


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.filterwarnings("ignore:builtin type Swig:DeprecationWarning")
def test_int8_does_not_depend_on_the_neighbours(modality: Modality, int8: Bundle, inputs: Any) -> None:
    tower = open_tower(int8, modality, RuntimeOptions("cpu", "int8", threads=1))
    together = tower(inputs[modality], 24)
    for row in range(len(together)):
        alone = tower({name: value[row : row + 1] for name, value in inputs[modality].items()}, 24)
        np.testing.assert_array_equal(together.row(row)[0], alone.row(0)[0])
        np.testing.assert_array_equal(together.row(row)[1], alone.row(0)[1])
    f32 = open_tower(int8, modality, RuntimeOptions("cpu", threads=1))(inputs[modality], 24)
    assert not np.array_equal(together.values, f32.values), "the int8 graph is the one that ran"
    np.testing.assert_allclose(together.to_dense().sum(1), f32.to_dense().sum(1), rtol=0.1)


class TestOpenVINO:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        if not look_around().openvino:
            pytest.skip("openvino is not installed (extra 'openvino')")

    @pytest.mark.parametrize("modality", ["image", "text"])
    @pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-4), ("bf16", 0.1)])
    def test_against_onnx_runtime(
        self, precision: str, tolerance: float, modality: Modality, bundle: Bundle, inputs: Any
    ) -> None:
        from lexlip_infer.runtime.openvino_session import runs_bf16

        if precision == "bf16" and not runs_bf16():
            pytest.skip("this CPU has no bf16")
        expected = open_tower(bundle, modality, RuntimeOptions("cpu", threads=1))(inputs[modality], 150)
        tower = open_tower(bundle, modality, RuntimeOptions("cpu", precision, "openvino", threads=1))
        for rows in (slice(None), slice(1, 2), slice(0, 0)):
            found = tower({name: value[rows] for name, value in inputs[modality].items()}, 150)
            np.testing.assert_allclose(found.to_dense(), expected[rows].to_dense(), atol=tolerance, rtol=tolerance)

    def test_a_file_that_is_no_graph(self, with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
        junk = with_files({"openvino/image_backbone_int8.xml": b"junk", "openvino/image_backbone_int8.bin": b""})
        with pytest.raises(BundleError, match=r"image_backbone_int8\.xml: OpenVINO cannot load it") as raised:
            open_tower(junk, "image", RuntimeOptions("cpu", "int8", threads=1))
        assert "\n" not in str(raised.value)

    def test_weights_that_are_missing(self, with_files: Callable[[dict[str, bytes]], Bundle]) -> None:
        half = with_files({"openvino/image_backbone_int8.xml": b"<net/>"})
        with pytest.raises(BundleError, match=r"the bundle has no openvino/image_backbone_int8\.bin"):
            open_tower(half, "image", RuntimeOptions("cpu", "int8", threads=1))

    def test_a_cpu_without_bf16(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        from lexlip_infer.runtime import openvino_session

        monkeypatch.setattr(openvino_session, "runs_bf16", lambda: False)
        with pytest.raises(BackendUnavailable, match="'bf16' was asked for, but this CPU does not have it: use f32"):
            open_tower(bundle, "image", RuntimeOptions("cpu", "bf16"))

    def test_it_phones_nobody(self, bundle: Bundle, tmp_path: Path) -> None:
        """Left to itself, `import openvino` sends an event and keeps an id below the user's home."""
        code = (
            "import sys, lexlip_infer as l; "
            "l.LexLIPEncoder.from_pretrained(sys.argv[1], backend='openvino').encode_texts(['a dog'])"
        )
        subprocess.run(
            [sys.executable, "-c", code, bundle.folder], check=True, env={**os.environ, "HOME": str(tmp_path)}
        )
        assert not list(tmp_path.rglob("*"))

    def test_a_signal_after_two_towers_are_gone(self, bundle: Bundle) -> None:
        """Cores that went in the order they came left a freed signal stack: the next Ctrl-C killed the process."""
        code = """
import gc, os, signal, sys
from lexlip_infer.bundle import Bundle
from lexlip_infer.runtime.choice import RuntimeOptions
from lexlip_infer.runtime.opening import open_tower

options = RuntimeOptions("cpu", "f32", "openvino", threads=1)
first, second = (open_tower(Bundle.open(sys.argv[1]), modality, options) for modality in ("image", "text"))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
        done = subprocess.run([sys.executable, "-c", code, bundle.folder], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_openvino_missing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    from lexlip_infer.runtime.openvino_session import import_openvino

    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[openvino\]'"):
        import_openvino()


class TestGpuSession:
    @pytest.mark.parametrize("modality", ["image", "text"])
    def test_backbone_and_head(self, modality: Modality, bundle: Bundle, inputs: Any) -> None:
        """Hidden states go from session to session without becoming an array."""
        head = CudaOnnxHead(on_the_host(bundle, modality, "head"), head_inputs(bundle, modality))
        path = choose_path(RuntimeOptions("cpu"), Machine(), modality, bundle.manifest.files)
        tower = Tower(path, on_the_host(bundle, modality, "backbone"), head, 150)
        found = tower(inputs[modality], 10)
        expected = open_tower(bundle, modality, RuntimeOptions("cpu", head="onnx", threads=1))(inputs[modality], 10)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)

    def test_outputs_stay_and_speak_dlpack(self, bundle: Bundle, inputs: Any) -> None:
        torch = pytest.importorskip("torch", reason="torch is not installed (extra 'triton')")
        session = on_the_host(bundle, "image", "backbone")
        (hidden,) = session(inputs["image"])
        assert isinstance(hidden, onnxruntime.OrtValue)
        (expected,) = CpuSession(bundle, "onnx/image_backbone.onnx", INPUTS["image"], ("hidden",), 1)(inputs["image"])
        tensor = torch.from_dlpack(hidden)
        assert tensor.data_ptr() == hidden.data_ptr(), "no copy"
        np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-5)

    def test_inputs_take_the_type_of_the_graph(self, bundle: Bundle, inputs: Any) -> None:
        session = on_the_host(bundle, "image", "backbone")
        wide = {"pixel_values": inputs["image"]["pixel_values"].astype(np.float64)}
        np.testing.assert_array_equal(session(wide)[0].numpy(), session(inputs["image"])[0].numpy())

    def test_a_graph_that_fails(self, bundle: Bundle) -> None:
        session = on_the_host(bundle, "text", "backbone")
        unknown = {"input_ids": np.full((1, 3), 10**6), "attention_mask": np.ones((1, 3), np.int64)}
        with pytest.raises(BundleError, match=r"failed on input_ids \(1, 3\) int64") as raised:
            session(unknown)
        assert "\n" not in str(raised.value)

    def test_no_memory(self, bundle: Bundle) -> None:
        session = on_the_host(bundle, "text", "backbone")
        one = {"input_ids": np.ones((1, 1), np.int64), "attention_mask": np.ones((1, 1), np.int64)}

        class Full:
            def io_binding(self) -> object:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 99999999999")

        session.session = Full()
        with pytest.raises(DeviceOutOfMemory, match=r"out of memory on input_ids \(1, 1\) int64"):
            session(one)

    def test_lengths(self, bundle: Bundle) -> None:
        session = on_the_host(bundle, "image", "backbone")
        assert session.fixed_length("hidden", axis=2) == 32
        with pytest.raises(BundleError, match="expected a fixed length at axis 0"):
            session.fixed_length("hidden", axis=0)

    def test_replay(self, bundle: Bundle, inputs: Any) -> None:
        """Fixed buffers: every shape has its own, and a replay sees its new inputs."""
        session = on_the_host(bundle, "image", "backbone")
        replay = CudaGraphs(session)
        pixels = inputs["image"]["pixel_values"]
        addresses = set()
        for rows in (slice(0, 2), slice(2, 4), slice(0, 3), slice(0, 2)):
            (hidden,) = replay({"pixel_values": pixels[rows]})
            addresses.add((len(pixels[rows]), hidden.data_ptr()))
            np.testing.assert_allclose(hidden.numpy(), session({"pixel_values": pixels[rows]})[0].numpy(), atol=1e-6)
        assert len(addresses) == 2

    def test_not_every_shape_is_recorded(self, bundle: Bundle, inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuda_session, "MAX_SHAPES", 2)
        session = on_the_host(bundle, "image", "backbone")
        replay, pixels = CudaGraphs(session), inputs["image"]["pixel_values"]
        first = replay({"pixel_values": pixels[:1]})[0].data_ptr()
        for rows in (2, 3, 4, 3, 1):
            (hidden,) = replay({"pixel_values": pixels[:rows]})
            np.testing.assert_allclose(hidden.numpy(), session({"pixel_values": pixels[:rows]})[0].numpy(), atol=1e-6)
        assert hidden.data_ptr() == first

    def test_the_provider_is_told_everything_as_text(self) -> None:
        name, options = cuda_provider(1, cuda_graph=True)
        assert name == "CUDAExecutionProvider"
        assert options["device_id"] == "1"
        assert options["enable_cuda_graph"] == "1"
        assert options["use_tf32"] == "0"
        assert all(isinstance(value, str) for value in options.values())

    @pytest.mark.skipif(
        "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has the provider"
    )
    @pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
    def test_a_provider_that_does_not_start_is_no_cpu(self, bundle: Bundle) -> None:
        with pytest.raises(BackendUnavailable, match="cannot start its CUDAExecutionProvider, most often because"):
            open_session(
                bundle, "onnx/text_head.onnx", onnxruntime.SessionOptions(), [cuda_provider(0, cuda_graph=False)]
            )


class TestTritonHeads:
    """In Triton's interpreter, on what a GPU's session gives."""

    @pytest.fixture(autouse=True)
    def interpreter(self) -> None:
        pytest.importorskip("torch", reason="torch is not installed (extra 'triton')")
        from lexlip_kernels.backends import triton_refusal

        if (refusal := triton_refusal("cpu")) is not None:
            pytest.skip(refusal)

    @pytest.fixture
    def expected(self, bundle: Bundle, inputs: Any) -> Any:
        return open_tower(bundle, "text", RuntimeOptions("cpu", head="onnx", threads=1))(inputs["text"], 10)

    def test_lexicon_head(self, bundle: Bundle, inputs: Any, expected: Any) -> None:
        path = choose_path(RuntimeOptions("cpu"), Machine(), "text", bundle.manifest.files)
        head = TritonHead(bundle, "text", half=False, device="cpu")
        found = Tower(path, on_the_host(bundle, "text", "backbone"), head, 150)(inputs["text"], 10)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)

    def test_lexicon_head_in_half_precision(self, bundle: Bundle, inputs: Any, expected: Any) -> None:
        """Hidden states in float32 are rounded to the decoder's type; nobody multiplies mixed types."""
        (hidden,) = on_the_host(bundle, "text", "backbone")(inputs["text"])
        ids, weights = TritonHead(bundle, "text", half=True, device="cpu")(hidden, inputs["text"]["attention_mask"], 10)
        np.testing.assert_allclose(np.sort(weights[weights > 0]), np.sort(expected.values), atol=2e-2)
        assert np.isin(ids[ids >= 0], expected.indices).mean() > 0.9

    def test_lexicon_topk(self, bundle: Bundle, inputs: Any, expected: Any) -> None:
        import torch

        weight, bias = read_decoder(bundle, "text")
        (hidden,) = on_the_host(bundle, "text", "backbone")(inputs["text"])
        logits = torch.from_numpy(hidden.numpy() @ weight.T + bias)
        ids, weights = TritonTopK(HeadContract.of(bundle, "text"))(logits, inputs["text"]["attention_mask"], 10)
        np.testing.assert_array_equal(np.sort(ids, axis=1).ravel(), expected.indices)
        np.testing.assert_allclose(np.sort(weights.ravel()), np.sort(expected.values), atol=1e-5)

    def test_out_of_memory(self, bundle: Bundle, inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from lexlip_kernels import lexicon_topk as kernel

        def full(*arguments: object, **options: object) -> None:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1.12 GiB")

        monkeypatch.setattr(kernel, "lexicon_topk", full)
        import torch

        with pytest.raises(DeviceOutOfMemory, match="the lexicon head ran out of GPU memory: CUDA out of memory"):
            TritonTopK(HeadContract.of(bundle, "text"))(torch.zeros(1, 2, 3), None, 2)
