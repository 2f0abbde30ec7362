"""A tower on an NVIDIA GPU: which session, which head, and how many rows at once."""

from __future__ import annotations

from typing import NamedTuple

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.runtime.choice import PathChoice
from lexlip_infer.runtime.cuda_graphs import CudaGraphs
from lexlip_infer.runtime.cuda_heads import CudaOnnxHead, TritonHead, TritonTopK
from lexlip_infer.runtime.cuda_session import CudaSession, cuda_provider
from lexlip_infer.runtime.heads import Head
from lexlip_infer.runtime.options import RuntimeOptions
from lexlip_infer.runtime.out_of_memory import RowsAtOnce
from lexlip_infer.runtime.tower import INPUTS, Tower

__all__ = ["Placement", "open_cuda_tower", "placement", "rows_within"]

#: Bytes that the logits of one launch may take: 1 GiB.
_LOGITS_BYTES = 1 << 30


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
    return Tower(path, backbone, head, bundle.manifest.vocab_size, RowsAtOnce(limit))


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
        return TritonTopK()
    if path.head == "triton":
        return TritonHead(bundle, modality, half, place.torch_device)
    return CudaOnnxHead(CudaSession(bundle, *CudaOnnxHead.graph(modality, half), place.provider, place.memory))
