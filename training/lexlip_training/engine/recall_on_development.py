"""Recall on the development split, as a user gets it: kept terms, integer impacts, exact search on the runtime's index.

A dense model has no terms and is ranked by cosine. Images are encoded once however many captions they have, and
none is ever replaced by another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.retrieval.evaluation import CaptionedImages, impact_recall, keep_heaviest
from lexlip_infer.retrieval.recall import Recall, rank_rows, recall
from lexlip_infer.sparse import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_training.dense_model import DenseModel
from lexlip_training.engine.settings import EvaluationSettings
from lexlip_training.model import LexLIP
from lexlip_training.pair_batch import PairBatch

__all__ = ["DevelopmentPairs", "RecallOnDevelopment"]

Part = TypeVar("Part")


class DevelopmentPairs(Protocol):
    """Pairs of the development split, not augmented, one row a caption."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> object: ...

    @property
    def collate(self) -> Callable[[list[Any]], PairBatch]:
        """Items to a batch."""


class RecallOnDevelopment:
    """Called, gives recalls, their sum `dev_sum`, and mean active terms.

    Args:
        model: left in the training mode it had.
        pairs: the development split.
        settings: section `[evaluation]`.
        device: of the model.
        autocast: makes a context for the forward passes, as training uses it.
    """

    def __init__(
        self,
        model: LexLIP | DenseModel,
        pairs: DevelopmentPairs,
        settings: EvaluationSettings,
        device: torch.device,
        autocast: Callable[[], Any],
    ) -> None:
        self.model, self.pairs, self.settings, self.device, self.autocast = model, pairs, settings, device, autocast

    @torch.no_grad()
    def __call__(self) -> dict[str, Any]:
        """Encode both sides and search."""
        training = self.model.training
        self.model.eval()
        try:
            if isinstance(self.model, LexLIP):
                return self._lexicon(self.model)
            return self._dense(self.model)
        finally:
            self.model.train(training)

    def _lexicon(self, model: LexLIP) -> dict[str, Any]:
        settings = self.settings
        images, texts, owner = self._encode(
            lambda pixels: _sparse(model.image_weights(pixels), settings.image_top_k),
            lambda ids, mask: _sparse(model.text_weights(ids, mask), settings.text_top_k),
        )
        impacts = [quantise(SparseBatch.concatenate(part), QuantisationSettings(normalise=True)) for part in (images, texts)]
        terms = {f"dev_terms_{side}": _mean_terms(part) for side, part in zip(("image", "text"), impacts, strict=True)}
        return _figures(*impact_recall(impacts[0], impacts[1], owner, threads=1)) | terms

    def _dense(self, model: DenseModel) -> dict[str, Any]:
        images, texts, owner = self._encode(
            lambda pixels: model.image_vectors(pixels).float().cpu(),
            lambda ids, mask: model.text_vectors(ids, mask).float().cpu(),
        )
        scores: npt.NDArray[np.float32] = (torch.cat(texts) @ torch.cat(images).T).numpy()
        to_image = recall(rank_rows(scores), [[image] for image in owner.owner])
        return _figures(to_image, recall(rank_rows(scores.T), owner.captions_of()))

    def _encode(
        self, encode_images: Callable[[Tensor], Part], encode_texts: Callable[[Tensor, Tensor], Part]
    ) -> tuple[list[Part], list[Part], CaptionedImages]:
        """Both sides in batches; an image counts where its id first appears."""
        images, texts, owner = [], [], []
        rows: dict[int, int] = {}
        dtype = next(self.model.parameters()).dtype
        for batch in self._batches():
            fresh = []
            for position, key in enumerate(batch.image_ids.tolist()):
                if key not in rows:
                    rows[key] = len(rows)
                    fresh.append(position)
                owner.append(rows[key])
            with self.autocast():
                if fresh:
                    images.append(encode_images(batch.pixels[fresh].to(dtype)))
                texts.append(encode_texts(batch.input_ids, batch.attention_mask))
        return images, texts, CaptionedImages((Path(),) * len(rows), (), tuple(owner))

    def _batches(self) -> Iterator[PairBatch]:
        size = self.settings.batch_size
        for start in range(0, len(self.pairs), size):
            rows = range(start, min(start + size, len(self.pairs)))
            yield self.pairs.collate([self.pairs[row] for row in rows]).to(self.device)


def _sparse(weights: Tensor, top_k: int) -> SparseBatch:
    """The heaviest terms of (B, V) weights."""
    import scipy.sparse

    dense = weights.float().cpu().numpy()
    return keep_heaviest(SparseBatch.from_scipy(scipy.sparse.csr_array(dense)), top_k)


def _mean_terms(impacts: ImpactMatrix) -> float:
    return round(len(impacts.indices) / max(1, len(impacts)), 2)


def _figures(to_image: Recall, to_text: Recall) -> dict[str, Any]:
    named = {"t2i": to_image, "i2t": to_text}
    figures = {f"{name}_{k}": getattr(value, f"at_{k}") for name, value in named.items() for k in (1, 5, 10)}
    return figures | {"dev_sum": to_image.total() + to_text.total()}
