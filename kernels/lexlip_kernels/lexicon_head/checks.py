"""What lexicon_head refuses, each with one message: what was given, what was expected, what to do.

Backends assume checked arguments; the C++ would otherwise read or write outside its arrays. Nothing is
repaired or converted here.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_kernels.errors import InputError

MAX_HIDDEN = 2**15
"""Largest H: sums of H products of 8-bit values then stay well within 32 bits."""

MAX_MAGNITUDE = 2.0**126
"""Above every |token| * |decoder column| (Euclidean norms) and every |bias|, so that no logit overflows float32."""

_INT32_MAX = 2**31 - 1


def check_count(name: str, value: int) -> None:
    """Refuse what is not an integer in `[1, 2^31 - 1]`.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, Integral) or not 1 <= value <= _INT32_MAX:
        raise InputError(f"{name} must be an integer >= 1 and below 2^31, not {value!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is not one of the choices.

    Raises:
        InputError: it is not.
    """
    if value not in choices:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")


def check_array(name: str, array: npt.NDArray[Any], rank: int) -> None:
    """Refuse an array that is not float32, of this rank, contiguous and aligned.

    Raises:
        InputError: it is not.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} is a {type(array).__name__}; expected a numpy array")
    if array.dtype != np.float32 or array.ndim != rank:
        raise InputError(f"{name} is {array.dtype} of rank {array.ndim}; expected rank {rank} float32")
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise InputError(f"{name} is strided or unaligned; expected a contiguous array: copy it with numpy.array")


def check_decoder(weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> None:
    """Refuse a decoder of the wrong dtype, layout or shape, or with a bias that is not finite; costs O(V).

    Raises:
        InputError: it is one.
    """
    check_array("weight", weight, 2)
    check_array("bias", bias, 1)
    vocab_size, hidden_size = weight.shape
    if not 1 <= vocab_size <= _INT32_MAX - 64 or not 1 <= hidden_size <= MAX_HIDDEN:
        raise InputError(f"weight is {weight.shape}; expected (V, H) with V >= 1 and 1 <= H <= {MAX_HIDDEN}")
    if bias.shape != (vocab_size,):
        raise InputError(f"bias is {bias.shape} for a weight of {weight.shape}; expected ({vocab_size},)")
    usable = np.abs(bias) < MAX_MAGNITUDE
    if not usable.all():
        term = int(usable.argmin())
        raise InputError(f"bias[{term}] is {bias[term]:g}; expected a finite value below 2^126")


def refuse_column(weight: npt.NDArray[np.float32], term: int) -> InputError:
    """The error for a decoder column that holds a NaN or an infinity, or is too long."""
    unusable = np.flatnonzero(~np.isfinite(weight[term]))
    if not len(unusable):
        return InputError(f"weight[{term}] has a norm of 2^126 or more; logits would overflow float32")
    where = f"weight[{term}, {unusable[0]}]"
    return InputError(f"{where} is {weight[term, unusable[0]]}; expected finite weights: the checkpoint is damaged")


def check_hidden(hidden: npt.NDArray[np.float32], hidden_size: int) -> None:
    """Refuse hidden states of the wrong dtype, layout or shape; values are `check_values`' business.

    Raises:
        InputError: they are.
    """
    check_array("hidden", hidden, 3)
    if hidden.shape[2] != hidden_size:
        raise InputError(f"hidden is {hidden.shape}; expected (B, L, {hidden_size}), as the decoder has it")


def check_mask(mask: npt.NDArray[Any] | None, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The mask as bytes, all ones when absent.

    Raises:
        InputError: it is not boolean or integer, or not (B, L).
    """
    if mask is None:
        return np.ones(shape, np.uint8)
    if not isinstance(mask, np.ndarray) or mask.dtype.kind not in "biu":
        raise InputError(f"mask is {getattr(mask, 'dtype', type(mask).__name__)}; expected boolean or integers")
    if mask.shape != shape:
        raise InputError(f"mask is {mask.shape}; expected {shape}, one value per token")
    return np.ascontiguousarray(mask != 0).view(np.uint8)


def check_own(own: npt.NDArray[Any] | None, rows: int, vocab_size: int) -> npt.NDArray[np.int64]:
    """Own terms (B, O), of no column when absent.

    Raises:
        InputError: they are not int64, not of B rows, or no term ids.
    """
    if own is None:
        return np.empty((rows, 0), np.int64)
    if not isinstance(own, np.ndarray) or own.dtype != np.int64 or own.ndim != 2 or len(own) != rows:
        given = f"{own.dtype} {own.shape}" if isinstance(own, np.ndarray) else type(own).__name__
        raise InputError(f"own is {given}; expected int64 (B, O) with B = {rows}")
    if own.size and not -1 <= own.min() <= own.max() < vocab_size:
        raise InputError(
            f"own holds {own.min()} to {own.max()}; expected term ids in [0, {vocab_size}), or -1 for none"
        )
    return np.ascontiguousarray(own)


def check_values(hidden: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8], largest_norm: float) -> None:
    """Refuse tokens that hold a NaN or an infinity, or whose logits might overflow; padding may hold anything.

    Args:
        hidden: (B, L, H).
        mask: (B, L), 0 where a token is padding.
        largest_norm: no decoder column has a larger Euclidean norm.

    Raises:
        InputError: naming the first such place.
    """
    norms = np.sqrt(np.square(hidden, dtype=np.float64).sum(axis=2))
    unusable = ~(norms * largest_norm < MAX_MAGNITUDE) & (mask != 0)
    if not unusable.any():
        return
    row, token = (int(i) for i in np.argwhere(unusable)[0])
    channels = np.flatnonzero(~np.isfinite(hidden[row, token]))
    if len(channels):
        where = f"hidden[{row}, {token}, {channels[0]}]"
        raise InputError(f"{where} is {hidden[row, token, channels[0]]}; expected finite values: check the backbone")
    raise InputError(
        f"hidden[{row}, {token}] has norm {norms[row, token]:.3g}, the decoder up to {largest_norm:.3g}; "
        "logits might overflow float32, which holds a product below 2^126: scale one of them down"
    )
