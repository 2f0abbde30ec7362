"""From losses to weights: processes and number formats, parameter groups, the learning rate, one optimiser step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from lexlip_kernels.errors import BackendUnavailable, InputError
from lexlip_training.data.batch import PairBatch
from lexlip_training.engine.settings import DecayRule, OptimiserSettings, RunSettings, ScheduleSettings

if TYPE_CHECKING:
    from lexlip_training.objectives.objective import Objective


_MIXED = {"fp16": "fp16", "bf16": "bf16", "f32": "no", "f64": "no"}


def make_accelerator(run: RunSettings, accumulation: int) -> Accelerator:
    """The processes of this run as `accelerate launch` or `torchrun` started them; alone otherwise.

    Buffers are never broadcast: a queue is large, and the same everywhere by construction.

    Raises:
        BackendUnavailable: fp16 without a GPU.
    """
    cpu = run.device == "cpu" or not torch.cuda.is_available()
    if cpu and run.precision == "fp16":
        raise BackendUnavailable("run.precision 'fp16' needs a GPU and none is used; --set run.precision=bf16 or f32")
    # Otherwise an earlier run in this process decides on the precision of all.
    AcceleratorState._reset_state()  # noqa: SLF001  (Accelerate's only way)
    kwargs = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        return Accelerator(
            cpu=cpu,
            mixed_precision=_MIXED[run.precision],
            gradient_accumulation_steps=accumulation,
            kwargs_handlers=[kwargs],
        )


def weights_dtype(run: RunSettings) -> torch.dtype:
    """What weights, gradients and moments are stored in; half precision is autocast's, never theirs."""
    return torch.float64 if run.precision == "f64" else torch.float32


#: What BEiT calls layernorm_before, layernorm_after, lambda_1, lambda_2 and cls_token, in timm's words: no substring
#: of the official list is part of the former.
_OFFICIALLY_DECAYED = (".norm1.weight", ".norm2.weight", ".gamma_1", ".gamma_2", ".cls_token")


def decays(name: str, parameter: nn.Parameter, rule: DecayRule) -> bool:
    """Whether weight decay applies to a parameter of that name."""
    if rule == "matrices":
        return parameter.ndim > 1
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
    rule: DecayRule,
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


def rate_factor(step: int, total: int, warmup: float, from_zero: bool = True) -> float:
    """Linear warm-up, then linear decay to zero (transformers' polynomial schedule of power 1).

    A pure function of the optimiser step, so that a resumed run needs no scheduler's state.

    Args:
        step: optimiser steps already taken.
        total: optimiser steps of the whole run.
        warmup: share of them, rounded down.
        from_zero: the first step of a warm-up is taken at a rate of zero; False: at the first of its steps above that.
    """
    ramp = int(warmup * total)
    falling = max(0.0, (total - step) / max(1, total - max(1 - from_zero, ramp)))
    if from_zero:
        return step / ramp if step < ramp else falling
    return min((step + 1) / max(1, ramp), falling)


class OptimiserStep:
    """Takes optimiser steps of a prepared objective.

    Args:
        accelerator: of this process.
        objective: bare, for `after_step`.
        prepared: the same as Accelerate wrapped it, for `forward`.
        optimizer: as Accelerate wrapped it; its groups carry `base_rate`.
        optimiser: for clipping and accumulation.
        schedule: for the warm-up.
        total: optimiser steps that the learning rate is planned for.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        prepared: torch.nn.Module,
        optimizer: Any,
        optimiser: OptimiserSettings,
        schedule: ScheduleSettings,
        total: int,
    ) -> None:
        self.accelerator, self.objective, self.prepared, self.optimizer = accelerator, objective, prepared, optimizer
        self.optimiser, self.schedule, self.total = optimiser, schedule, total
        self.dtype = next(objective.model.parameters()).dtype

    def take(self, step: int, batches: list[PairBatch]) -> dict[str, float]:
        """Step number `step`, from zero, on its micro-batches; the objective's figures, averaged over them.

        Raises:
            InputError: the loss is not finite (a skipped step of fp16's loss scaling is fine).
        """
        factor = rate_factor(step, self.total, self.schedule.warmup, self.schedule.warmup_from_zero)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_rate"] * factor
        parts = [self._micro_batch(batch) for batch in batches]
        figures = {
            name: float(torch.stack([part[name] for part in parts if name in part]).mean()) for name in parts[-1]
        }
        if not torch.isfinite(torch.tensor(figures["loss"])):
            raise InputError(f"the loss of step {step + 1} is {figures['loss']}; lower optimiser.learning_rate")
        self.objective.after_step()
        return figures | {"learning_rate": self.optimizer.param_groups[0]["lr"]}

    def _micro_batch(self, batch: PairBatch) -> dict[str, Tensor]:
        batch = batch.to(self.accelerator.device)
        batch = replace(batch, pixels=batch.pixels.to(self.dtype))
        with self.accelerator.accumulate(self.prepared):
            parts: dict[str, Tensor] = self.prepared(batch)
            self.accelerator.backward(parts["loss"])
            figures = {name: part.detach().float() if part.is_cuda else part.detach() for name, part in parts.items()}
            if self.accelerator.sync_gradients:
                limit = self.optimiser.gradient_norm
                norm = self.accelerator.clip_grad_norm_(self.objective.clipped(), limit or float("inf"))
                figures["gradient_norm"] = torch.as_tensor(norm).detach()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return figures
