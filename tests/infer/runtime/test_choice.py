"""Every combination of wishes and machines leads to one path or one refusal."""

from __future__ import annotations

import itertools

import pytest

from lexlip_infer.errors import BackendUnavailable, BundleError, InputError, MissingExtra
from lexlip_infer.runtime.choice import BACKENDS, HEADS, PRECISIONS, PathChoice, RuntimeOptions, choose_path
from lexlip_infer.runtime.machine import Machine

F32 = "onnx/image_backbone.onnx"
FP16 = "onnx/image_backbone_fp16.onnx"
INT8 = "onnx/image_backbone_int8.onnx"
LOGITS = "onnx/image_logits_fp16.onnx"
OPENVINO = "openvino/image_backbone_int8.xml"
ALL = (F32, FP16, INT8, LOGITS, OPENVINO)

CPU = Machine(native=True)
PORTABLE = Machine(native=False)
INTEL = Machine(openvino=True)
H100 = Machine(cuda_provider=True, gpus=((9, 0),), triton=True, torch_cuda=True, openvino=True)
V100 = Machine(cuda_provider=True, gpus=((7, 0),), triton=True, torch_cuda=True)
MIXED = Machine(cuda_provider=True, gpus=((8, 0), (7, 0)), triton=True, torch_cuda=True)
NO_TRITON = Machine(cuda_provider=True, gpus=((9, 0),))
CPU_TORCH = Machine(cuda_provider=True, gpus=((9, 0),), triton=True)
CPU_WHEEL = Machine(gpus=((9, 0),), triton=True, torch_cuda=True)
OLD_GPU = Machine(cuda_provider=True, gpus=((7, 0),), oldest_gpu=(7, 5), triton=True, torch_cuda=True)
MACHINES = (OLD_GPU, CPU, PORTABLE, INTEL, H100, V100, MIXED, NO_TRITON, CPU_TORCH, CPU_WHEEL)


def choose(machine: Machine, files: tuple[str, ...] = ALL, **options: str | bool) -> PathChoice:
    return choose_path(RuntimeOptions(**options), machine, "image", files)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "options", "device", "backend", "precision", "head", "graph"),
    [
        (CPU, {}, "cpu", "onnxruntime", "f32", "native", F32),
        (PORTABLE, {}, "cpu", "onnxruntime", "f32", "onnx", F32),
        (INTEL, {}, "cpu", "onnxruntime", "f32", "native", F32),
        (CPU_WHEEL, {}, "cpu", "onnxruntime", "f32", "native", F32),
        (CPU, {"head": "onnx"}, "cpu", "onnxruntime", "f32", "onnx", F32),
        (CPU, {"precision": "int8"}, "cpu", "onnxruntime", "int8", "native", INT8),
        (INTEL, {"precision": "int8"}, "cpu", "onnxruntime", "int8", "native", INT8),
        (INTEL, {"precision": "int8", "backend": "openvino"}, "cpu", "openvino", "int8", "native", OPENVINO),
        (INTEL, {"precision": "bf16"}, "cpu", "openvino", "bf16", "native", F32),
        (INTEL, {"backend": "openvino"}, "cpu", "openvino", "f32", "native", F32),
        (H100, {}, "cuda:0", "onnxruntime", "fp16", "triton", FP16),
        (H100, {"device": "cpu"}, "cpu", "onnxruntime", "f32", "native", F32),
        (H100, {"precision": "f32"}, "cuda:0", "onnxruntime", "f32", "triton", F32),
        (H100, {"precision": "bf16"}, "cpu", "openvino", "bf16", "native", F32),
        (H100, {"precision": "int8"}, "cpu", "onnxruntime", "int8", "native", INT8),
        (H100, {"backend": "openvino"}, "cpu", "openvino", "f32", "native", F32),
        (H100, {"head": "native"}, "cpu", "onnxruntime", "f32", "native", F32),
        (H100, {"head": "onnx"}, "cuda:0", "onnxruntime", "fp16", "onnx", FP16),
        (V100, {}, "cuda:0", "onnxruntime", "fp16", "triton", LOGITS),
        (V100, {"head": "onnx"}, "cuda:0", "onnxruntime", "fp16", "onnx", FP16),
        (V100, {"precision": "f32"}, "cuda:0", "onnxruntime", "f32", "triton", F32),
        (MIXED, {"device": "cuda"}, "cuda:0", "onnxruntime", "fp16", "triton", FP16),
        (MIXED, {"device": "cuda:1"}, "cuda:1", "onnxruntime", "fp16", "triton", LOGITS),
        (OLD_GPU, {}, "cpu", "onnxruntime", "f32", "native", F32),
        (NO_TRITON, {}, "cuda:0", "onnxruntime", "fp16", "onnx", FP16),
        (CPU_TORCH, {}, "cuda:0", "onnxruntime", "fp16", "onnx", FP16),
    ],
)
def test_path(
    machine: Machine, options: dict[str, str], device: str, backend: str, precision: str, head: str, graph: str
) -> None:
    path = choose(machine, **options)
    assert (path.device, path.backend, path.precision, path.head, path.graph) == (
        device, backend, precision, head, graph,
    )  # fmt: skip
    assert path.gives_logits is (graph == LOGITS)


@pytest.mark.parametrize(
    ("machine", "files", "options", "precision", "head", "graph", "said"),
    [
        (PORTABLE, ALL, {}, "f32", "onnx", F32, "the compiled module does not load, reinstall with a C++ compiler"),
        (CPU, ALL, {}, "f32", "native", F32, "no GPU, the driver reports no NVIDIA GPU"),
        (CPU_WHEEL, ALL, {}, "f32", "native", F32, "no GPU, the installed ONNX Runtime runs on the CPU alone"),
        (NO_TRITON, ALL, {}, "fp16", "onnx", FP16, "Triton is not installed: pip install 'lexlip-infer[triton]'"),
        (CPU_TORCH, ALL, {}, "fp16", "onnx", FP16, "the installed torch does not work with the GPU"),
        (H100, (F32,), {}, "f32", "triton", F32, "the bundle has no fp16 image backbone, export the model again"),
        (V100, (F32, FP16), {}, "fp16", "onnx", FP16, f"the bundle has no {LOGITS} for Triton's lexicon_topk"),
        (V100, (F32,), {}, "f32", "triton", F32, "the bundle has no fp16 image backbone"),
        (H100, (F32, LOGITS), {}, "f32", "triton", F32, "the bundle has no fp16 image backbone"),
        (INTEL, (F32, OPENVINO), {"precision": "int8"}, "int8", "native", OPENVINO, "precision int8 runs on the CPU"),
        (V100, (F32, FP16), {"head": "triton"}, "fp16", "triton", FP16, "the Triton head was asked for"),
    ],
)
def test_every_fallback_is_explained(
    machine: Machine, files: tuple[str, ...], options: dict[str, str], precision: str, head: str, graph: str, said: str
) -> None:
    path = choose(machine, files, **options)
    assert (path.precision, path.head, path.graph) == (precision, head, graph)
    assert said in path.reason


@pytest.mark.parametrize(
    ("machine", "files", "options", "said"),
    [
        (CPU, ALL, {"device": "cuda"}, "device 'cuda' was asked for, but the driver reports no NVIDIA GPU: check"),
        (CPU_WHEEL, ALL, {"device": "cuda"}, "runs on the CPU alone: pip install 'lexlip-infer[gpu]' && pip"),
        (H100, ALL, {"device": "cuda:1"}, "device 'cuda:1' was asked for, but the driver reports 1 NVIDIA GPU, num"),
        (OLD_GPU, ALL, {"device": "cuda"}, "no code for a GPU of compute capability 7.0: install the extra 'gpu-v100'"),
        (CPU, ALL, {"precision": "fp16"}, "which is slower: use f32, int8 or bf16"),
        (H100, ALL, {"precision": "fp16", "device": "cpu"}, "(the CPU was asked for); a CPU computes fp16 in"),
        (CPU_WHEEL, ALL, {"precision": "fp16"}, "this runs on the CPU (no GPU, the installed ONNX Runtime runs on"),
        (CPU, ALL, {"cuda_graph": True}, "cuda_graph True was asked for, but this runs on the CPU (no GPU, the driver"),
        (H100, ALL, {"cuda_graph": True, "head": "native"}, "(head native runs on the CPU): leave it out"),
        (CPU, ALL, {"precision": "bf16", "backend": "onnxruntime"}, "no bf16 on a CPU: use backend='openvino'"),
        (CPU, (F32,), {"precision": "int8"}, f"has no {INT8}: export the model again with --precision int8"),
        (
            INTEL,
            (F32, INT8),
            {"precision": "int8", "backend": "openvino"},
            f"has no {OPENVINO}: python -m lexlip_export.add_openvino_int8",
        ),
        (INTEL, (F32, OPENVINO), {"precision": "int8", "backend": "onnxruntime"}, f"has no {INT8}: export"),
        (CPU, ALL, {"head": "triton"}, "it runs on NVIDIA GPUs alone: use head='native' or 'onnx'"),
        (PORTABLE, ALL, {"head": "native"}, "the compiled module does not load: reinstall lexlip-infer"),
        (H100, ALL, {"device": "cuda", "backend": "openvino"}, "it runs on CPUs here, not on cuda:0"),
        (H100, ALL, {"device": "cuda", "precision": "int8"}, "it runs on CPUs, not on cuda:0: use fp16 or f32"),
        (H100, ALL, {"device": "cuda", "precision": "bf16"}, "it runs on CPUs, not on cuda:0: use fp16 or f32"),
        (H100, ALL, {"device": "cuda", "head": "native"}, "not on cuda:0: use head='triton' or 'onnx'"),
        (NO_TRITON, ALL, {"head": "triton"}, "Triton is not installed: pip install 'lexlip-infer[triton]'"),
        (CPU_TORCH, ALL, {"head": "triton"}, "the installed torch does not work with the GPU: install a torch"),
        (H100, (F32,), {"precision": "fp16"}, f"has no {FP16}: export the model again with --precision fp16"),
    ],
)
def test_what_is_asked_for_and_cannot_be(
    machine: Machine, files: tuple[str, ...], options: dict[str, str], said: str
) -> None:
    with pytest.raises(BackendUnavailable) as raised:
        choose(machine, files, **options)
    assert said in str(raised.value)
    assert "was asked for, but" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"backend": "openvino"}])
def test_openvino_is_an_extra(options: dict[str, str]) -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'lexlip-infer\[openvino\]'"):
        choose(CPU, **options)


def test_no_such_tower() -> None:
    with pytest.raises(BundleError, match=r"has no onnx/image_backbone\.onnx: export the model again"):
        choose(CPU, ("onnx/text_backbone.onnx",))


DEVICES = ("auto", "cpu", "cuda", "cuda:1")
FILES = ((F32,), (F32, FP16), (F32, LOGITS), (F32, INT8), (F32, OPENVINO), ALL)


def wishes() -> list[RuntimeOptions]:
    return [RuntimeOptions(*names) for names in itertools.product(DEVICES, PRECISIONS, BACKENDS, HEADS)]


@pytest.mark.parametrize("machine", MACHINES)
def test_exhaustively(machine: Machine) -> None:
    """Whatever is asked for by name is what comes out, and nothing comes out that cannot run."""
    for options, files in itertools.product(wishes(), FILES):
        try:
            path = choose_path(options, machine, "image", files)
        except (BackendUnavailable, MissingExtra):
            assert options != RuntimeOptions(), "the default always runs"
            continue
        for name in ("precision", "backend", "head"):
            assert getattr(options, name) in ("auto", getattr(path, name)), (options, path)
        on_gpu = path.device.startswith("cuda:")
        number = int(path.device.removeprefix("cuda:")) if on_gpu else 0
        assert options.device in ("auto", path.device, path.device.partition(":")[0])
        assert not on_gpu or machine.cuda_refusal(number) is None
        assert (path.precision == "fp16") <= on_gpu
        assert (path.precision in ("int8", "bf16")) <= (not on_gpu)
        assert (path.head == "native") <= (machine.native and not on_gpu)
        assert (path.head == "triton") <= (on_gpu and machine.triton_refusal is None)
        assert (path.backend == "openvino") <= (machine.openvino and not on_gpu)
        assert path.gives_logits <= (path.head == "triton" and machine.gpus[number:][:1] == ((7, 0),))
        assert path.graph in files
        assert path.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, "device is 'gpu'; expected 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cuda:x"}, "device is 'cuda:x'"),
        ({"precision": "f16"}, "precision is 'f16'; expected one of 'auto', 'f32', 'fp16', 'bf16', 'int8'"),
        ({"backend": "tvm"}, "backend is 'tvm'; expected one of 'auto', 'onnxruntime', 'openvino'"),
        ({"head": ""}, "head is ''; expected one of 'auto', 'native', 'onnx', 'triton'"),
    ],
)
def test_misspelt(options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as raised:
        RuntimeOptions(**options)  # type: ignore[arg-type]
    assert said in str(raised.value)
