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
from lexlip_infer.runtime.head_contract import HeadContract
from lexlip_infer.runtime.head_weights import read_decoder
from lexlip_infer.runtime.onnxruntime_session import CpuSession
from lexlip_infer.runtime.tower import DeviceOutOfMemory, Ranked, is_out_of_memory
from lexlip_kernels.lexicon_head import PackedDecoder, TensorDecoder, lexicon_head

_Ids = npt.NDArray[np.int64]


class NativeHead:
    """The C++ head, in its exact mode; holds the decoder in float32 and, a quarter as large, in int8.

    Raises:
        BundleError: the decoder is damaged.
    """

    def __init__(self, bundle: Bundle, modality: Modality, threads: int) -> None:
        self._decoder = PackedDecoder.pack(*read_decoder(bundle, modality), threads)
        self._contract = HeadContract.of(bundle, modality)
        self._threads = threads

    def __call__(self, hidden: Any, mask: _Ids | None, top_k: int, input_ids: _Ids | None = None) -> Ranked:
        """As `Head` says."""
        terms = lexicon_head(
            hidden,
            self._decoder,
            self._contract.taking_part(mask),
            k=min(top_k, self._decoder.vocab_size),
            rule=self._contract.rule,
            own=self._contract.own(mask, input_ids),
            threads=self._threads,
            backend="native",
        )
        return terms.ids, terms.weights


class OnnxHead:
    """The bundle's vocabulary-tiled graph.

    Raises:
        BundleError: the graph is missing, damaged, or not what the format says.
    """

    def __init__(self, bundle: Bundle, modality: Modality, threads: int, memory_arena: bool) -> None:
        name = f"onnx/{modality}_head.onnx"
        self._names = head_inputs(bundle, modality)
        self._session = CpuSession(bundle, name, self._names, ("ids", "weights"), threads, memory_arena)

    def __call__(self, hidden: Any, mask: _Ids | None, top_k: int, input_ids: _Ids | None = None) -> Ranked:
        """As `Head` says."""
        ids, weights = self._session(_fed(self._names, hidden, mask, top_k, input_ids))
        return ids, weights


def head_inputs(bundle: Bundle, modality: Modality) -> tuple[str, ...]:
    """Names that a head's graph takes; images have no padding, and token ids are for those who keep own terms."""
    if modality == "image":
        return ("hidden", "k")
    own = bundle.manifest.text is not None and bundle.manifest.text.keep_own_tokens
    return ("hidden", "attention_mask", "input_ids", "k") if own else ("hidden", "attention_mask", "k")


def _fed(names: tuple[str, ...], hidden: Any, mask: _Ids | None, top_k: int, input_ids: _Ids | None) -> dict[str, Any]:
    """What a head's graph is given."""
    given = {"hidden": hidden, "attention_mask": mask, "input_ids": input_ids, "k": np.array([top_k], np.int64)}
    return {name: given[name] for name in names}


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

        self._contract = HeadContract.of(bundle, modality)
        weight, bias = (torch.from_numpy(array) for array in read_decoder(bundle, modality))
        self._decoder = TensorDecoder(weight.to(device, torch.float16 if half else torch.float32), bias.to(device))

    def __call__(self, hidden: Any, mask: _Ids | None, top_k: int, input_ids: _Ids | None = None) -> Ranked:
        """The heaviest terms; `hidden` speaks DLPack."""
        from torch.utils.dlpack import from_dlpack

        try:
            tensor = from_dlpack(hidden).to(self._decoder.weight.dtype)
            mask_there = _there(self._contract.taking_part(mask), tensor.device)
            own = _there(self._contract.own(mask, input_ids), tensor.device)
            rule = self._contract.rule
            return _to_host(
                *lexicon_head(tensor, self._decoder, mask_there, k=top_k, rule=rule, own=own, backend="triton")
            )
        except RuntimeError as error:
            raise _out_of_memory(error) from None


class TritonTopK:
    """Triton `lexicon_topk` on logits, which cuBLAS has made.

    Args:
        contract: of the head.

    Raises:
        MissingExtra: torch or Triton is not installed.
    """

    def __init__(self, contract: HeadContract) -> None:
        self._contract = contract
        for module in ("torch", "triton"):
            require(module, extra="triton")

    def __call__(self, logits: Any, mask: _Ids | None, top_k: int, input_ids: _Ids | None = None) -> Ranked:
        """The heaviest terms; `logits` (B, L, V) speak DLPack."""
        from torch.utils.dlpack import from_dlpack

        from lexlip_kernels.lexicon_topk import lexicon_topk

        try:
            tensor = from_dlpack(logits)
            mask_there = _there(self._contract.taking_part(mask), tensor.device)
            own = _there(self._contract.own(mask, input_ids), tensor.device)
            rule = self._contract.rule
            return _to_host(*lexicon_topk(tensor, top_k, mask_there, backend="triton", rule=rule, own=own))
        except RuntimeError as error:
            raise _out_of_memory(error) from None


class CudaOnnxHead:
    """The bundle's vocabulary-tiled graph on the GPU, where there is no Triton.

    Args:
        session: of the head's graph.
        names: of its inputs.
    """

    def __init__(self, session: CudaSession, names: tuple[str, ...]) -> None:
        self._session = session
        self._names = names

    @staticmethod
    def graph(bundle: Bundle, modality: Modality, half: bool) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """File, inputs and outputs of the graph that belongs to a backbone of this precision."""
        return f"onnx/{modality}_head{'_fp16' if half else ''}.onnx", head_inputs(bundle, modality), ("ids", "weights")

    def __call__(self, hidden: Any, mask: _Ids | None, top_k: int, input_ids: _Ids | None = None) -> Ranked:
        """The heaviest terms; `hidden` is an `OrtValue`."""
        ids, weights = self._session(_fed(self._names, hidden, mask, top_k, input_ids))
        return ids.numpy(), weights.numpy()


def _there(array: _Ids | None, device: Any) -> Any:
    import torch

    return None if array is None else torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _to_host(ids: Any, weights: Any, counts: Any) -> Ranked:  # noqa: ARG001  (padding says the same as counts)
    return ids.cpu().numpy(), weights.cpu().numpy()


def _out_of_memory(error: RuntimeError) -> Exception:
    """An allocation that failed, as what halves the batch; any other error as it is."""
    if not is_out_of_memory(error):
        return error
    import torch

    torch.cuda.empty_cache()  # what torch keeps for itself, ONNX Runtime cannot have
    return DeviceOutOfMemory(f"the lexicon head ran out of GPU memory: {str(error).splitlines()[0]}")
