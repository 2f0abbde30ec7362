"""lexicon_head: hidden states to the k heaviest terms of each row, without ever holding logits (B, L, V).

    weights[v] = log1p(relu(max over tokens l of (hidden[l] . weight[v]) + bias[v]))

The maximum comes first: bias and log1p(relu(.)) are monotone, so this is exactly LexLIP's sparse representation. Other
models saturate otherwise, normalise, or keep the terms that stand in a text: a `HeadRule`, and `own`. What
the decoder is decides who computes: a `PackedDecoder` takes numpy arrays to the CPU backends, a `TensorDecoder` takes
torch tensors to Triton. This file checks the arguments and chooses a backend; it computes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from lexlip_kernels.backends import Backend, TorchBackend, available_backends, choose_backend
from lexlip_kernels.errors import BackendUnavailable, InputError
from lexlip_kernels.head_rule import LEXLIP, HeadRule
from lexlip_kernels.lexicon_head import checks, reference, tensors
from lexlip_kernels.lexicon_head.packed_decoder import PackedDecoder
from lexlip_kernels.lexicon_head.tensors import TensorDecoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor


__all__ = [
    "CpuPath",
    "HeadRule",
    "Mode",
    "PackedDecoder",
    "RankedTerms",
    "TensorDecoder",
    "cpu_paths",
    "lexicon_head",
]

Mode = Literal["exact", "f32"]
CpuPath = Literal["auto", "amx", "avx512_vnni", "avx2", "portable"]

_MODES = ("exact", "f32")
_CPU_PATHS = ("auto", "amx", "avx512_vnni", "avx2", "portable")


@dataclass(frozen=True, slots=True, eq=False)
class RankedTerms:
    """The K heaviest terms of B rows, weight descending, then id ascending; K = min(k, V).

    With O own terms a row, K is min(k, V) + O.

    Attributes:
        ids: (B, K), vocabulary ids, -1 where a row has fewer than K positive terms.
        weights: (B, K), un-normalised unless the rule says so, 0 where padded.
        counts: (B,), terms of each row, at most K.
    """

    ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int32]


def cpu_paths() -> tuple[str, ...]:
    """Instruction sets of the native backend that run here, fastest first: `cpu_path="auto"` takes the first.

    Empty where the compiled module does not load.
    """
    if "native" not in available_backends():
        return ()
    from lexlip_kernels.lexicon_head import native

    return native.cpu_paths()


@overload
def lexicon_head(
    hidden: npt.NDArray[np.float32],
    decoder: PackedDecoder,
    mask: npt.NDArray[Any] | None = None,
    *,
    k: int,
    rule: HeadRule = LEXLIP,
    own: npt.NDArray[np.int64] | None = None,
    mode: Mode = "exact",
    threads: int = 1,
    backend: Backend = "auto",
    cpu_path: CpuPath = "auto",
) -> RankedTerms: ...


@overload
def lexicon_head(
    hidden: Tensor,
    decoder: TensorDecoder,
    mask: Tensor | None = None,
    *,
    k: int,
    rule: HeadRule = LEXLIP,
    own: Tensor | None = None,
    backend: TorchBackend = "auto",
) -> tuple[Tensor, Tensor, Tensor]: ...


def lexicon_head(
    hidden: Any,
    decoder: PackedDecoder | TensorDecoder,
    mask: Any = None,
    *,
    k: int,
    rule: HeadRule = LEXLIP,
    own: Any = None,
    mode: Mode = "exact",
    threads: int = 1,
    backend: Any = "auto",
    cpu_path: CpuPath = "auto",
) -> RankedTerms | tuple[Tensor, Tensor, Tensor]:
    """The k heaviest terms of each row.

    Args:
        hidden: (B, L, H), contiguous, tokens after the head's transform and LayerNorm. A float32 array for a
            `PackedDecoder`; a tensor of the decoder's dtype and device for a `TensorDecoder`.
        decoder: over the same H channels.
        mask: (B, L), boolean or integers, 0 where a token is padding; all tokens take part when absent. Padding is
            skipped, never multiplied, and may hold anything.
        k: terms to keep, at least 1; may exceed V, but no more than V are made room for.
        rule: saturation and norm; LexLIP's own when absent. A norm needs every weight: `"exact"` then scans nothing.
        own: (B, O) int64, terms to keep beside the k heaviest, whatever they weigh unless that is 0; -1 is none.
        mode: `"exact"` scans in int8 and computes in float32 only what the scan cannot rule out; `"f32"` computes every
            term. On one machine both return the same bits, whatever `threads` is. Arrays only.
        threads: at least 1; the native backend spreads them over rows and vocabulary. Arrays only.
        backend: arrays: `"native"` or `"reference"`, `"auto"` takes the first of `available_backends()`. Tensors:
            `"triton"` or `"reference"`, `"auto"` is Triton for CUDA tensors where it is installed.
        cpu_path: which instructions the native backend uses; for tests and benchmarks.

    Returns:
        `RankedTerms` of arrays; of tensors the same three, ids (B, K) int64, weights (B, K) float32 and counts (B,)
        int32, on their device: nothing waits for the GPU.

    Raises:
        InputError: wrong dtype, layout, shape or option. Of arrays also: a token that takes part holds a NaN or an
            infinity, or is so large that a logit might overflow float32. (Looking at the values of tensors would make
            the GPU wait for the CPU.)
        BackendUnavailable: the backend or the CPU path asked for cannot run here.
    """
    if isinstance(decoder, TensorDecoder):
        if (mode, threads, cpu_path) != ("exact", 1, "auto"):
            raise InputError("mode, threads and cpu_path are for arrays on the CPU; leave them out for tensors")
        return tensors.top_terms(hidden, decoder, mask, k, backend, rule, own)
    chosen = choose_backend(backend)
    checks.check_count("k", k)
    checks.check_count("threads", threads)
    checks.check_choice("mode", mode, _MODES)
    checks.check_choice("cpu_path", cpu_path, _CPU_PATHS)
    checks.check_hidden(hidden, decoder.hidden_size)
    tokens = checks.check_mask(mask, hidden.shape[:2])
    kept = min(int(k), decoder.vocab_size)
    own = checks.check_own(own, len(hidden), decoder.vocab_size)
    if chosen == "native":
        return _native_terms(hidden, decoder, tokens, kept, rule, own, mode, int(threads), cpu_path)
    checks.check_values(hidden, tokens, decoder.largest_norm)
    return RankedTerms(*reference.top_terms(hidden, decoder.weight, decoder.bias, tokens, kept, rule, own))


def _native_terms(
    hidden: npt.NDArray[np.float32],
    decoder: PackedDecoder,
    mask: npt.NDArray[np.uint8],
    k: int,
    rule: HeadRule,
    own: npt.NDArray[np.int64],
    mode: Mode,
    threads: int,
    cpu_path: CpuPath,
) -> RankedTerms:
    from lexlip_kernels.lexicon_head import native

    assert decoder.panels is not None, "native is available, so pack() made panels"
    terms, refused = native.top_terms(
        hidden,
        decoder.weight,
        decoder.bias,
        mask,
        k,
        rule=rule,
        own=own,
        panels=decoder.panels,
        exact=mode == "exact",
        threads=threads,
        cpu_path=_choose_cpu_path(cpu_path),
    )
    if refused >= 0:
        checks.check_values(hidden, mask, decoder.largest_norm * 1.001)  # the C++ rounds norms up
        raise AssertionError(f"row {refused} was refused, but nothing is wrong with it")
    return RankedTerms(*terms)


def _choose_cpu_path(cpu_path: CpuPath) -> str:
    if cpu_path == "auto":
        return cpu_paths()[0]
    if cpu_path not in cpu_paths():
        raise BackendUnavailable(f"CPU path {cpu_path!r} does not run here; available: {', '.join(cpu_paths())}")
    return cpu_path
