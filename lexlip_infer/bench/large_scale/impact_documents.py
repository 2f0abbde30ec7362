"""Documents as impacts: test photographs, real distractors and synthetic ones, at one number of kept terms.

Test photographs are cut and quantised from their full vectors. Outputs of lexlip-encode hold integers that were cut
before: they are cut further, brought back to unit length where the model's similarity is the cosine, and rounded
again, which differs from quantising the weights by at most a rounding. Synthetic documents are drawn from all real ones
at the same number of kept terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lexlip_infer.bench.large_scale.settings import Settings
from lexlip_infer.bench.large_scale.synthetic import ImpactDistribution
from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import read_manifest
from lexlip_infer.errors import InputError
from lexlip_infer.impacts import JsonLinesWriter, QuantisationSettings, fill_empty, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

__all__ = ["ImpactDocuments", "open_distractors"]

#: Documents of a part file.
_PART = 20_000

#: Real documents that synthetic ones are drawn from, at most; more would change little.
_FITTED = 50_000

Chunk = tuple[list[str], ImpactMatrix]


def open_distractors(settings: Settings, vocabulary: Vocabulary) -> list[Collection]:
    """Outputs of lexlip-encode that fit the experiment.

    Raises:
        InputError: one was encoded with another model, other settings of the quantiser, or fewer terms than are
            compared, or is incomplete.
        OutputError: one is no such output, or has changed.
    """
    outputs = []
    for name in settings.distractors:
        manifest = read_manifest(Path(name))
        ours = (settings.model_fingerprint, settings.scale, settings.cap, settings.normalise)
        theirs = manifest.settings
        if (theirs.model_fingerprint, theirs.scale, theirs.cap, theirs.normalise) != ours:
            raise InputError(
                f"{name} was encoded with {theirs.model_name} (scale {theirs.scale:g}, cap {theirs.cap}), the test "
                f"collection with {settings.model_name} (scale {settings.scale:g}, cap {settings.cap}): encode it anew"
            )
        if theirs.top_k < max(settings.top_ks):
            raise InputError(
                f"{name} keeps {theirs.top_k} terms, the experiment compares up to {max(settings.top_ks)}: encode it "
                f"again with --top-k {max(settings.top_ks)}, or compare fewer"
            )
        outputs.append(Collection.open_output(Path(name), vocabulary=vocabulary))
    return outputs


class ImpactDocuments:
    """All documents of the experiment at one number of kept terms.

    Args:
        settings: of the experiment.
        top_k: kept terms.
        images: (N, V) full vectors of the test photographs.
        image_ids: N.
        distractors: as `open_distractors` gives them.
        placeholder_id: stands in for an empty vector.
    """

    def __init__(
        self,
        settings: Settings,
        top_k: int,
        images: SparseBatch,
        image_ids: Sequence[str],
        distractors: Sequence[Collection],
        placeholder_id: int,
    ) -> None:
        self._settings = settings
        self._top_k = top_k
        self._quantisation = QuantisationSettings(settings.scale, settings.cap, settings.normalise)
        self._test = (list(image_ids), self._cut(images))
        self._distractors = distractors
        self._placeholder_id = placeholder_id

    def write(self, folder: Path, terms: Sequence[str]) -> dict[str, int]:
        """Write part files of JSON lines into `folder`, and nothing else.

        Returns:
            `documents`, `synthetic` ones among them, `postings` and `impact_sum` of all.
        """
        folder.mkdir(parents=True)
        writer = JsonLinesWriter(terms)
        documents = postings = impact_sum = 0
        for number, (ids, impacts) in enumerate(self._chunks()):
            filled, _ = fill_empty(impacts, self._placeholder_id)
            (folder / f"part-{number:05d}.jsonl").write_bytes(writer.encode(ids, filled))
            documents += len(ids)
            postings += len(filled.indices)
            impact_sum += int(filled.impacts.sum(dtype=np.int64))
        facts = {"documents": documents, "synthetic": self._settings.synthetic}
        return facts | {"postings": postings, "impact_sum": impact_sum}

    def _chunks(self) -> Iterator[Chunk]:
        yield self._test
        yield from self._real_distractors()
        if self._settings.synthetic:
            batches = self._distribution().batches(self._settings.synthetic, self._settings.seed, _PART)
            for number, batch in enumerate(batches):
                yield [f"synthetic/{number * _PART + row:09d}" for row in range(len(batch))], batch

    def _real_distractors(self) -> Iterator[Chunk]:
        for number, output in enumerate(self._distractors):
            for ids, impacts in output.chunks():
                yield [f"distractor-{number}/{name}" for name in ids], self._cut(self._as_weights(impacts))

    def _distribution(self) -> ImpactDistribution:
        sample, size = [self._test[1]], len(self._test[1])
        for _, impacts in self._real_distractors():
            if size >= _FITTED:
                break
            sample.append(impacts)
            size += len(impacts)
        return ImpactDistribution.fit(ImpactMatrix.concatenate(sample))

    def _cut(self, weights: SparseBatch) -> ImpactMatrix:
        return quantise(weights.top_k(self._top_k), self._quantisation)

    def _as_weights(self, impacts: ImpactMatrix) -> SparseBatch:
        weights = (impacts.impacts / self._settings.scale).astype(np.float32)
        return SparseBatch(impacts.indptr, impacts.indices, weights, impacts.vocab_size)
