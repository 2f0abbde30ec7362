"""What a caller may decide about where and how a model runs; `choice.py` turns it into a path."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lexlip_infer.errors import InputError
from lexlip_infer.runtime.threads import thread_count

__all__ = ["BACKENDS", "HEADS", "PRECISIONS", "RuntimeOptions"]

PRECISIONS = ("auto", "f32", "fp16", "bf16", "int8")
BACKENDS = ("auto", "onnxruntime", "openvino")
HEADS = ("auto", "native", "onnx", "triton")


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
