"""Zero-shot classification: an image is of the class whose texts it is most similar to, no classifier being trained.

A class is described by every prompt template; its vector is the mean of the templates' unit vectors (CLIP's ensembling,
Radford et al. 2021, 3.1.4). Un-pruned vectors under the model's similarity stand beside quantised impacts, where
classes are the documents of an inverted index and an image is the query. Ties go to the class that comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lexlip_infer.datasets.class_folders import ClassFolders
from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.evaluation.query_results import QueryResults, Section
from lexlip_infer.evaluation.ranks import Labels, Ranks, impact_ranks, similarity_ranks
from lexlip_infer.evaluation.significance import bootstrap_interval
from lexlip_infer.evaluation.small_scale import Settings
from lexlip_infer.impacts import quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Images encoded at a time.
_BATCH = 16

#: Accuracy is among so many classes, the best ones.
_CUTOFFS = (1, 5)


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Ranks (N,) of each image's own class, from 1; top-1 is the share of rank 1, top-5 that of at most 5.

    Attributes:
        full: of un-pruned vectors.
        impacts: of quantised impacts; see `Ranks` for an image that shares no term with its class.
    """

    full: Ranks
    impacts: Ranks

    def record(self, folders: ClassFolders) -> dict[str, dict[str, Any]]:
        """Accuracies in per cent, with 95 % intervals over images, by kind of vectors."""
        return {"full": _accuracies(self.full, folders.labels), "impacts": _accuracies(self.impacts, folders.labels)}

    def query_results(self, folders: ClassFolders, system: str) -> QueryResults:
        """What every image got; `system` says for people what was measured."""
        ids = folders.ids()
        kinds = (("full vectors", self.full), ("impacts", self.impacts))
        sections = {f"zero-shot, {kind}": Section.of_ranks(ids, ids, ranks, _CUTOFFS, "top") for kind, ranks in kinds}
        return QueryResults(system=system, data=folders.root.name, sections=sections)


def class_vectors(
    encoder: LexLIPEncoder, names: Sequence[str], templates: Sequence[str], mode: str | None = None
) -> SparseBatch:
    """One row a class (C, V), un-pruned: the mean over templates of the unit vectors of the filled-in texts.

    Args:
        encoder: of texts.
        names: of the classes.
        templates: each with `{}` where the name goes.
        mode: of the texts; see `LexLIPEncoder.encode_texts`.
    """
    rows = [_mean_unit_vector(encoder, [text.replace("{}", name) for text in templates], mode) for name in names]
    return SparseBatch.concatenate(rows)


def _mean_unit_vector(encoder: LexLIPEncoder, texts: list[str], mode: str | None) -> SparseBatch:
    from scipy.sparse import csr_array

    batch = encoder.encode_texts(texts, top_k=encoder.manifest.vocab_size, show_progress_bar=False, mode=mode)
    weights = 1 / (len(batch) * np.maximum(batch.norms(), np.finfo(np.float32).tiny))
    return SparseBatch.from_scipy(csr_array(weights[None, :]) @ batch.to_scipy())


def classify(
    encoder: LexLIPEncoder,
    folders: ClassFolders,
    classes: SparseBatch,
    settings: Settings,
    progress: Callable[[int], None] = lambda _: None,
) -> ZeroShot:
    """Rank the classes for every image, a batch of images in memory at a time.

    Args:
        encoder: of images.
        folders: images and their classes.
        classes: (C, V), as `class_vectors` makes them.
        settings: kept terms (those of a text for a class) and scale of the impacts.
        progress: told how many images are done.

    Raises:
        ImageError: an image cannot be decoded.
    """
    quantisation = settings.quantisation(encoder.manifest)
    documents = quantise(classes.top_k(settings.text_top_k), quantisation)
    rows, done = np.arange(len(classes)), 0
    full, impacts = [], []
    for images in encoder.iter_encode_images(folders.images, _BATCH, encoder.manifest.vocab_size):
        labels = folders.labels[done : done + len(images)]
        full.append(similarity_ranks(encoder, images, classes, labels, rows))
        queries = quantise(images.top_k(settings.image_top_k), quantisation)
        impacts.append(impact_ranks(queries, documents, labels, rows, encoder.threads))
        done += len(images)
        progress(done)
    return ZeroShot(np.concatenate(full), np.concatenate(impacts))


def _accuracies(ranks: Ranks, labels: Labels) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for k in _CUTOFFS:
        hits = np.where(ranks <= k, 100.0, 0.0)
        figures[f"top_{k}"] = round(float(hits.mean()), 2)
        ends = bootstrap_interval(hits, np.arange(len(ranks)))
        figures[f"top_{k}_interval_95"] = [round(end, 2) for end in ends]
    return figures | {"mean_per_class": round(100 * mean_per_class(ranks <= 1, labels), 2)}


def mean_per_class(hits: npt.NDArray[np.bool_], labels: Labels) -> float:
    """Mean over classes of the share of their images that are hits: small classes count as much as large ones."""
    _, rows = np.unique(labels, return_inverse=True)
    return float((np.bincount(rows, hits) / np.bincount(rows)).mean())
