"""Recompute the towers' activations in the backward pass instead of keeping them."""

from __future__ import annotations

from torch import nn

from lexlip_kernels.errors import InputError

__all__ = ["enable_gradient_checkpointing"]


def enable_gradient_checkpointing(model: nn.Module) -> None:
    """Turn it on in a model's image backbone and text tower; results stay the same.

    Raises:
        InputError: the image backbone cannot.
    """
    backbone = model.image_tower.backbone
    if not hasattr(backbone, "set_grad_checkpointing"):
        raise InputError(f"{type(backbone).__name__} cannot recompute activations; set gradient_checkpointing = false")
    backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    model.text_tower.bert.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator,union-attr]
