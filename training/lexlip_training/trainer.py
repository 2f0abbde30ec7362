"""The training loop: one process, one device, mixed precision in bfloat16, checkpoints after every epoch.

Selection is on the development split, by the sum of the six recalls of the averaged (EMA) weights. A run that was
cut off goes on from `last.pt` at the epoch it was in, with new crops.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from lexlip_kernels.errors import InputError
from lexlip_training.captioned_images import Batch, CaptionedImage, TrainingPairs
from lexlip_training.checkpoint import save_checkpoint
from lexlip_training.development import evaluate
from lexlip_training.frozen_stem import FrozenStem
from lexlip_training.model import LexLIP
from lexlip_training.recipe import Recipe, RecipeSettings, inverse_document_frequency, word_targets

__all__ = ["Trainer"]


@dataclass(slots=True)
class _Progress:
    epoch: int = 0
    best: float = -1.0


class Trainer:
    """Trains one model and keeps its best state.

    Args:
        model: changed in place.
        tokenizer: of the text tower.
        train: images to learn from.
        dev: images to select on.
        settings: objective and schedule.
        output: folder for `best/` (a checkpoint), `last.pt` (to resume from) and `log.jsonl`.
        provenance: JSON-serialisable record that goes into the checkpoint.

    Raises:
        InputError: the model lacks a tower, or there are fewer images than a batch.
    """

    def __init__(
        self,
        model: LexLIP,
        tokenizer: Tokenizer,
        train: list[CaptionedImage],
        dev: list[CaptionedImage],
        settings: RecipeSettings,
        output: Path,
        provenance: dict[str, Any],
    ) -> None:
        self.model, self.tokenizer, self.dev, self.settings, self.output = (
            model,
            tokenizer,
            dev,
            settings,
            output,
        )
        self.provenance = provenance
        config = model.config
        if config.image is None or config.text is None:
            raise InputError(
                f"{config.name} has no {'image' if config.image is None else 'text'} tower; training pairs both"
            )
        pairs = TrainingPairs(
            train, tokenizer, config.image, config.text.max_length, word_dropout=settings.word_dropout
        )
        captions = [ids for image in pairs.input_ids for ids in image]
        idf = inverse_document_frequency(captions, config.vocab_size, config.suppressed_ids)
        self.recipe = Recipe(settings, idf, word_targets(pairs.input_ids, idf))
        if len(pairs) < settings.batch_size:
            raise InputError(f"{len(pairs)} training images for batches of {settings.batch_size}; lower batch_size")
        self.pairs = pairs
        self.steps = -(-len(pairs) // settings.batch_size)
        self.stem = FrozenStem(model.image_tower, settings.stem_blocks, len(pairs), settings.views)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))  # type: ignore[no-untyped-call]
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=settings.learning_rate)
        self.scheduler = LambdaLR(self.optimizer, self._rate)
        self.progress = _Progress()
        self.console = Console(soft_wrap=True)

    def run(self) -> None:
        """Train to the last epoch, resuming where an earlier run stopped."""
        self.output.mkdir(parents=True, exist_ok=True)
        self._resume()
        for epoch in range(self.progress.epoch, self.settings.epochs):
            started = time.perf_counter()
            line: dict[str, Any] = {"epoch": epoch} | self._train_epoch(epoch)
            line["seconds"] = round(time.perf_counter() - started, 1)
            if epoch >= self.settings.unfreeze_epoch or (epoch + 1) % self.settings.evaluate_every == 0:
                line |= self._evaluate(line)
            self._log(line)
            self.progress.epoch = epoch + 1
            self._save()

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self.model.train()
        self.stem.freeze(epoch < self.settings.unfreeze_epoch)
        parts = [self._step(epoch, batch) for batch in self._loader(epoch)]
        return {name: round(fmean(part[name] for part in parts), 4) for name in parts[0]}

    def _loader(self, epoch: int) -> DataLoader[Any]:
        """Batches of one epoch; crops are made in a worker, and only where they are looked at."""
        frozen = epoch < self.settings.unfreeze_epoch
        self.pairs.texts_alone = frozen and self.stem.knows(epoch)
        return DataLoader(
            self.pairs,
            batch_size=self.settings.batch_size,
            shuffle=True,
            # While the store fills every image must pass; a short last batch is cheaper than a hole.
            drop_last=not frozen,
            num_workers=0 if self.pairs.texts_alone else 1,
            collate_fn=TrainingPairs.collate,
        )

    def _backbone_tokens(self, epoch: int, batch: Batch) -> Tensor:
        if epoch >= self.settings.unfreeze_epoch:
            pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
            return self.model.image_tower.backbone_tokens(pixels)
        if self.pairs.texts_alone:
            return self.stem.tokens(self.stem.recall(epoch, batch.image_ids))
        pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
        return self.stem.tokens(self.stem.remember(epoch, batch.image_ids, pixels))

    def _step(self, epoch: int, batch: Batch) -> dict[str, float]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            parts = self.recipe(self.model, self._backbone_tokens(epoch, batch), batch)
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update_parameters(self.model)
        return {name: float(part.detach()) for name, part in parts.items()}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in [*self.model.named_parameters(), *self.recipe.named_parameters()]:
            key = (name.startswith("image_tower.backbone."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
        settings = self.settings
        return [
            {
                "params": parameters,
                "lr": settings.learning_rate * (settings.backbone_rate if backbone else 1.0),
                "weight_decay": settings.weight_decay if matrix else 0.0,
            }
            for (backbone, matrix), parameters in groups.items()
        ]

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to zero (LexLIP's schedule)."""
        total = self.settings.epochs * self.steps
        warmup = max(1, int(self.settings.warmup * total))
        return min((step + 1) / warmup, max(0.0, (total - step) / (total - warmup)))

    def _evaluate(self, line: dict[str, Any]) -> dict[str, Any]:
        """Development recall of the averaged weights; keeps them as `best` where they are."""
        averaged = self.average.module
        assert isinstance(averaged, LexLIP)
        to_image, to_text = evaluate(averaged, self.tokenizer, self.dev)
        total = to_image.total() + to_text.total()
        figures = {"text_to_image": str(to_image), "image_to_text": str(to_text), "dev_sum": round(total, 2)}
        if total > self.progress.best:
            self.progress.best = total
            record = self.provenance | {"settings": self.settings.model_dump(), "selected": line | figures}
            record["log"] = [*self._logged(), line | figures]
            save_checkpoint(self.output / "best", averaged, self.tokenizer, record)
        return figures

    def _logged(self) -> list[dict[str, Any]]:
        log = self.output / "log.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def _log(self, line: dict[str, Any]) -> None:
        with (self.output / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        self.console.print(json.dumps(line), highlight=False)

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "recipe": self.recipe,
            "average": self.average,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
        }

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._state().items()}
        state |= {
            "settings": self.settings.model_dump_json(),
            "epoch": self.progress.epoch,
            "best": self.progress.best,
            "random": torch.get_rng_state(),
        }
        partial = self.output / "last.pt.tmp"
        torch.save(state, partial)
        partial.replace(self.output / "last.pt")

    def _resume(self) -> None:
        last = self.output / "last.pt"
        if not last.exists():
            return
        state = torch.load(last, weights_only=True)
        if "settings" not in state:
            raise InputError(f"{last}: of an earlier version, which cannot be resumed; name a new folder to train anew")
        if state["settings"] != self.settings.model_dump_json():
            raise InputError(f"{self.output} holds a run with other settings; name a new folder to train anew")
        for name, part in self._state().items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        self.progress = _Progress(state["epoch"], state["best"])
        self.console.print(f"resuming at epoch {self.progress.epoch}", highlight=False)


def seed_everything(seed: int) -> None:
    """Seed Python, torch and numpy; the loader's worker derives its own seeds from torch's."""
    random.seed(seed)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (timm's transforms draw from the global generator)
