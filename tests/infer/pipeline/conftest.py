"""A source of ready vectors, so that what is tested is the folder and not the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.pipeline.manifest import RunManifest, RunSettings
from lexlip_infer.pipeline.output_folder import Failure
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.sources import EncodedBatch, Source

Run = Callable[..., RunManifest]


@pytest.fixture(scope="session")
def encoder(bundle_folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(bundle_folder, threads=1)


@dataclass
class ReadyVectors:
    """Seven items; the second and the last fail, the fourth has no positive term."""

    vocab_size: int
    count: int = 7
    fingerprint: str = "0" * 64
    passed_over: str = ""

    def encode(self, encoder: LexLIPEncoder, items: slice, batch_size: int, top_k: int) -> Iterator[EncodedBatch]:
        rows = range(self.count)[items]
        for start in range(0, len(rows), batch_size):
            batch, dense = EncodedBatch(), []
            for row in rows[start : start + batch_size]:
                if row in (1, 6):
                    batch.failures.append(Failure(f"item {row}\udce9", f"/there/{row}", "decode", "broken"))
                    continue
                batch.ids.append(f"item {row}")
                dense.append(np.zeros(self.vocab_size) if row == 3 else self._weights(row))
            if dense:
                import scipy.sparse

                batch.vectors = SparseBatch.from_scipy(scipy.sparse.csr_array(np.array(dense, np.float32)))
            yield batch

    def _weights(self, row: int) -> np.ndarray:
        generator = np.random.default_rng(row)
        return generator.random(self.vocab_size) * (generator.random(self.vocab_size) < 0.1)


@pytest.fixture
def ready_vectors(encoder: LexLIPEncoder) -> ReadyVectors:
    return ReadyVectors(len(encoder.vocabulary))


@pytest.fixture
def run(encoder: LexLIPEncoder) -> Run:
    """Encode a source into a folder; keywords replace settings."""

    def encode(source: Source, output: Path, /, batch_size: int = 2, **changes: object) -> RunManifest:
        settings = {
            "modality": "text",
            "source": "/there",
            "source_fingerprint": source.fingerprint,
            "source_count": source.count,
            "model": None,
            "model_name": encoder.manifest.name,
            "model_fingerprint": encoder.bundle.fingerprint,
            "top_k": 8,
            "scale": 100.0,
            "cap": 255,
            "normalise": True,
            "items_per_shard": 2,
        }
        checked = RunSettings.model_validate(settings | changes)
        return encode_collection(encoder, source, output, checked, batch_size, lambda done, failed: None)

    return encode
