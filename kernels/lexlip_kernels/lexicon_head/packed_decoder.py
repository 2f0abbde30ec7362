"""The decoder as the CPU backends use it: the float32 matrix of the caller, and an int8 copy of it, made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lexlip_kernels.backends import available_backends
from lexlip_kernels.lexicon_head import checks

if TYPE_CHECKING:
    import numpy.typing as npt

    from lexlip_kernels.lexicon_head.native import DecoderPanels


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
