"""Readers of items in memory, and a model of ready vectors, so that what is tested is the pipeline and its output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from lexlip_infer import LexLIPEncoder, SparseBatch
from lexlip_infer.collection.manifest import RunManifest, RunSettings
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.readers import open_images
from lexlip_infer.inputs.texts import Tokens
from lexlip_infer.pipeline.progress import Observer
from lexlip_infer.pipeline.run import encode_collection
from lexlip_infer.pipeline.stages import PipelineOptions

Run = Callable[..., RunManifest]
AnyItem = ImageItem | TextItem | BadItem


@dataclass
class Items:
    """A reader of what it is given; `before` is called before each item is handed out."""

    items: Sequence[AnyItem]
    count: int | None = None
    passed_over: str = ""
    before: Callable[[int], object] = lambda number: None

    def __iter__(self) -> Iterator[Any]:
        for number, item in enumerate(self.items):
            self.before(number)
            yield item


class ReadyVectors:
    """An encoder whose vector of a text depends on nothing but the number that the text is.

    That of 3 is empty. It takes numbers below 5; larger ones are cut, but their vectors do not show it.
    """

    def __init__(self, encoder: LexLIPEncoder) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    @property
    def tokenize(self) -> ReadyVectors:
        return self

    def encode(self, texts: Sequence[str], prompt: str = "") -> Tokens:
        ids = np.array([[int(text)] for text in texts])
        return Tokens(ids, np.ones_like(ids), ids[:, 0] >= 5)

    def encode_token_ids(self, ids: np.ndarray, mask: np.ndarray, top_k: int, mode: str) -> SparseBatch:
        dense = np.array([self._weights(number) for number in ids[:, 0].tolist()], np.float32)
        return SparseBatch.from_scipy(scipy.sparse.csr_array(dense))

    def _weights(self, number: int) -> np.ndarray:
        generator, size = np.random.default_rng(number), len(self.vocabulary)
        return generator.random(size) * (generator.random(size) < 0.1) * (number != 3)


def _numbered(count: int) -> Items:
    """Items 0 to `count` - 1; the second and every sixth after the first cannot be read."""
    bad = {number for number in range(count) if number == 1 or number % 6 == 0} - {0}
    items = [
        BadItem(f"item {number}\udce9", f"/there/{number}", "broken")
        if number in bad
        else TextItem(f"item {number}", f"/there/{number}", str(number))
        for number in range(count)
    ]
    return Items(items, count)


@pytest.fixture
def reader() -> type[Items]:
    return Items


@pytest.fixture
def numbered() -> Callable[[int], Items]:
    """A reader of so many numbers."""
    return _numbered


@pytest.fixture
def items() -> Items:
    """Seven; the second and the last cannot be read, the fourth has no positive term."""
    return _numbered(7)


@pytest.fixture
def settings(encoder: LexLIPEncoder) -> Callable[..., RunSettings]:
    """Settings of a run of texts; keywords replace some."""

    def make(**changes: object) -> RunSettings:
        usual = {
            "modality": "text",
            "source": "/there",
            "model": None,
            "model_name": encoder.manifest.name,
            "model_fingerprint": encoder.bundle.fingerprint,
            "top_k": 8,
            "scale": 100.0,
            "cap": 255,
            "normalise": True,
            "items_per_shard": 2,
        }
        return RunSettings.model_validate(usual | changes)

    return make


@pytest.fixture
def run(encoder: LexLIPEncoder, settings: Callable[..., RunSettings]) -> Run:
    """Encode `numbered` into a folder; keywords replace settings."""

    def encode(reader: Items, output: Path, /, batch_size: int = 2, **changes: object) -> RunManifest:
        ready: Any = ReadyVectors(encoder)
        options = PipelineOptions(batch_size=batch_size)
        return encode_collection([ready], reader, output, settings(**changes), options, Observer())

    return encode


@pytest.fixture
def encode_images(encoder: LexLIPEncoder, settings: Callable[..., RunSettings]) -> Run:
    """Encode images of a folder, or of a reader, into a folder; keywords of options and settings, and an observer."""

    def encode(images: Path | Items, output: Path, /, encoders: int = 1, **changes: Any) -> RunManifest:
        reader = images if isinstance(images, Items) else open_images([str(images)])
        options = {name: changes.pop(name) for name in PipelineOptions.__slots__ if name in changes}
        observer = changes.pop("observer", Observer())
        made = settings(**({"modality": "image"} | changes))
        return encode_collection([encoder] * encoders, reader, output, made, PipelineOptions(**options), observer)

    return encode


@pytest.fixture
def contents() -> Callable[[Path], dict[str, Any]]:
    """Every file of an output folder; of the manifest all but timings, which are never the same."""
    return _contents


def _contents(folder: Path) -> dict[str, Any]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["timings"] is not None or not manifest["shards"]
    return files | {"manifest.json": manifest | {"timings": None}}
