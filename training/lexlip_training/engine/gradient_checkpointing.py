"""Recompute the towers' activations in the backward pass instead of keeping them."""

from __future__ import annotations

from lexlip_kernels.errors import InputError
from lexlip_training.dense_model import DenseModel
from lexlip_training.model import LexLIP

__all__ = ["enable_gradient_checkpointing"]


def enable_gradient_checkpointing(model: LexLIP | DenseModel) -> None:
    """Turn it on in a model's image backbone and text tower; results stay the same.

    Raises:
        InputError: the image backbone cannot.
    """
    backbone = model.image_tower.backbone
    if not hasattr(backbone, "set_grad_checkpointing"):
        raise InputError(f"{type(backbone).__name__} cannot recompute activations; set gradient_checkpointing = false")
    backbone.set_grad_checkpointing(True)
    bert = model.text_tower.bert
    if hasattr(bert, "activation_checkpointing_enable"):
        bert.activation_checkpointing_enable({"use_reentrant": False})
    else:  # transformers of some months ago
        bert.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
