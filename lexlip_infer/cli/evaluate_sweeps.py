"""The option --plot of `lexlip eval`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.retrieval.protocols import CaptionedImages
    from lexlip_infer.retrieval.small_scale import Settings
    from lexlip_infer.sparse import SparseBatch

__all__ = ["draw_sweeps"]


def draw_sweeps(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    settings: Settings,
    folder: Path,
) -> dict[str, Any]:
    """Measure, draw into `folder`, and return the figures; arguments as for `sweep_terms`."""
    from lexlip_infer.retrieval.sweep import sweep_bits, sweep_terms
    from lexlip_infer.retrieval.sweep_plot import draw_sweep

    terms = sweep_terms(encoder, images, texts, data, settings)
    bits = sweep_bits(encoder, images, texts, data, settings)
    draw_sweep(terms, bits, folder, encoder.manifest.name)
    return {"sweep_kept_terms": [asdict(point) for point in terms], "sweep_bits": [asdict(point) for point in bits]}
