"""Recall on the development split, which selects a checkpoint.

As a user gets it (kept terms, integer impacts, exact search on the runtime's index), or by the cosine of whole vectors,
as a dense model is ranked, which has no terms. Every image is encoded once, and none is ever replaced by another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from lexlip_infer.evaluation.ranks import Labels, Recall, impact_recall, score_recall
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_training.data import PairDataset
from lexlip_training.engine.settings import EvaluationSettings
from lexlip_training.model import DenseModel, LexLIP
from lexlip_training.objectives.objective import image_vectors, text_vectors

Part = TypeVar("Part")


class Evaluator:
    """Called, gives recalls, their sum `dev_sum`, and mean active terms.

    Args:
        model: left in the training mode it had.
        pairs: the development split; images are encoded as they are.
        settings: section `[evaluation]`.
        device: of the model.
        autocast: makes a context for the forward passes, as training uses it.
    """

    def __init__(
        self,
        model: LexLIP | DenseModel,
        pairs: PairDataset,
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
            if isinstance(self.model, LexLIP) and self.settings.ranking == "impacts":
                return self._by_impacts(self.model)
            return self._by_cosine()
        finally:
            self.model.train(training)

    def _by_impacts(self, model: LexLIP) -> dict[str, Any]:
        settings = self.settings
        images, texts, owner = self._encode(
            lambda pixels: _sparse(model.image_weights(pixels), settings.image_top_k),
            lambda ids, mask: _sparse(model.text_weights(ids, mask), settings.text_top_k),
        )
        impacts = [
            quantise(SparseBatch.concatenate(part), QuantisationSettings(normalise=True)) for part in (images, texts)
        ]
        terms = {f"dev_terms_{side}": _mean_terms(part) for side, part in zip(("image", "text"), impacts, strict=True)}
        return _figures(*impact_recall(impacts[0], impacts[1], owner, threads=1)) | terms

    def _by_cosine(self) -> dict[str, Any]:
        images, texts, owner = self._encode(
            lambda pixels: image_vectors(self.model, pixels).float().cpu(),
            lambda ids, mask: text_vectors(self.model, ids, mask).float().cpu(),
        )
        if isinstance(self.model, LexLIP):  # vectors of a dense model have length 1 already
            images, texts = ([normalize(part, dim=1) for part in side] for side in (images, texts))
        scores: npt.NDArray[np.float32] = (torch.cat(texts) @ torch.cat(images).T).numpy()
        return _figures(*score_recall(scores, owner))

    def _encode(
        self, encode_images: Callable[[Tensor], Part], encode_texts: Callable[[Tensor, Tensor], Part]
    ) -> tuple[list[Part], list[Part], Labels]:
        """Both sides in batches, every image and every caption once, in the order of the table."""
        table, dtype = self.pairs.table, next(self.model.parameters()).dtype
        images, texts = [], []
        with self.autocast():
            for rows in self._batches(table.images):
                pixels = torch.stack([self.pairs.image_pixels(row) for row in rows])
                images.append(encode_images(pixels.to(self.device, dtype)))
            for rows in self._batches(len(table.captions)):
                ids = [torch.tensor(self.pairs.token_ids(row)) for row in rows]
                padded = pad_sequence(ids, batch_first=True)
                mask = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
                texts.append(encode_texts(padded.to(self.device), mask.to(self.device)))
        return images, texts, np.asarray(table.owner, np.int64)

    def _batches(self, rows: int) -> Iterator[range]:
        size = self.settings.batch_size
        return (range(start, min(start + size, rows)) for start in range(0, rows, size))


def _sparse(weights: Tensor, top_k: int) -> SparseBatch:
    """The heaviest terms of (B, V) weights."""
    import scipy.sparse

    dense = weights.float().cpu().numpy()
    return SparseBatch.from_scipy(scipy.sparse.csr_array(dense)).top_k(top_k)


def _mean_terms(impacts: ImpactMatrix) -> float:
    return round(len(impacts.indices) / max(1, len(impacts)), 2)


def _figures(to_image: Recall, to_text: Recall) -> dict[str, Any]:
    named = {"t2i": to_image, "i2t": to_text}
    figures = {f"{name}_{k}": getattr(value, f"at_{k}") for name, value in named.items() for k in (1, 5, 10)}
    figures |= {"text_to_image": str(to_image), "image_to_text": str(to_text)}
    return figures | {"dev_sum": to_image.total() + to_text.total()}
