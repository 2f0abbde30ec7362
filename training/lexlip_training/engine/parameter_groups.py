"""Which parameters decay, and how fast each learns; written into the run folder, because nobody sees it otherwise.

"official" follows the official code's list of substrings (`bias`, `LayerNorm.weight`, `norm.weight`, `norm1`, `norm2`)
as they fell on its own names: BERT's norms and the final image norm are spared, BEiT's norms, layer scales and
class token are not, the relative position table is ("bias" is part of its name). "sane" spares every vector and
every table of positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from torch import nn

__all__ = ["decays", "describe_groups", "parameter_groups"]

#: What BEiT calls layernorm_before, layernorm_after, lambda_1, lambda_2 and cls_token, in timm's words: no substring
#: of the official list is part of the former.
_OFFICIALLY_DECAYED = (".norm1.weight", ".norm2.weight", ".gamma_1", ".gamma_2", ".cls_token")


def decays(name: str, parameter: nn.Parameter, rule: Literal["sane", "official"]) -> bool:
    """Whether weight decay applies to a parameter of that name."""
    if rule == "sane":
        positions = ("position" in name and "embedding" in name) or name.endswith(("pos_embed", "adapter.position"))
        return parameter.ndim > 1 and not positions and "relative_position" not in name and "cls_token" not in name
    if "image_tower.backbone." in name and name.endswith(_OFFICIALLY_DECAYED):
        return True
    return not (name.endswith("bias") or "norm" in name.lower() or "bias" in name)


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    learning_rate: float,
    weight_decay: float,
    rule: Literal["sane", "official"],
    backbone_rate: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups for `torch.optim.AdamW`; each carries its parameters' `names` and its `base_rate`.

    Args:
        named: parameters by name; those that take no gradient are left out.
        learning_rate: of everything outside the image backbone.
        weight_decay: of the parameters that decay.
        rule: which do.
        backbone_rate: factor on the learning rate of the image backbone.
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        backbone, decay = "image_tower.backbone." in name, decays(name, parameter, rule)
        rate = learning_rate * (backbone_rate if backbone else 1.0)
        group = groups.setdefault(
            (backbone and backbone_rate != 1.0, decay),
            {"params": [], "names": [], "lr": rate, "base_rate": rate, "weight_decay": weight_decay if decay else 0.0},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def describe_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups as JSON: rate, decay, number of weights, and names."""
    return [
        {
            "learning_rate": group["base_rate"],
            "weight_decay": group["weight_decay"],
            "weights": sum(parameter.numel() for parameter in group["params"]),
            "names": group["names"],
        }
        for group in groups
    ]
