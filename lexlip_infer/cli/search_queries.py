"""What `lexlip search` looks for: words, an image, a file of texts, or vectors that are encoded already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lexlip_infer.cli.shell import counted
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.search.searchable import Searchable
    from lexlip_infer.vectors.sparse_batch import SparseBatch
    from lexlip_infer.vocabulary import Vocabulary
    from lexlip_kernels import ImpactMatrix

__all__ = ["Asked", "Queries", "load_queries"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One of four ways to ask; the others are empty."""

    words: str
    image: Path | None
    texts: Path | None
    vectors: Path | None

    def check(self) -> None:
        """Refuse none, and more than one."""
        given = [bool(self.words.strip()), self.image is not None, self.texts is not None, self.vectors is not None]
        if sum(given) != 1:
            raise InputError("give one of a query in words, --image FILE, --queries FILE and --query-vectors PATH")

    @property
    def one(self) -> bool:
        """Whether it is a single query, answered for a person."""
        return self.texts is None and self.vectors is None


@dataclass(frozen=True, slots=True)
class Queries:
    """Encoded queries.

    Attributes:
        ids: (Q,).
        impacts: (Q, V).
        vocabulary: V terms.
        weights: what the model gave, (Q, V); nothing for vectors that were encoded beforehand.
        encoder: that made them; nothing likewise.
    """

    ids: list[str]
    impacts: ImpactMatrix
    vocabulary: Vocabulary
    weights: SparseBatch | None = None
    encoder: LexLIPEncoder | None = None


def load_queries(asked: Asked, place: Path, searchable: Searchable, model: str | None, threads: int | None) -> Queries:
    """Encode or read the queries for an index.

    Raises:
        InputError: they are malformed, or the model is not the one that encoded the documents.
    """
    if asked.vectors is not None:
        return _read_vectors(asked.vectors, place, searchable, model)
    from lexlip_infer.impacts import quantise

    encoder = _encoder(place, searchable, model, threads)
    assert searchable.encoded_with is not None
    ids, weights = (["1"], _encode_one(encoder, asked)) if asked.texts is None else _encode_texts(encoder, asked.texts)
    impacts = quantise(weights, searchable.encoded_with.quantisation)
    return Queries(ids, impacts, encoder.vocabulary, weights, encoder)


def _read_vectors(path: Path, place: Path, searchable: Searchable, model: str | None) -> Queries:
    from lexlip_infer.search.query_vectors import read_query_vectors

    vocabulary = searchable.vocabulary
    if vocabulary is None:
        vocabulary = _encoder(place, searchable, model, None).vocabulary
    read = read_query_vectors(path, vocabulary)
    if read.unknown:
        typer.echo(f"{path}: {counted(read.unknown, 'term')} unknown to {place} can match nothing", err=True)
    return Queries(read.ids, read.impacts, vocabulary)


def _encoder(place: Path, searchable: Searchable, model: str | None, threads: int | None) -> LexLIPEncoder:
    from lexlip_infer.encoder import LexLIPEncoder

    encoded_with = searchable.encoded_with
    if encoded_with is None:
        raise InputError(f"{place} does not say which model encodes its queries; encode them, and give --query-vectors")
    # A few queries are encoded long before a GPU is ready for them.
    encoder = LexLIPEncoder.from_pretrained(encoded_with.model if model is None else model, "cpu", threads=threads)
    encoded_with.check_model(str(place), encoder.manifest.name, encoder.bundle.fingerprint)
    return encoder


def _encode_one(encoder: LexLIPEncoder, asked: Asked) -> SparseBatch:
    from lexlip_infer.inputs.images import load_image

    if asked.image is None:
        return encoder.encode_texts([asked.words], show_progress_bar=False)
    # Not encode_images, whose messages count positions in a list.
    return encoder.encode_pixels(encoder.preprocess(load_image(asked.image))[None])


def _encode_texts(encoder: LexLIPEncoder, file: Path) -> tuple[list[str], SparseBatch]:
    from lexlip_infer.inputs.items import BadItem
    from lexlip_infer.inputs.readers import open_texts

    ids, texts = [], []
    for item in open_texts([str(file)]):
        if isinstance(item, BadItem):
            raise InputError(f"{item.origin}: {item.error}")
        ids.append(item.id)
        texts.append(item.text)
    return ids, encoder.encode_texts(texts, show_progress_bar=False)
