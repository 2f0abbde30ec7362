"""The training loop: steps, log lines, evaluations and checkpoints, in an order that a kill at any point survives.

What happens depends on the number of the optimiser step alone. A checkpoint is written when everything that belongs
to its step is done, evaluation included; a resumed run repeats what came after it, with the same results.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexlip_kernels.errors import InputError, LexLIPError
from lexlip_training.engine.batches import Batches
from lexlip_training.engine.monitoring import Progress, RunLog, SparsityMonitor
from lexlip_training.engine.optimisation import OptimiserStep
from lexlip_training.engine.run_folder import STATE, RunFolder
from lexlip_training.engine.settings import TrainingConfig
from lexlip_training.model import LexLIP

if TYPE_CHECKING:
    from accelerate import Accelerator

    from lexlip_training.objectives.objective import Objective


#: Sections whose change does not make another run of it.
_FREE = {
    "evaluation": {"batch_size"},
    "run": {"threads", "keep", "log_steps", "tensorboard", "checkpoint_steps", "notice"},
}


@dataclass(slots=True)
class _Best:
    total: float = -1.0
    step: int = -1


class TrainingLoop:
    """Trains one objective from the first step, or the last checkpoint, to the last step.

    Args:
        config: settings of the run.
        accelerator: of this process.
        objective: its model is evaluated and saved.
        groups: of the optimiser.
        batches: of this process.
        evaluate: development figures of the model, `dev_sum` the one to select on; called in the main process.
        save_model: writes the model's files into a folder, with a record of the training.
        folder: of the run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        accelerator: Accelerator,
        objective: Objective,
        groups: list[dict[str, Any]],
        batches: Batches,
        evaluate: Callable[[], dict[str, Any]],
        save_model: Callable[[Path, dict[str, Any]], None],
        folder: RunFolder,
    ) -> None:
        import torch

        self.config, self.accelerator, self.objective, self.batches = config, accelerator, objective, batches
        self.evaluate, self.save_model, self.folder = evaluate, save_model, folder
        schedule = config.schedule
        self.total = schedule.max_steps or batches.first_step(schedule.epochs)
        settings = config.optimiser
        optimizer = torch.optim.AdamW(groups, betas=settings.betas, eps=settings.epsilon)
        self.prepared, self.optimizer = accelerator.prepare(objective, optimizer)
        planned = schedule.max_steps or batches.planned_steps(schedule.epochs)
        self.stepper = OptimiserStep(accelerator, objective, self.prepared, self.optimizer, settings, schedule, planned)
        self.best = _Best()
        vocabulary = objective.model.config.vocab_size if isinstance(objective.model, LexLIP) else None
        self.monitor = SparsityMonitor(vocabulary, max(50, int(config.schedule.warmup * self.total)))

    def run(self, resume: bool) -> None:
        """Train to the end.

        Raises:
            InputError: the folder holds a run and `resume` is not set, or one with other settings.
        """
        step = self._resume(resume)
        main = self.accelerator.is_main_process
        log = RunLog(self.folder.path, self.config.run.tensorboard, step) if main else None
        with Progress(self.total, step, enabled=main) as progress:
            try:
                while step < self.total:
                    step = self._train_epoch(step, log, progress)
            finally:
                if log is not None:
                    log.close()

    def _train_epoch(self, step: int, log: RunLog | None, progress: Progress) -> int:
        epoch = self.batches.epoch_of(step)
        self._training_mode(epoch)
        started = time.perf_counter()
        for micro_batches in self.batches.epoch(epoch, step - self.batches.first_step(epoch)):
            self.batches.seed_step(step)
            figures = self.stepper.take(step, micro_batches)
            step += 1
            figures["seconds"] = time.perf_counter() - started
            self._after_step(step, epoch, figures, log, progress)
            started = time.perf_counter()
            if step == self.total:
                break
        return step

    def _after_step(
        self, step: int, epoch: int, figures: dict[str, float], log: RunLog | None, progress: Progress
    ) -> None:
        record: dict[str, Any] = {"step": step, "epoch": epoch}
        warnings = self.monitor.check(step, figures)
        due = self._evaluation_due(step, epoch)
        if step % self.config.run.log_steps == 0 or due or warnings:
            record |= figures
        if log is not None:
            for text in warnings:
                progress.say(f"step {step}: {text}")
            if warnings:
                record["warnings"] = warnings
            if due:
                record |= self.evaluate()
                progress.say(_summary(record))
            if len(record) > 2:
                log.write(record)
            progress.show(step, figures["loss"])
        if due:
            self.accelerator.wait_for_everyone()
            self._training_mode(epoch)
        if self._checkpoint_due(step, epoch, due):
            self._save(step, record)

    def _training_mode(self, epoch: int) -> None:
        """Of the objective, which fills its queue in no other; its models, or their stem, may be held still."""
        self.objective.train()
        if self.config.model.frozen_stages:
            self.objective.model.image_tower.freeze_stem(self._frozen(epoch))
        if self.config.run.norms_in_evaluation:
            for module in self.objective.children():
                module.eval()

    def _frozen(self, epoch: int) -> bool:
        unfreeze = self.config.model.unfreeze_epoch
        return self.config.model.frozen_stages > 0 and (unfreeze is None or epoch < unfreeze)

    def _evaluation_due(self, step: int, epoch: int) -> bool:
        settings = self.config.evaluation
        if settings.every_steps is not None:
            return step % settings.every_steps == 0 or step == self.total
        every = settings.every_epochs if self._frozen(epoch) else 1
        return step == self.total or (self._ends(step, epoch) and (epoch + 1) % every == 0)

    def _checkpoint_due(self, step: int, epoch: int, evaluated: bool) -> bool:
        if self.batches.generators() is not None:  # a run that could not go on from within an epoch
            return self._ends(step, epoch) or step == self.total
        return evaluated or step % (self.config.run.checkpoint_steps or self.total) == 0

    def _ends(self, step: int, epoch: int) -> bool:
        return step == self.batches.first_step(epoch + 1)

    def _save(self, step: int, record: dict[str, Any]) -> None:
        """A checkpoint from the main process; the others wait, so that none runs ahead of what is on disk."""
        if self.accelerator.is_main_process:
            better = "dev_sum" in record and record["dev_sum"] > self.best.total
            if better:
                self.best = _Best(record["dev_sum"], step)
            folder = self.folder.save(step, self._state(step), lambda path: self.save_model(path, record))
            if better:
                self.folder.mark_best(folder)
            self.folder.prune(self.config.run.keep)
        self.accelerator.wait_for_everyone()

    def _state(self, step: int) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            "config": self.config.model_dump_json(),
            "step": step,
            "best": [self.best.total, self.best.step],
            "warned": sorted(self.monitor.given),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": self.batches.generators(),
        }

    def _resume(self, resume: bool) -> int:
        state = self.folder.load()
        if state is None:
            return 0
        if not resume:
            raise InputError(f"{self.folder.path} holds a run; give --resume to go on with it, or a new folder")
        try:
            return self._restore(state)
        except LexLIPError:
            raise
        except Exception as error:  # noqa: BLE001  (pydantic, torch, and whatever a state of another shape makes of it)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{self.folder.path / 'last' / STATE}: not the state of a run ({reason})") from None

    def _restore(self, state: dict[str, Any]) -> int:
        """Take the place of the run that left this state; returns its step."""
        self._same_settings(TrainingConfig.model_validate_json(state["config"]))
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if state.get("generators"):
            self.batches.restore(state["generators"])
        self.best = _Best(*state["best"])
        self.monitor.given = set(state["warned"])
        return int(state["step"])

    def _same_settings(self, earlier: TrainingConfig) -> None:
        before, now = earlier.model_dump(mode="json"), self.config.model_dump(mode="json")
        for section, values in now.items():
            for key, value in values.items():
                if key not in _FREE.get(section, ()) and before[section][key] != value:
                    raise InputError(
                        f"{self.folder.path} holds a run with {section}.{key} = {before[section][key]!r}, "
                        f"now it is {value!r}; name a new folder to train anew"
                    )


def _summary(record: dict[str, Any]) -> str:
    keys = ("t2i_1", "t2i_5", "t2i_10", "i2t_1", "i2t_5", "i2t_10")
    if not all(key in record for key in keys):
        return f"step {record['step']}: dev_sum {record['dev_sum']:.1f}"
    figures = [f"{record[key]:.1f}" for key in keys]
    return (
        f"step {record['step']}: text to image {'/'.join(figures[:3])}, image to text {'/'.join(figures[3:])}, "
        f"loss {record['loss']:.4f}"
    )
