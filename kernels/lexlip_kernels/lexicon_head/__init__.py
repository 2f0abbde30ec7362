"""lexicon_head: hidden states to the k heaviest terms of each row, without ever holding logits (B, L, V).

    weights[v] = log1p(relu(max over tokens l of (hidden[l] . weight[v]) + bias[v]))

The maximum comes first: bias and log1p(relu(.)) are monotone, so this is exactly LexLIP's sparse representation. This
file checks the arguments and chooses a backend; it computes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lexlip_kernels.backends import Backend, available_backends, choose_backend
from lexlip_kernels.errors import BackendUnavailable
from lexlip_kernels.lexicon_head import checks, reference

if TYPE_CHECKING:
    import numpy.typing as npt

    from lexlip_kernels.lexicon_head.panels import DecoderPanels

__all__ = ["CpuPath", "Mode", "PackedDecoder", "RankedTerms", "cpu_paths", "lexicon_head"]

Mode = Literal["exact", "f32"]
CpuPath = Literal["auto", "amx", "avx512_vnni", "avx2", "portable"]

_MODES = ("exact", "f32")
_CPU_PATHS = ("auto", "amx", "avx512_vnni", "avx2", "portable")


@dataclass(frozen=True, slots=True, eq=False)
class RankedTerms:
    """The k heaviest terms of B rows, weight descending, then id ascending.

    Attributes:
        ids: (B, k), vocabulary ids, -1 where a row has fewer than k positive terms.
        weights: (B, k), un-normalised, 0 where padded.
        counts: (B,), terms of each row, at most k.
    """

    ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class PackedDecoder:
    """The decoder of a lexicon head and its int8 copy; make it once with `pack`, use it for every call.

    Attributes:
        weight: (V, H), as given, not copied: changing it afterwards makes results wrong.
        bias: (V,), as given; suppressed terms at -1e4.
        largest_norm: no column has a larger Euclidean norm.
        panels: the int8 copy, about V * H bytes; None where the compiled module does not load.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    largest_norm: float
    panels: DecoderPanels | None

    @classmethod
    def pack(cls, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], threads: int = 1) -> PackedDecoder:
        """Check a decoder and quantise it.

        Args:
            weight: (V, H) float32, contiguous; may be a read-only memory map.
            bias: (V,) float32.
            threads: at least 1.

        Raises:
            InputError: wrong dtype, layout or shape; a NaN, an infinity, or a norm of 2^126 or more.
        """
        checks.check_decoder(weight, bias)
        checks.check_count("threads", threads)
        if "native" not in available_backends():
            norms = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=1))
            return cls._checked(weight, bias, norms, None)
        from lexlip_kernels.lexicon_head import native

        panels, refused = native.pack(weight, int(threads))
        if refused >= 0:
            raise checks.refuse_column(weight, refused)
        return cls._checked(weight, bias, panels.norm, panels)

    @classmethod
    def _checked(
        cls,
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
        norms: npt.NDArray[Any],
        panels: DecoderPanels | None,
    ) -> PackedDecoder:
        if not norms.max() < checks.MAX_MAGNITUDE:
            raise checks.refuse_column(weight, int((norms < checks.MAX_MAGNITUDE).argmin()))
        return cls(weight, bias, float(norms.max()), panels)

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.bias)

    @property
    def hidden_size(self) -> int:
        """H."""
        return int(self.weight.shape[1])


def cpu_paths() -> tuple[str, ...]:
    """Instruction sets of the native backend that run here, fastest first: `cpu_path="auto"` takes the first.

    Empty where the compiled module does not load.
    """
    if "native" not in available_backends():
        return ()
    from lexlip_kernels.lexicon_head import native

    return native.cpu_paths()


def lexicon_head(
    hidden: npt.NDArray[np.float32],
    decoder: PackedDecoder,
    mask: npt.NDArray[Any] | None = None,
    *,
    k: int,
    mode: Mode = "exact",
    threads: int = 1,
    backend: Backend = "auto",
    cpu_path: CpuPath = "auto",
) -> RankedTerms:
    """The k heaviest terms of each row.

    Args:
        hidden: (B, L, H) float32, contiguous, tokens after the head's transform and LayerNorm.
        decoder: over the same H channels.
        mask: (B, L), boolean or integers, 0 where a token is padding; all tokens take part when absent. Padding is
            skipped, never multiplied, and may hold anything.
        k: terms to keep, at least 1; may exceed V.
        mode: `"exact"` scans in int8 and computes in float32 only what the scan cannot rule out; `"f32"` computes every
            term. On one machine both return the same bits, whatever `threads` is.
        threads: at least 1; the native backend spreads them over rows and vocabulary.
        backend: `"auto"` takes the first of `available_backends()`.
        cpu_path: which instructions the native backend uses; for tests and benchmarks.

    Raises:
        InputError: wrong dtype, layout, shape or option; a token that takes part holds a NaN or an infinity, or is so
            large that a logit might overflow float32.
        BackendUnavailable: the backend or the CPU path asked for cannot run here.
    """
    chosen = choose_backend(backend)
    checks.check_count("k", k)
    checks.check_count("threads", threads)
    checks.check_choice("mode", mode, _MODES)
    checks.check_choice("cpu_path", cpu_path, _CPU_PATHS)
    checks.check_hidden(hidden, decoder.hidden_size)
    tokens = checks.check_mask(mask, hidden.shape[:2])
    if chosen == "native":
        return _native_terms(hidden, decoder, tokens, int(k), mode, int(threads), cpu_path)
    checks.check_values(hidden, tokens, decoder.largest_norm)
    return RankedTerms(*reference.top_terms(hidden, decoder.weight, decoder.bias, tokens, int(k)))


def _native_terms(
    hidden: npt.NDArray[np.float32],
    decoder: PackedDecoder,
    mask: npt.NDArray[np.uint8],
    k: int,
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
