"""The texts of the experiment: captions that look for their photograph, and captions that stand for one.

As in the paper, whose queries are 4,000 of the 5,000 captions of its 1,000 photographs, one caption of each photograph
(the first) is set aside: it is the photograph's document where texts are searched (BM25, bag of words). All others are
queries, the same ones for every system. Synthetic texts are drawn from the words of the captions as synthetic impacts
are from impacts.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.bench.large_scale.files import TEXTS
from lexlip_infer.bench.large_scale.impacts import ImpactDistribution
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.errors import InputError
from lexlip_kernels import ImpactMatrix


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Queries and documents of a test collection.

    Attributes:
        image_ids: N, the document of each photograph.
        image_captions: N, the caption that was set aside for it.
        texts: Q queries.
        caption_rows: (Q,), where each query stands among all captions of the collection.
        relevant: for each query, the id of its photograph.
    """

    image_ids: tuple[str, ...]
    image_captions: tuple[str, ...]
    texts: tuple[str, ...]
    caption_rows: npt.NDArray[np.int64]
    relevant: tuple[str, ...]

    @classmethod
    def of(cls, data: CaptionedImages, image_ids: tuple[str, ...]) -> QuerySet:
        """Set a caption of each photograph aside.

        Raises:
            InputError: no photograph has a second one.
        """
        owner = np.array(data.owner)
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        rows = np.setdiff1d(np.arange(len(owner)), first)
        if not len(rows):
            raise InputError(
                f"each of the {len(data.images)} photographs has one caption, which is its document where texts are "
                "searched; queries are further captions: give at least two for some photographs"
            )
        return cls(
            image_ids,
            tuple(data.captions[row] for row in first),
            tuple(data.captions[row] for row in rows),
            rows,
            tuple(image_ids[owner[row]] for row in rows),
        )


def write_texts(folder: Path, ids: Sequence[str], captions: Sequence[str], synthetic: int, seed: int) -> dict[str, int]:
    """Write `texts.jsonl`, lines {"id", "text"}.

    Args:
        folder: is made.
        ids: N real documents.
        captions: their texts, which synthetic ones are drawn from.
        synthetic: drawn documents.
        seed: of these.

    Returns:
        `documents`, and `synthetic` ones among them.
    """
    folder.mkdir(parents=True)
    with (folder / TEXTS).open("w", encoding="utf-8") as lines:
        for name, text in itertools.chain(zip(ids, captions, strict=True), _synthetic(captions, synthetic, seed)):
            lines.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    return {"documents": len(ids) + synthetic, "synthetic": synthetic}


def _synthetic(captions: Sequence[str], count: int, seed: int) -> Iterator[tuple[str, str]]:
    if not count:
        return
    words, counts = _count(captions)
    numbers = itertools.count()
    for batch in ImpactDistribution.fit(counts).batches(count, seed):
        for text in _spell(batch, words):
            yield f"synthetic/{next(numbers):09d}", text


def _count(texts: Sequence[str]) -> tuple[list[str], ImpactMatrix]:
    """Words, and how often each stands in each text."""
    counted = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    words = sorted(set().union(*counted))
    number = {word: i for i, word in enumerate(words)}
    rows = ([(number[word], times) for word, times in counts.items()] for counts in counted)
    return words, ImpactMatrix.from_rows(rows, len(words))


def _spell(counts: ImpactMatrix, words: Sequence[str]) -> Iterator[str]:
    for row in range(len(counts)):
        ids, times = counts.row(row)
        yield " ".join(" ".join([words[word]] * n) for word, n in zip(ids.tolist(), times.tolist(), strict=True))
