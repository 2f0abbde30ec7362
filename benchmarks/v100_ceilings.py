"""What a V100 can do at most: arithmetic on its data sheet, printed as the table of docs/v100.md. Nothing is measured.

Run `python benchmarks/v100_ceilings.py`. Counted are the matrix products, at the peak of the tensor cores, and one
reading of the logits at the full bandwidth of the memory; writing them hides behind the product that makes them. Left
out is everything else (LayerNorm, softmax, GELU, copies, launches), so a real card stays below, and no card above.
"""

from __future__ import annotations

from dataclasses import dataclass

LAYERS, HIDDEN, VOCABULARY, PATCH = 12, 768, 30522, 16
HALF = 2
"""Bytes of a logit."""
LOGITS_LIMIT = 2**30
"""Bytes of logits on the device at a time; larger batches are split."""


@dataclass(frozen=True)
class Card:
    """NVIDIA's data sheet of the V100: tensor cores in half precision, and device memory."""

    name: str
    tflop_per_s: float
    gb_per_s: float


@dataclass(frozen=True)
class Work:
    """One item through a tower of `lexlip-base`: BEiT-B/16 or BERT-base, transform, decoder."""

    name: str
    tokens: int
    patches: int

    @property
    def flop(self) -> int:
        """Of the matrix products; a multiplication and an addition count as two."""
        layer = self.tokens * 12 * HIDDEN**2 + 2 * self.tokens**2 * HIDDEN
        embedding = self.patches * 3 * PATCH**2 * HIDDEN
        head = self.tokens * HIDDEN**2 + self.tokens * HIDDEN * VOCABULARY
        return 2 * (LAYERS * layer + embedding + head)

    @property
    def logits_bytes(self) -> int:
        """Of (L, V) in half precision."""
        return self.tokens * VOCABULARY * HALF

    @property
    def largest_batch(self) -> int:
        """Items whose logits stay below the limit."""
        return (LOGITS_LIMIT - 1) // self.logits_bytes

    def per_second(self, card: Card) -> float:
        """Items: products first, then the reading of the logits by `lexicon_topk`."""
        return 1 / (self.flop / (card.tflop_per_s * 1e12) + self.logits_bytes / (card.gb_per_s * 1e9))


CARDS = (Card("SXM2", 125, 900), Card("PCIe", 112, 900))
WORKS = (Work("image, 224 px", 197, 196), Work("image, 384 px", 577, 576), Work("text, 40 tokens", 40, 0))


def table() -> str:
    """Markdown, one row a work."""
    lines = ["| | L | GFLOP | logits, MB | items under 1 GiB | ceiling SXM2, items/s | ceiling PCIe, items/s |"]
    lines.append("|---|---|---|---|---|---|---|")
    for work in WORKS:
        ceilings = " | ".join(f"{work.per_second(card):,.0f}" for card in CARDS)
        sizes = f"{work.tokens} | {work.flop / 1e9:.1f} | {work.logits_bytes / 1e6:.1f} | {work.largest_batch}"
        lines.append(f"| {work.name} | {sizes} | {ceilings} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
