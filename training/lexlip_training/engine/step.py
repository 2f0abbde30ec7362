"""One optimiser step: accumulated gradients, clipped, applied; then what the objective does between steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lexlip_kernels.errors import InputError
from lexlip_training.engine.schedule import rate_factor
from lexlip_training.pair_batch import PairBatch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from lexlip_training.engine.settings import OptimiserSettings, ScheduleSettings
    from lexlip_training.objectives.objective import Objective

__all__ = ["OptimiserStep", "seed_step"]


def seed_step(seed: int, step: int, rank: int) -> None:
    """Start torch's generators anew, so that a step's dropout depends on its number alone.

    Nothing of a generator's state then has to survive a kill, and evaluations in between change nothing.
    """
    torch.manual_seed((seed * 1_000_003 + step) * 65_537 + rank)


class OptimiserStep:
    """Takes optimiser steps of a prepared objective.

    Args:
        accelerator: of this process.
        objective: bare, for `after_step`.
        prepared: the same as Accelerate wrapped it, for `forward`.
        optimizer: as Accelerate wrapped it; its groups carry `base_rate`.
        optimiser: for clipping and accumulation.
        schedule: for the warm-up.
        total: optimiser steps of the run.
        seed: of the run.
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
        seed: int,
    ) -> None:
        self.accelerator, self.objective, self.prepared, self.optimizer = accelerator, objective, prepared, optimizer
        self.optimiser, self.schedule, self.total, self.seed = optimiser, schedule, total, seed
        self.dtype = next(objective.model.parameters()).dtype

    def take(self, step: int, batches: list[PairBatch]) -> dict[str, float]:
        """Step number `step`, from zero, on its micro-batches; the objective's figures, averaged over them.

        Raises:
            InputError: the loss is not finite (a skipped step of fp16's loss scaling is fine).
        """
        seed_step(self.seed, step, self.accelerator.process_index)
        factor = rate_factor(step, self.total, self.schedule.warmup)
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
                norm = self.accelerator.clip_grad_norm_(self.prepared.parameters(), limit or float("inf"))
                figures["gradient_norm"] = torch.as_tensor(norm).detach()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return figures
