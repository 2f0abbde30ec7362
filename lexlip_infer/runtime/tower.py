"""A tower: backbone, then lexicon head, from model inputs to sparse vectors, on the path that was chosen for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.runtime.choice import PathChoice, choose_path
from lexlip_infer.runtime.heads import Head, NativeHead, OnnxHead, Ranked
from lexlip_infer.runtime.machine import look_around
from lexlip_infer.runtime.onnxruntime_session import CpuSession
from lexlip_infer.runtime.options import RuntimeOptions
from lexlip_infer.runtime.out_of_memory import RowsAtOnce
from lexlip_infer.vectors.sparse_batch import SparseBatch

__all__ = ["INPUTS", "Backbone", "Inputs", "Tower", "open_tower"]

Inputs = Mapping[str, npt.NDArray[Any]]
Backbone = Callable[[Inputs], list[Any]]

INPUTS = {"image": ("pixel_values",), "text": ("input_ids", "attention_mask")}


class Tower:
    """One modality of a model.

    Args:
        path: what runs it, for people.
        backbone: model inputs to hidden states, or logits, wherever the head wants them.
        head: those to ids and weights by rank.
        vocab_size: V.
        rows: how many rows go through at once.
    """

    def __init__(
        self, path: PathChoice, backbone: Backbone, head: Head, vocab_size: int, rows: RowsAtOnce | None = None
    ) -> None:
        self.path = path
        self.backbone = backbone
        self.head = head
        self._vocab_size = vocab_size
        self._rows = rows or RowsAtOnce()

    def __call__(self, inputs: Inputs, top_k: int) -> SparseBatch:
        """Un-normalised weights of the `top_k` heaviest terms of each row.

        Args:
            inputs: `pixel_values` (B, 3, S, S) float32, or `input_ids` and `attention_mask` (B, L) int64.
            top_k: terms to keep; V or more keeps all positive ones.

        Raises:
            BundleError: the graph fails on these inputs.
            BackendUnavailable: the device has no memory for a single row.
        """
        count = len(next(iter(inputs.values())))
        if count == 0:
            empty = np.zeros((0, 0))
            return SparseBatch.from_ranked(empty.astype(np.int64), empty, self._vocab_size)
        parts = self._rows.run(count, lambda rows: self._ranked(inputs, rows, top_k))
        return SparseBatch.concatenate([SparseBatch.from_ranked(*part, self._vocab_size) for part in parts])

    def with_parts(self, backbone: Backbone, head: Head) -> Tower:
        """The same tower around other callables: these parts again, and something that watches them."""
        return Tower(self.path, backbone, head, self._vocab_size, self._rows)

    def _ranked(self, inputs: Inputs, rows: slice, top_k: int) -> Ranked:
        part = _without_shared_padding({name: value[rows] for name, value in inputs.items()})
        (hidden,) = self.backbone(part)
        return self.head(hidden, part.get("attention_mask"), top_k)


def _without_shared_padding(inputs: Inputs) -> Inputs:
    """Texts cut to the longest of these rows: a slice of a batch may be shorter than the batch."""
    if "attention_mask" not in inputs:
        return inputs
    length = int(np.flatnonzero(inputs["attention_mask"].any(axis=0)).max(initial=1)) + 1
    return {name: np.ascontiguousarray(value[:, :length]) for name, value in inputs.items()}


def open_tower(bundle: Bundle, modality: Modality, options: RuntimeOptions) -> Tower:
    """Load a tower on the best path that runs here, or on the one asked for.

    Raises:
        BackendUnavailable: what was asked for cannot run here.
        MissingExtra: it needs a package that is not installed.
        BundleError: a file is missing, damaged, or not what the format says.
    """
    path = choose_path(options, look_around(), modality, bundle.manifest.files)
    if path.device != "cpu":
        from lexlip_infer.runtime.cuda_tower import open_cuda_tower

        return open_cuda_tower(bundle, modality, options, path)
    # The head first: reading its decoder takes twice its memory, which the backbone can then use.
    head = _cpu_head(bundle, modality, options, path)
    backbone = _cpu_backbone(bundle, modality, options, path)
    return Tower(path, backbone, head, bundle.manifest.vocab_size, RowsAtOnce(_limit(path)))


def _limit(path: PathChoice) -> int | None:
    """ONNX Runtime's int8 scales activations by the largest of the batch, so a vector would depend on its neighbours.

    One row at a time it does not, and where a row fills the cores, as an image does, that costs nothing.
    """
    return 1 if (path.backend, path.precision) == ("onnxruntime", "int8") else None


def _cpu_head(bundle: Bundle, modality: Modality, options: RuntimeOptions, path: PathChoice) -> Head:
    if path.head == "native":
        return NativeHead(bundle, modality, options.thread_count)
    return OnnxHead(bundle, modality, options.thread_count, options.memory_arena)


def _cpu_backbone(bundle: Bundle, modality: Modality, options: RuntimeOptions, path: PathChoice) -> Backbone:
    inputs, threads = INPUTS[modality], options.thread_count
    if path.backend == "onnxruntime":
        return CpuSession(bundle, path.graph, inputs, ("hidden",), threads, options.memory_arena)
    from lexlip_infer.runtime.openvino_session import OpenVINOSession

    assert path.precision != "fp16", "refused by choose_path"
    # Streams gain little elsewhere, and cost the memory of a second compiled model.
    share_rows = (modality, path.precision) == ("image", "int8")
    return OpenVINOSession(bundle, path.graph, inputs, path.precision, threads, share_rows)
