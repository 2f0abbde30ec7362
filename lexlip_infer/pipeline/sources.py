"""The two kinds of input of a run, each as a stream of small batches that come out encoded or failed, in order.

A source knows its ids, where to read each item, and how to have a batch of items encoded. Ids and vectors cannot
drift apart: they travel together from here on.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from lexlip_infer.encoder import LexLIPEncoder
from lexlip_infer.errors import ImageError, InputError
from lexlip_infer.inputs.decoding import decode_images
from lexlip_infer.inputs.folders import ImageItem, list_folder
from lexlip_infer.inputs.texts import TextItem, read_texts
from lexlip_infer.pipeline.output_folder import Failure
from lexlip_infer.sparse import SparseBatch

__all__ = ["EncodedBatch", "ImageFolder", "Source", "TextFile"]


@dataclass(slots=True)
class EncodedBatch:
    """A few consecutive items: vectors of those that worked, and the others.

    Attributes:
        ids: of the rows of `vectors`.
        vectors: absent if no item worked.
        failures: items without a row.
    """

    ids: list[str] = field(default_factory=list)
    vectors: SparseBatch | None = None
    failures: list[Failure] = field(default_factory=list)


class Source(Protocol):
    """Items to encode."""

    @property
    def count(self) -> int:
        """Number of items."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the items do."""
        ...

    @property
    def passed_over(self) -> str:
        """Other files that were seen, such as "3 other files passed over: 3 x .txt"; empty if there were none."""
        ...

    def encode(self, encoder: LexLIPEncoder, items: slice, batch_size: int, top_k: int) -> Iterator[EncodedBatch]:
        """Encode a range of items, in order."""
        ...


class ImageFolder:
    """Images of a folder."""

    def __init__(self, root: Path) -> None:
        self._listing = list_folder(root)
        self._items = self._listing.images

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._items)

    @property
    def fingerprint(self) -> str:
        """Of ids and sizes, in order: to read every image would take as long as to encode some of them."""
        return _digest(part for item in self._items for part in (item.id, str(item.size)))

    @property
    def passed_over(self) -> str:
        """Files that are no images, by suffix."""
        count = self._listing.passed_over.total()
        if not count:
            return ""
        return f"{count:,} other file{'s' * (count != 1)} passed over: {self._listing.describe_passed_over()}"

    def encode(self, encoder: LexLIPEncoder, items: slice, batch_size: int, top_k: int) -> Iterator[EncodedBatch]:
        """Decode ahead on threads, infer on full batches; a failed image leaves its batch smaller."""
        chosen = self._items[items]
        pixels = decode_images((i.path for i in chosen), encoder.preprocess, encoder.threads, 2 * batch_size)
        stream = zip(chosen, pixels, strict=True)
        while rows := list(itertools.islice(stream, batch_size)):
            batch, good = EncodedBatch(), []
            for item, result in rows:
                if isinstance(result, ImageError):
                    batch.failures.append(_decode_failure(item, result))
                elif failure := _id_failure(item.id, item.path):
                    batch.failures.append(failure)
                else:
                    batch.ids.append(item.id)
                    good.append(result)
            if good:
                batch.vectors = encoder.encode_pixels(np.stack(good), top_k)
            yield batch


class TextFile:
    """Texts of a file."""

    def __init__(self, path: Path) -> None:
        self._items = list(read_texts(path))
        if not self._items:
            raise InputError(f"{path}: no texts")

    @property
    def count(self) -> int:
        """Number of texts."""
        return len(self._items)

    @property
    def fingerprint(self) -> str:
        """Of ids and texts, in order."""
        return _digest(part for item in self._items for part in (item.id, item.text))

    @property
    def passed_over(self) -> str:
        """Nothing: the file is the one that was named."""
        return ""

    def encode(self, encoder: LexLIPEncoder, items: slice, batch_size: int, top_k: int) -> Iterator[EncodedBatch]:
        """Texts of similar length share a batch, so that little is padding; order is restored within each block."""
        chosen = self._items[items]
        for start in range(0, len(chosen), _BLOCK * batch_size):
            block = chosen[start : start + _BLOCK * batch_size]
            yield EncodedBatch([item.id for item in block], _encode_block(encoder, block, batch_size, top_k))


#: Batches of texts that are sorted by length together.
_BLOCK = 16


def _encode_block(encoder: LexLIPEncoder, block: list[TextItem], batch_size: int, top_k: int) -> SparseBatch:
    order = sorted(range(len(block)), key=lambda row: len(block[row].text))
    vectors = SparseBatch.concatenate(
        list(encoder.iter_encode_texts((block[row].text for row in order), batch_size, top_k))
    )
    return vectors[np.argsort(order)]


def _decode_failure(item: ImageItem, error: ImageError) -> Failure:
    path = str(item.path)
    return Failure(item.id, path, "decode", str(error).removeprefix(f"{path}: "))


def _id_failure(identifier: str, path: Path) -> Failure | None:
    """A file name may hold what no UTF-8 output can; `read_texts` refuses such an id itself."""
    try:
        identifier.encode()
    except UnicodeEncodeError:
        return Failure(identifier, str(path), "list", "the id is not valid Unicode and cannot be written as UTF-8")
    return None


def _digest(parts: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
