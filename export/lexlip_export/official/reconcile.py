"""BERT's prediction head saves one bias under two names; a file may hold either, or both."""

from __future__ import annotations

import torch
from torch import Tensor

from lexlip_export.official.container import State, tensor
from lexlip_export.official.inert_pickle import StoredTensor
from lexlip_kernels.errors import BundleError

__all__ = ["reconcile_bias"]


def reconcile_bias(state: State, prefix: str, what: str) -> State:
    """The state with `bias` alone of the head below `prefix`.

    Raises:
        BundleError: `bias` and `decoder.bias` are both there and differ.
    """
    plain, twin = f"{prefix}bias", f"{prefix}decoder.bias"
    if twin not in state:
        return state
    merged: dict[str, StoredTensor | Tensor] = {name: stored for name, stored in state.items() if name != twin}
    if plain not in state:
        merged[plain] = state[twin]
    elif not torch.equal(tensor(state[plain]), tensor(state[twin])):
        raise BundleError(f"{what}: {plain} and {twin} are one parameter, but differ; the file is inconsistent")
    return merged
