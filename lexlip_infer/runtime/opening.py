"""Loads a tower on the path that was chosen for it: which session, which head, and how many rows at once."""

from __future__ import annotations

from typing import NamedTuple

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.runtime.choice import PathChoice, RuntimeOptions, choose_path
from lexlip_infer.runtime.cuda_session import CudaGraphs, CudaSession, cuda_provider
from lexlip_infer.runtime.head_contract import HeadContract
from lexlip_infer.runtime.heads import CudaOnnxHead, NativeHead, OnnxHead, TritonHead, TritonTopK
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.onnxruntime_session import CpuSession
from lexlip_infer.runtime.openvino_session import OpenVINOSession
from lexlip_infer.runtime.tower import INPUTS, Backbone, Head, RowsAtOnce, TextRows, Tower

#: Bytes that the logits of one launch may take: 1 GiB.
_LOGITS_BYTES = 1 << 30

#: The operator of dynamic int8, which no graph of static int8 has.
_DYNAMIC = b"DynamicQuantizeLinear"


def open_tower(bundle: Bundle, modality: Modality, options: RuntimeOptions) -> Tower:
    """Load a tower on the best path that runs here, or on the one asked for.

    Raises:
        BackendUnavailable: what was asked for cannot run here.
        MissingExtra: it needs a package that is not installed.
        BundleError: a file is missing, damaged, or not what the format says.
    """
    path = choose_path(
        options, look_around(options.cpu_reason is None), modality, bundle.manifest.files, bundle.manifest.cpu_precision
    )
    if path.device != "cpu":
        return open_cuda_tower(bundle, modality, options, path)
    # The head first: reading its decoder takes twice its memory, which the backbone can then use.
    head = _cpu_head(bundle, modality, options, path)
    backbone = _cpu_backbone(bundle, modality, options, path)
    rows = RowsAtOnce(_limit(bundle, path))
    return Tower(path, backbone, head, bundle.manifest.vocab_size, rows, _texts(bundle, modality))


def _limit(bundle: Bundle, path: PathChoice) -> int | None:
    """Dynamic int8 scales activations by the largest of the batch, so a vector would depend on its neighbours.

    One row at a time it does not. The ranges of static int8 are fixed, and batches are faster.
    """
    if (path.backend, path.precision) != ("onnxruntime", "int8"):
        return None
    return 1 if _DYNAMIC in bundle.read(path.graph) else None


def _cpu_head(bundle: Bundle, modality: Modality, options: RuntimeOptions, path: PathChoice) -> Head:
    if path.head == "native":
        return NativeHead(bundle, modality, options.thread_count)
    return OnnxHead(bundle, modality, options.thread_count, options.memory_arena)


def _cpu_backbone(bundle: Bundle, modality: Modality, options: RuntimeOptions, path: PathChoice) -> Backbone:
    inputs, threads = INPUTS[modality], options.thread_count
    if path.backend == "onnxruntime":
        return CpuSession(bundle, path.graph, inputs, ("hidden",), threads, options.memory_arena)
    assert path.precision != "fp16", "refused by choose_path"
    # Streams gain little elsewhere, and cost the memory of a second compiled model.
    share_rows = (modality, path.precision) == ("image", "int8")
    return OpenVINOSession(bundle, path.graph, inputs, path.precision, threads, share_rows)


class Placement(NamedTuple):
    """Where a tower lies, in everybody's words.

    Attributes:
        provider: of ONNX Runtime, with its options.
        memory: ONNX Runtime's device and its number.
        torch_device: torch's name of it.
    """

    provider: tuple[str, dict[str, str]]
    memory: tuple[str, int]
    torch_device: str


def placement(path: PathChoice, cuda_graph: bool) -> Placement:
    """Of the GPU that a path names."""
    number = int(path.device.removeprefix("cuda:"))
    return Placement(cuda_provider(number, cuda_graph), ("cuda", number), path.device)


def open_cuda_tower(bundle: Bundle, modality: Modality, options: RuntimeOptions, path: PathChoice) -> Tower:
    """Load a tower on the GPU that `path` names; errors as for `open_tower`."""
    output = "logits" if path.gives_logits else "hidden"
    place = placement(path, options.cuda_graph)
    session = CudaSession(bundle, path.graph, INPUTS[modality], (output,), place.provider, place.memory)
    backbone = CudaGraphs(session) if options.cuda_graph else session
    head = _head(bundle, modality, path)
    limit = rows_within(_tokens(bundle, session, modality), bundle.manifest.vocab_size) if path.gives_logits else None
    return Tower(path, backbone, head, bundle.manifest.vocab_size, RowsAtOnce(limit), _texts(bundle, modality))


def rows_within(tokens: int, vocab_size: int) -> int:
    """Rows whose fp16 logits (B, L, V) stay under 1 GiB; at least one."""
    return max(1, (_LOGITS_BYTES - 1) // (2 * tokens * vocab_size))


def _tokens(bundle: Bundle, session: CudaSession, modality: Modality) -> int:
    """Most tokens of a row."""
    if modality == "text":
        assert bundle.manifest.text is not None
        return bundle.manifest.text.max_length
    return session.fixed_length("logits", axis=1)


def _head(bundle: Bundle, modality: Modality, path: PathChoice) -> Head:
    place = placement(path, cuda_graph=False)  # the head's k may differ from call to call
    half = path.precision == "fp16"
    if path.gives_logits:
        return TritonTopK(HeadContract.of(bundle, modality))
    if path.head == "triton":
        return TritonHead(bundle, modality, half, place.torch_device)
    graph = CudaOnnxHead.graph(bundle, modality, half)
    return CudaOnnxHead(CudaSession(bundle, *graph, place.provider, place.memory), graph[1])


def _texts(bundle: Bundle, modality: Modality) -> TextRows:
    """What a tower does to texts before its backbone and gives its head."""
    text = bundle.manifest.text
    if modality == "image" or text is None:
        return TextRows()
    return TextRows(text.max_length if text.admit_padding else None, text.keep_own_tokens)
