"""The lexicon heads of NVIDIA GPUs. The backbone's output is taken where it lies; only ids and weights leave the GPU.

Importing this file imports nothing heavy; its classes import torch, and Triton with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.errors import require
from lexlip_infer.runtime.cuda_session import CudaSession
from lexlip_infer.runtime.decoder import read_decoder
from lexlip_infer.runtime.heads import Ranked, head_inputs
from lexlip_infer.runtime.out_of_memory import DeviceOutOfMemory, is_out_of_memory

__all__ = ["CudaOnnxHead", "TritonHead", "TritonTopK"]


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

        from lexlip_kernels.lexicon_head import TensorDecoder

        weight, bias = (torch.from_numpy(array) for array in read_decoder(bundle, modality))
        self._decoder = TensorDecoder(weight.to(device, torch.float16 if half else torch.float32), bias.to(device))

    def __call__(self, hidden: Any, mask: npt.NDArray[np.int64] | None, top_k: int) -> Ranked:
        """The heaviest terms; `hidden` speaks DLPack."""
        from torch.utils.dlpack import from_dlpack

        from lexlip_kernels.lexicon_head import lexicon_head

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
