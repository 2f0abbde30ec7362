"""What is encoded: made-up photographs and captions that cost what real ones cost, or a user's own, again and again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lexlip_infer.bundle import Modality
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem
from lexlip_infer.inputs.readers import open_images, open_texts

__all__ = ["Repeated", "open_inputs", "write_images", "write_texts"]

#: Of a photograph as collections have them; a JPEG of it in quality 90 takes about 100 KB.
_WIDTH, _HEIGHT = 640, 480


class Repeated:
    """The first `count` items of a reader, from its start again where it has fewer."""

    passed_over = ""

    def __init__(self, reader: Iterable[Any], count: int) -> None:
        self.count = count
        self._reader = reader

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(itertools.chain.from_iterable(itertools.repeat(self._reader)), self.count)


def open_inputs(modality: Modality, place: Path, count: int) -> Repeated:
    """A reader of `count` items.

    Raises:
        InputError: the place holds none, or one that cannot be read.
    """
    reader: Iterable[Any] = open_images([str(place)]) if modality == "image" else open_texts([str(place)])
    first = next(iter(reader), None)
    if first is None:
        raise InputError(f"{place}: holds no {modality} to encode; name a folder of images, or use --synthetic N")
    if isinstance(first, BadItem):
        raise InputError(f"{first.origin}: {first.error}")
    return Repeated(reader, count)


def write_images(folder: Path, count: int) -> None:
    """JPEG files with the statistics that matter to a decoder: smooth shapes under a little noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth, np.int16) + random.normal(0, 6, (_HEIGHT, _WIDTH, 1)).astype(np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.jpg", quality=90)


def write_texts(path: Path, terms: Sequence[str], count: int, words: int) -> None:
    """Lines of `words` words of the vocabulary each, which a tokenizer leaves whole."""
    random = np.random.default_rng(0)
    whole = [term for term in terms if term.isascii() and term.isalpha()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(whole[term] for term in random.integers(0, len(whole), words))
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
