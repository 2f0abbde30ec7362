"""What a compact momentum queue saves, and what it does to the loss, on vectors of a trained model.

    python benchmarks/queue_storage.py flickr8k/captions.jsonl [--split dev] [--pairs 288] [--model MODEL]

The first 32 pairs are queries and keys, the others fill the queue. Memory is given for the paper's queue, 11,520 keys
of 30,522 terms. No times. Writes benchmarks/results/queue_storage.json.
"""

from __future__ import annotations

from pathlib import Path

import torch
from harness import RESULTS, finish, machine, options
from torch import Tensor

from lexlip_infer import LexLIPEncoder
from lexlip_infer.datasets import read_captioned_images
from lexlip_training.objectives import ObjectiveConfig
from lexlip_training.objectives.momentum import PairQueue, queue_bytes
from lexlip_training.objectives.objective import queue_contrast, unit_vectors

QUERIES = 32
CASES = [("dense", 1), ("half", 1), *(("sparse", top_k) for top_k in (1024, 512, 256, 128, 64, 32))]


def encoded(captions: Path, split: str, pairs: int, model: str | None) -> tuple[Tensor, Tensor]:
    """Un-pruned unit vectors (N, V) of images and of the first caption of each."""
    data = read_captioned_images(captions, split)
    encoder = LexLIPEncoder.from_pretrained(model)
    every_term = encoder.bundle.manifest.vocab_size
    texts = [data.captions[rows[0]] for rows in data.captions_of()][:pairs]
    batches = (
        encoder.encode_images([str(path) for path in data.images[:pairs]], top_k=every_term),
        encoder.encode_texts(texts, top_k=every_term),
    )
    images, texts_ = (unit_vectors(torch.from_numpy(batch.to_dense())) for batch in batches)
    return images, texts_


def measure(images: Tensor, texts: Tensor, storage: str, top_k: int) -> dict[str, object]:
    """The loss of the queries against the queue, the share of squared length kept, and the paper's memory."""
    settings = {"kind": "momentum_contrast", "storage": storage, "queue_top_k": top_k}
    config = ObjectiveConfig.model_validate(settings | {"queue_size": len(images) - QUERIES})
    queue, ids = PairQueue(config, images.shape[1]), torch.arange(len(images))
    packed = [rows.pack(keys[QUERIES:]) for rows, keys in ((queue.images, images), (queue.texts, texts))]
    queue.push(packed[0], packed[1], ids[QUERIES:])
    allowed = queue.allowed(ids[:QUERIES], same_image_negatives=False)
    sides = ((texts[:QUERIES], images[:QUERIES], queue.images), (images[:QUERIES], texts[:QUERIES], queue.texts))
    losses = [queue_contrast(q, k, rows.scores(q), allowed, config.temperature) for q, k, rows in sides]
    mass = [part[-1].float().square().sum(1).mean() for part in packed]
    return {
        "storage": storage,
        "top_k": top_k if storage == "sparse" else None,
        "loss": round(float(sum(losses)) / 2, 6),
        "queue_mass": round(float(sum(mass)) / 2, 4),
        "megabytes_11520_by_30522": round(queue_bytes(ObjectiveConfig.model_validate(settings), 30522) / 1e6, 1),
    }


def main() -> None:
    """Print and write the table."""
    parser = options(__doc__ or "")
    parser.add_argument("captions", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--pairs", type=int, default=288)
    parser.add_argument("--model")
    given = parser.parse_args()
    images, texts = encoded(given.captions, given.split, given.pairs, given.model)
    rows = [measure(images, texts, *case) for case in CASES]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    terms = {name: float((v > 0).sum(1).float().mean()) for name, v in (("images", images), ("texts", texts))}
    report = {"machine": machine("torch"), "pairs": len(images), "active_terms": terms, "rows": rows}
    finish(report, RESULTS / "queue_storage.json")


if __name__ == "__main__":
    main()
