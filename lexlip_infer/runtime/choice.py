"""What a caller may ask for, and which path a tower takes: a pure function of that, the machine, and the bundle.

    CPU            ONNX Runtime float32, or int8 where the bundle prefers it or it is asked for, or OpenVINO where bf16
                   or its int8 is; native head
    GPU, sm_80+    ONNX Runtime fp16; Triton lexicon_head on the hidden states
    GPU before     ONNX Runtime fp16 up to the logits, because Triton has no tensor cores there; Triton lexicon_topk

What is asked for by name is taken or refused. What is left to "auto" falls back in a fixed order, and the reason says
so: the native head to the ONNX head where the compiled module does not load, Triton to the ONNX head where torch or
Triton is absent. Nothing is decided by catching an exception.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from lexlip_infer.bundle import Modality, Precision, backbone_file
from lexlip_infer.errors import BackendUnavailable, BundleError, InputError, MissingExtra
from lexlip_infer.runtime.machine import Machine, thread_count

PRECISIONS = ("auto", "f32", "fp16", "bf16", "int8")
BACKENDS = ("auto", "onnxruntime", "openvino")
HEADS = ("auto", "native", "onnx", "triton")

_EXPORT = "export the model again with --precision"


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Wishes; `"auto"` takes the best that runs here, anything else is taken or refused.

    Attributes:
        device: `"auto"`, `"cpu"`, `"cuda"` (the first GPU) or `"cuda:N"`.
        precision: of the backbone. Heads compute in float32, but for fp16 on a GPU.
        backend: what runs the backbone.
        head: what runs the lexicon head.
        threads: of the CPU's operators and of image decoding; all available when absent.
        memory_arena: let ONNX Runtime keep freed memory of the CPU for the next batch; without, slower and smaller.
        cuda_graph: record a CUDA graph for every shape that occurs, and replay it: less work for the CPU where batches
            are small and of few shapes. Each shape keeps its memory. GPUs only.

    Raises:
        InputError: there is no such option.
    """

    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    head: str = "auto"
    threads: int | None = None
    memory_arena: bool = True
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        for name, known in (("precision", PRECISIONS), ("backend", BACKENDS), ("head", HEADS)):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", str(self.device)):
            raise InputError(f"device is {self.device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
        thread_count(self.threads)

    @property
    def thread_count(self) -> int:
        """Threads to use."""
        return thread_count(self.threads)

    @property
    def cpu_reason(self) -> str | None:
        """Why this asks for the CPU; None where a GPU may do it."""
        if self.device == "cpu":
            return "the CPU was asked for"
        for name in ("precision", "backend", "head"):
            if self.device == "auto" and (value := getattr(self, name)) in ("bf16", "int8", "openvino", "native"):
                return f"{name} {value} runs on the CPU"
        return None


@dataclass(frozen=True, slots=True)
class PathChoice:
    """How a tower runs.

    Attributes:
        device: `"cpu"` or `"cuda:N"`.
        backend: what runs the backbone.
        precision: of the backbone.
        head: what runs the lexicon head.
        graph: the backbone's file in the bundle; it ends in hidden states, or on older GPUs in logits.
        reason: why, for people.
    """

    device: str
    backend: Literal["onnxruntime", "openvino"]
    precision: Literal["f32", "fp16", "bf16", "int8"]
    head: Literal["native", "onnx", "triton"]
    graph: str
    reason: str

    @property
    def gives_logits(self) -> bool:
        """Whether the backbone's graph holds the decoder as well."""
        return "_logits_" in self.graph


#: Of texts whose terms are looked up: no backbone runs, and no head.
LOOKUP_PATH = PathChoice("cpu", "onnxruntime", "f32", "native", "", "its texts are looked up; no model runs")


def openvino_file(modality: Modality) -> str:
    """Path of the int8 backbone that OpenVINO reads; its weights lie beside it in `.bin`."""
    return f"openvino/{modality}_backbone_int8.xml"


def logits_file(modality: Modality) -> str:
    """Path of the fp16 graph whose output is the logits (B, L, V)."""
    return f"onnx/{modality}_logits_fp16.onnx"


#: What `Manifest.cpu_precision` is where a bundle prefers nothing.
_NO_PREFERENCE: Mapping[Modality, Precision] = {}


def choose_path(
    options: RuntimeOptions,
    machine: Machine,
    modality: Modality,
    files: Collection[str],
    preferred: Mapping[Modality, Precision] = _NO_PREFERENCE,
) -> PathChoice:
    """Choose.

    Args:
        options: what was asked for.
        machine: what runs here.
        modality: of the tower.
        files: what the bundle holds, by path.
        preferred: its manifest's `cpu_precision`.

    Raises:
        BackendUnavailable: something asked for by name cannot run here, or the bundle does not hold it.
        BundleError: the bundle has no such tower.
        MissingExtra: it needs a package that is not installed.
    """
    number, why = _device(options, machine)
    if number is None and options.cuda_graph:
        raise _unavailable("cuda_graph", True, f"this runs on the CPU ({why}): leave it out")
    if number is None:
        if options.precision == "auto" and options.backend != "openvino" and preferred.get(modality) == "int8":
            options = replace(options, precision="int8", backend="onnxruntime")
            why += "; int8 is this bundle's precision on CPUs, f32 is there for the asking"
        return _on_cpu(options, machine, modality, files, why)
    return _on_gpu(options, machine, modality, files, number)


def choose_any_path(
    options: RuntimeOptions,
    machine: Machine,
    modalities: Iterable[Modality],
    files: Collection[str],
    preferred: Mapping[Modality, Precision] = _NO_PREFERENCE,
) -> PathChoice:
    """The path of the first tower that can run as asked; errors as for `choose_path`, of the first of all."""
    refusals = []
    for modality in modalities:
        try:
            return choose_path(options, machine, modality, files, preferred)
        except BackendUnavailable as error:
            refusals.append(error)
    raise refusals[0]


def _device(options: RuntimeOptions, machine: Machine) -> tuple[int | None, str]:
    """Number of the GPU, or None for the CPU; and why."""
    if options.cpu_reason is not None:
        return None, options.cpu_reason
    if options.device == "auto":
        refusal = machine.cuda_refusal()
        return (0, "") if refusal is None else (None, f"no GPU, {refusal.split(':')[0]}")
    number = int(options.device.partition(":")[2] or 0)
    if (refusal := machine.cuda_refusal(number)) is not None:
        raise _unavailable("device", options.device, refusal)
    return number, ""


def _on_cpu(
    options: RuntimeOptions, machine: Machine, modality: Modality, files: Collection[str], why: str
) -> PathChoice:
    if options.precision == "fp16":
        slower = "a CPU computes fp16 in float32 behind conversions, which is slower: use f32, int8 or bf16"
        raise _unavailable("precision", "fp16", f"this runs on the CPU ({why}); {slower}")
    backend, precision, graph = _cpu_backbone(options, machine, modality, files)
    head, head_reason = _cpu_head(options, machine)
    return PathChoice("cpu", backend, precision, head, graph, f"{why}; {head_reason}")


def _cpu_backbone(
    options: RuntimeOptions, machine: Machine, modality: Modality, files: Collection[str]
) -> tuple[Literal["onnxruntime", "openvino"], Literal["f32", "bf16", "int8"], str]:
    precision, backend = options.precision, options.backend
    f32 = _stored(modality, "f32", files)
    if precision == "int8":
        return _cpu_int8(options, machine, modality, files)
    if precision == "bf16" and backend == "onnxruntime":
        raise _unavailable("precision", precision, "ONNX Runtime has no bf16 on a CPU: use backend='openvino'")
    if precision == "bf16" or backend == "openvino":
        _require_openvino(machine)
        return "openvino", "bf16" if precision == "bf16" else "f32", f32
    return "onnxruntime", "f32", f32


def _cpu_int8(
    options: RuntimeOptions, machine: Machine, modality: Modality, files: Collection[str]
) -> tuple[Literal["onnxruntime", "openvino"], Literal["int8"], str]:
    """ONNX Runtime's file where the bundle has it, else OpenVINO's, which is a different model: other roundings."""
    onnx, openvino = backbone_file(modality, "int8"), openvino_file(modality)
    if options.backend != "openvino" and onnx in files:
        return "onnxruntime", "int8", onnx
    if options.backend != "onnxruntime" and openvino in files:
        _require_openvino(machine)
        return "openvino", "int8", openvino
    if options.backend == "openvino":
        cure = "python -m lexlip_export.add_openvino_int8 adds it"
        raise _unavailable("precision", "int8", f"the bundle has no {openvino}: {cure}, or use another precision")
    raise _unavailable("precision", "int8", f"the bundle has no {onnx}: {_EXPORT} int8, or use another precision")


def _cpu_head(options: RuntimeOptions, machine: Machine) -> tuple[Literal["native", "onnx"], str]:
    if options.head == "triton":
        raise _unavailable("head", "triton", "it runs on NVIDIA GPUs alone: use head='native' or 'onnx'")
    if options.head == "onnx":
        return "onnx", "the ONNX head was asked for"
    if machine.native:
        return "native", "the compiled module loads"
    if options.head == "native":
        raise _unavailable("head", "native", "the compiled module does not load: reinstall lexlip-infer, or use 'onnx'")
    return "onnx", "the compiled module does not load, reinstall with a C++ compiler to get the faster native head"


def _on_gpu(
    options: RuntimeOptions, machine: Machine, modality: Modality, files: Collection[str], number: int
) -> PathChoice:
    device = f"cuda:{number}"
    if options.backend == "openvino":
        raise _unavailable("backend", "openvino", f"it runs on CPUs here, not on {device}: use device='cpu'")
    if options.precision in ("int8", "bf16"):
        raise _unavailable("precision", options.precision, f"it runs on CPUs, not on {device}: use fp16 or f32")
    if options.head == "native":
        raise _unavailable("head", "native", f"it runs on CPUs, not on {device}: use head='triton' or 'onnx'")
    older = machine.gpus[number] < (8, 0)
    if older and _takes_logits(options, machine, modality, files):
        reason = "Triton lexicon_topk on logits, because Triton multiplies without tensor cores before sm_80"
        return PathChoice(device, "onnxruntime", "fp16", "triton", logits_file(modality), reason)
    precision, why = _gpu_precision(options, modality, files)
    head, head_why = _gpu_head(options, machine, logits_file(modality) if older and precision == "fp16" else None)
    return PathChoice(device, "onnxruntime", precision, head, _stored(modality, precision, files), f"{why}; {head_why}")


def _takes_logits(options: RuntimeOptions, machine: Machine, modality: Modality, files: Collection[str]) -> bool:
    wanted = options.precision in ("auto", "fp16") and options.head in ("auto", "triton")
    return wanted and machine.triton_refusal is None and logits_file(modality) in files


def _gpu_precision(
    options: RuntimeOptions, modality: Modality, files: Collection[str]
) -> tuple[Literal["f32", "fp16"], str]:
    if options.precision == "f32":
        return "f32", "float32 was asked for"
    if options.precision == "fp16" or backbone_file(modality, "fp16") in files:
        return "fp16", "fp16 is fastest on a GPU"
    return "f32", f"the bundle has no fp16 {modality} backbone, {_EXPORT} fp16"


def _gpu_head(
    options: RuntimeOptions, machine: Machine, logits_missing: str | None
) -> tuple[Literal["triton", "onnx"], str]:
    refusal = machine.triton_refusal
    if options.head == "onnx":
        return "onnx", "the ONNX head was asked for"
    if options.head == "triton":
        if refusal is not None:
            raise _unavailable("head", "triton", refusal)
        return "triton", "the Triton head was asked for"
    if refusal is not None:
        return "onnx", f"ONNX head, {refusal}"
    if logits_missing is not None:
        return "onnx", f"ONNX head, because the bundle has no {logits_missing} for Triton's lexicon_topk"
    return "triton", "Triton lexicon_head"


def _stored(modality: Modality, precision: Precision, files: Collection[str]) -> str:
    name = backbone_file(modality, precision)
    if name in files:
        return name
    if precision == "f32":  # which every tower has
        raise BundleError(f"the bundle has no {name}: export the model again with its {modality} tower")
    raise _unavailable("precision", precision, f"the bundle has no {name}: {_EXPORT} {precision}")


def _require_openvino(machine: Machine) -> None:
    if not machine.openvino:
        raise MissingExtra(
            "openvino is not installed; it comes with the extra 'openvino': pip install 'lexlip-infer[openvino]'"
        )


def _unavailable(name: str, value: str | bool, refusal: str) -> BackendUnavailable:
    return BackendUnavailable(f"{name} {value!r} was asked for, but {refusal}")
