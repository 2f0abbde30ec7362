"""What the torch ops refuse, each with one message: what was given, what was expected, what to do.

Only shapes, dtypes and devices are looked at: looking at values would make the GPU wait for the CPU. A NaN logit is
therefore not found here, and what becomes of its term is undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexlip_kernels.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

FLOATING = ("float16", "bfloat16", "float32")
"""Element types that the Triton kernels take."""

MAX_TOKENS = 2**15 - 1
"""Largest L: an arg-max token is kept in 16 bits."""


def dtype_name(tensor: Tensor) -> str:
    """The dtype without its module, for example `"float16"`."""
    return str(tensor.dtype).removeprefix("torch.")


def check_k(k: int) -> None:
    """Refuse a number of terms that is not a positive integer.

    Raises:
        InputError: it is not.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InputError(f"k must be an integer >= 1, not {k!r}")


def _check_dtype(name: str, tensor: Tensor) -> None:
    if dtype_name(tensor) not in FLOATING:
        raise InputError(f"{name} is {dtype_name(tensor)}; expected one of {', '.join(FLOATING)}")


def check_mask(mask: Tensor | None, like: Tensor) -> None:
    """Refuse a mask that does not belong to `like`, (B, L, ...).

    Raises:
        InputError: its shape is not (B, L), or it lies on another device.
    """
    if mask is None:
        return
    if mask.shape != like.shape[:2]:
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected (B, L) = {tuple(like.shape[:2])}")
    if mask.device != like.device:
        raise InputError(f"mask lies on {mask.device}, the rest on {like.device}; move it there")


def check_own(own: Tensor | None, like: Tensor) -> None:
    """Refuse own terms that are not (B, O) int64 beside `like`, (B, ...).

    Raises:
        InputError: they are not.
    """
    if own is None:
        return
    if own.ndim != 2 or own.shape[0] != like.shape[0] or dtype_name(own) != "int64" or own.device != like.device:
        given = f"{dtype_name(own)} {tuple(own.shape)} on {own.device}"
        raise InputError(f"own is {given}; expected int64 (B, O) with B = {like.shape[0]} on {like.device}")


def check_logits(logits: Tensor, mask: Tensor | None) -> None:
    """Refuse logits that are neither (B, L, V) nor (B, V), or have no tokens, terms or floating dtype.

    Raises:
        InputError: so it is; or they are strided along V; or there is a mask for (B, V), or as `check_mask`.
    """
    if logits.ndim not in {2, 3} or 0 in logits.shape[1:]:
        raise InputError(f"logits have shape {tuple(logits.shape)}; expected (B, L, V) or (B, V), no L or V of 0")
    _check_dtype("logits", logits)
    if logits.stride(-1) != 1 and logits.shape[-1] > 1:
        raise InputError("logits are strided along V; a copy of them may not fit: produce them contiguous")
    if mask is not None and logits.ndim == 2:
        raise InputError("logits (B, V) are pooled already and take no mask; give (B, L, V), or leave the mask out")
    check_mask(mask, logits)


def check_decoder(hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> None:
    """Refuse hidden (B, L, H), weight (V, H), bias (V,), mask (B, L) that do not fit one another.

    Raises:
        InputError: shapes, dtypes or devices disagree, or L exceeds MAX_TOKENS.
    """
    if hidden.ndim != 3 or 0 in hidden.shape[1:] or hidden.shape[1] > MAX_TOKENS:
        shape = tuple(hidden.shape)
        raise InputError(f"hidden has shape {shape}; expected (B, L, H) with L in [1, {MAX_TOKENS}] and H >= 1")
    if weight.ndim != 2 or weight.shape[0] == 0 or weight.shape[1] != hidden.shape[2]:
        raise InputError(f"weight has shape {tuple(weight.shape)}; expected (V, H) with H = {hidden.shape[2]}")
    if bias.shape != weight.shape[:1]:
        raise InputError(f"bias has shape {tuple(bias.shape)}; expected (V,) = ({weight.shape[0]},)")
    for name, tensor in (("hidden", hidden), ("weight", weight), ("bias", bias)):
        _check_dtype(name, tensor)
        if tensor.device != hidden.device:
            raise InputError(f"{name} lies on {tensor.device}, hidden on {hidden.device}; move it there")
    if weight.dtype != hidden.dtype:
        raise InputError(f"weight is {dtype_name(weight)} and hidden {dtype_name(hidden)}; convert one of them")
    check_mask(mask, hidden)
