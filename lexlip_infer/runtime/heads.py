"""The lexicon heads: hidden states (B, L, H), or logits (B, L, V), to ids and weights of the heaviest terms, by rank.

On the CPU the native head multiplies the few terms that can matter, the ONNX head every term, a tile at a time. On an
NVIDIA GPU the backbone's output is taken where it lies, and only ids and weights leave it. Where the weights of two
terms differ by more than rounding, all rank them alike. Importing this file imports neither torch nor Triton; the
classes that need them do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import require
from lexlip_infer.runtime.cuda_session import CudaSession
from lexlip_infer.runtime.head_weights import read_decoder
from lexlip_infer.runtime.onnxruntime_session import CpuSession
from lexlip_infer.runtime.tower import DeviceOutOfMemory, Ranked, is_out_of_memory
from lexlip_kernels.lexicon_head import PackedDecoder, TensorDecoder, lexicon_head


class NativeHead:
    """The C++ head, in its exact mode; holds the decoder in float32 and, a quarter as large, in int8.

    Raises:
        BundleError: the decoder is damaged.
    """

    def __init__(self, bundle: Bundle, modality: Modality, threads: int) -> None:
        self._decoder = PackedDecoder.pack(*read_decoder(bundle, modality), threads)
        self._threads = threads

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """As `Head` says."""
        k = min(top_k, self._decoder.vocab_size)
        terms = lexicon_head(hidden, self._decoder, mask, k=k, threads=self._threads, backend="native")
        return terms.ids, terms.weights


class OnnxHead:
    """The bundle's vocabulary-tiled graph.

    Raises:
        BundleError: the graph is missing, damaged, or not what the format says.
    """

    def __init__(self, bundle: Bundle, modality: Modality, threads: int, memory_arena: bool) -> None:
        name = f"onnx/{modality}_head.onnx"
        self._session = CpuSession(bundle, name, head_inputs(modality), ("ids", "weights"), threads, memory_arena)

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """As `Head` says."""
        masks = {} if mask is None else {"attention_mask": mask}
        ids, weights = self._session({"hidden": hidden, "k": np.array([top_k], np.int64)} | masks)
        return ids, weights


def head_inputs(modality: Modality) -> tuple[str, ...]:
    """Names that a head's graph takes; images have no padding."""
    return ("hidden", "k") if modality == "image" else ("hidden", "attention_mask", "k")


class TritonHead:
    """Triton `lexicon_head` on hidden states: product, maximum and top-k without logits.

    Args:
        bundle: holds the decoder.
        modality: of the head.
        half: multiply in float16, on tensor cores; else in float32.
        device: torch's name of the GPU.

    Raises:
        MissingExtra: torch or Triton is not installed.
        BundleError: the decoder is damaged.
    """

    def __init__(self, bundle: Bundle, modality: Modality, half: bool, device: str) -> None:
        for module in ("torch", "triton"):
            require(module, extra="triton")
        import torch

        weight, bias = (torch.from_numpy(array) for array in read_decoder(bundle, modality))
        self._decoder = TensorDecoder(weight.to(device, torch.float16 if half else torch.float32), bias.to(device))

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """The heaviest terms; `hidden` speaks DLPack."""
        from torch.utils.dlpack import from_dlpack

        try:
            tensor = from_dlpack(hidden).to(self._decoder.weight.dtype)
            mask_there = _mask(mask, tensor.device)
            return _to_host(*lexicon_head(tensor, self._decoder, mask_there, k=top_k, backend="triton"))
        except RuntimeError as error:
            raise _out_of_memory(error) from None


class TritonTopK:
    """Triton `lexicon_topk` on logits, which cuBLAS has made.

    Raises:
        MissingExtra: torch or Triton is not installed.
    """

    def __init__(self) -> None:
        for module in ("torch", "triton"):
            require(module, extra="triton")

    def __call__(self, logits: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """The heaviest terms; `logits` (B, L, V) speak DLPack."""
        from torch.utils.dlpack import from_dlpack

        from lexlip_kernels.lexicon_topk import lexicon_topk

        try:
            tensor = from_dlpack(logits)
            return _to_host(*lexicon_topk(tensor, top_k, _mask(mask, tensor.device), backend="triton"))
        except RuntimeError as error:
            raise _out_of_memory(error) from None


class CudaOnnxHead:
    """The bundle's vocabulary-tiled graph on the GPU, where there is no Triton.

    Args:
        session: of the head's graph.
    """

    def __init__(self, session: CudaSession) -> None:
        self._session = session

    @staticmethod
    def graph(modality: Modality, half: bool) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """File, inputs and outputs of the graph that belongs to a backbone of this precision."""
        return f"onnx/{modality}_head{'_fp16' if half else ''}.onnx", head_inputs(modality), ("ids", "weights")

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """The heaviest terms; `hidden` is an `OrtValue`."""
        masks = {} if mask is None else {"attention_mask": mask}
        ids, weights = self._session({"hidden": hidden, "k": np.array([top_k], np.int64)} | masks)
        return ids.numpy(), weights.numpy()


def _mask(mask: npt.NDArray[np.int64] | None, device: Any) -> Any:
    import torch

    return None if mask is None else torch.from_numpy(np.ascontiguousarray(mask)).to(device)


def _to_host(ids: Any, weights: Any, counts: Any) -> Ranked:  # noqa: ARG001  (padding says the same as counts)
    return ids.cpu().numpy(), weights.cpu().numpy()


def _out_of_memory(error: RuntimeError) -> Exception:
    """An allocation that failed, as what halves the batch; any other error as it is."""
    if not is_out_of_memory(error):
        return error
    import torch

    torch.cuda.empty_cache()  # what torch keeps for itself, ONNX Runtime cannot have
    return DeviceOutOfMemory(f"the lexicon head ran out of GPU memory: {str(error).splitlines()[0]}")
