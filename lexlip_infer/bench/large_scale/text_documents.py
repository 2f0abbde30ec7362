"""Documents as texts: the caption that was set aside for each photograph, and a synthetic text for each distractor.

A synthetic text is a bag of words: as many words as a real caption has, each as frequent as in real captions. It reads
like no caption, and says nothing about recall.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lexlip_infer.bench.large_scale.synthetic import ImpactDistribution
from lexlip_kernels import ImpactMatrix

__all__ = ["TEXTS", "read_texts", "write_texts"]

#: In the folder of these documents.
TEXTS = "texts.jsonl"


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


def read_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Ids and texts that `write_texts` wrote."""
    with (folder / TEXTS).open(encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    return [document["id"] for document in documents], [document["text"] for document in documents]


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
