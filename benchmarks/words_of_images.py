"""Whether a model's words are those that people use: of images with captions, and term by term.

    python benchmarks/words_of_images.py CAPTIONS.jsonl [MODEL ...] [--split dev] [--strongest 5]

A word counts as right where a caption of the image holds it, both stemmed (Snowball's stemmer of English). Of each term
that enough captions hold: how many images have it among their kept terms, how many in a caption, and the average
precision of the images ranked by its weight, which is the share expected of a ranking at random where it says nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import harness
import numpy as np
import snowballstemmer

from lexlip_infer import LexLIPEncoder
from lexlip_infer.datasets import CaptionedImages, read_captioned_images
from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Images whose captions have to hold a term for its precision to mean something.
ENOUGH = 10

_STEM = snowballstemmer.stemmer("english").stemWord


def stems(text: str) -> set[str]:
    """Of its words."""
    return {_STEM(word) for word in re.findall(r"[a-z0-9]+", text.lower())}


def said_of(images: CaptionedImages) -> list[set[str]]:
    """Stems of all captions of each image."""
    return [set().union(*(stems(images.captions[row]) for row in rows)) for rows in images.captions_of()]


def share_right(words: list[list[tuple[str, float]]], said: list[set[str]]) -> float:
    """Of all words, in per cent."""
    right = [_STEM(word) in own for row, own in zip(words, said, strict=True) for word, _ in row]
    return round(100 * float(np.mean(right)), 1)


def average_precision(weights: np.ndarray, relevant: np.ndarray) -> float:
    """Of the ranking by weight, ties in the given order."""
    hits = relevant[np.argsort(-weights, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def term_table(vectors: SparseBatch, terms: list[str], said: list[set[str]]) -> list[dict[str, Any]]:
    """A row for each term that enough captions hold, the best first."""
    columns = vectors.to_scipy().tocsc()
    rows = []
    for term, word in enumerate(terms):
        stem = _STEM(word)
        relevant = np.array([stem in own for own in said])
        weights = columns[:, [term]].toarray()[:, 0]
        if relevant.sum() >= ENOUGH and weights.any():
            precision = round(average_precision(weights, relevant), 3)
            counts = {"images": int((weights > 0).sum()), "in_captions": int(relevant.sum())}
            rows.append({"term": word, **counts, "average_precision": precision})
    return sorted(rows, key=lambda row: -row["average_precision"])


def measure(model: str | None, images: CaptionedImages, strongest: int) -> dict[str, Any]:
    """One model."""
    encoder = LexLIPEncoder.from_pretrained(model)
    harness.say(f"{encoder.manifest.name}: {len(images.images):,} images")
    vectors, said = encoder.encode_images(images.images), said_of(images)
    table = term_table(vectors, encoder.vocabulary.terms, said)
    precisions = [row["average_precision"] for row in table]
    return {
        "model": encoder.manifest.name,
        f"strongest_{strongest}_right": share_right(encoder.decode(vectors, top_k=strongest), said),
        "mean_average_precision": round(float(np.mean(precisions)), 3),
        "at_random": round(float(np.mean([row["in_captions"] for row in table])) / len(said), 3),
        "terms": table,
    }


def main() -> None:
    """Measure every model, the shipped one where none is named."""
    parser = harness.options(__doc__ or "", "words_of_images.json")
    parser.add_argument("captions", type=Path)
    parser.add_argument("models", nargs="*", default=[None])
    parser.add_argument("--split", default="dev")
    parser.add_argument("--strongest", type=int, default=5)
    given = parser.parse_args()
    images = read_captioned_images(given.captions, given.split)
    results = [measure(model, images, given.strongest) for model in given.models]
    report = harness.machine() | {"data": f"{given.captions.parent.name}, {given.split}", "results": results}
    harness.save(report, given.output)
    print({key: value for result in results for key, value in result.items() if key != "terms"})


if __name__ == "__main__":
    main()
