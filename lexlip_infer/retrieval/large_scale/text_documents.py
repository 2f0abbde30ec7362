"""Documents as texts: the caption that was set aside for each photograph, and a synthetic text for each distractor.

A synthetic text is a bag of words: as many words as a real caption has, each as frequent as in real captions. It reads
like no caption, and says nothing about recall.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lexlip_infer.retrieval.synthetic import ImpactDistribution
from lexlip_kernels import ImpactMatrix

__all__ = ["write_texts"]

_PART = 50_000


def write_texts(folder: Path, ids: Sequence[str], captions: Sequence[str], synthetic: int, seed: int) -> dict[str, int]:
    """Write part files of lines {"id", "contents"}, as Anserini's JsonCollection reads them, and nothing else.

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
    _write(folder / "part-00000.jsonl", zip(ids, captions, strict=True))
    if synthetic:
        words, counts = _count(captions)
        distribution = ImpactDistribution.fit(counts)
        for number, batch in enumerate(distribution.batches(synthetic, seed, _PART)):
            names = (f"synthetic/{number * _PART + row:09d}" for row in range(len(batch)))
            _write(folder / f"part-{number + 1:05d}.jsonl", zip(names, _spell(batch, words), strict=True))
    return {"documents": len(ids) + synthetic, "synthetic": synthetic}


def _write(file: Path, documents: Iterator[tuple[str, str]]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for name, text in documents:
            lines.write(json.dumps({"id": name, "contents": text}, ensure_ascii=False) + "\n")


def _count(texts: Sequence[str]) -> tuple[list[str], ImpactMatrix]:
    """Words, and how often each stands in each text."""
    counted = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    words = sorted(set().union(*counted))
    number = {word: i for i, word in enumerate(words)}
    rows = [sorted((number[word], times) for word, times in counts.items()) for counts in counted]
    flat = np.array([entry for row in rows for entry in row], np.int32).reshape(-1, 2)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return words, ImpactMatrix(indptr, flat[:, 0].copy(), flat[:, 1].copy(), len(words))


def _spell(counts: ImpactMatrix, words: Sequence[str]) -> Iterator[str]:
    for row in range(len(counts)):
        ids, times = counts.row(row)
        yield " ".join(" ".join([words[word]] * n) for word, n in zip(ids.tolist(), times.tolist(), strict=True))
