"""The option --plot of `lexlip eval`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lexlip_infer.errors import OutputError, require

if TYPE_CHECKING:
    from pathlib import Path

    from lexlip_infer.datasets import CaptionedImages
    from lexlip_infer.encoder import LexLIPEncoder
    from lexlip_infer.evaluation.small_scale import Settings
    from lexlip_infer.vectors.sparse_batch import SparseBatch

__all__ = ["check_plots", "draw_sweeps"]


def check_plots(folder: Path | None) -> None:
    """Say before minutes of work, not after them, that pictures cannot be drawn.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: it is no folder.
    """
    if folder is None:
        return
    require("matplotlib", extra="viz")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; --plot takes the folder that pictures are written to")


def draw_sweeps(
    encoder: LexLIPEncoder,
    images: SparseBatch,
    texts: SparseBatch,
    data: CaptionedImages,
    settings: Settings,
    folder: Path,
) -> dict[str, Any]:
    """Measure, draw into `folder`, and return the figures; arguments as for `sweep_terms`."""
    from lexlip_infer.evaluation.sweep import sweep_bits, sweep_terms
    from lexlip_infer.evaluation.sweep_plot import draw_sweep

    terms = sweep_terms(encoder, images, texts, data, settings)
    bits = sweep_bits(encoder, images, texts, data, settings)
    draw_sweep(terms, bits, folder, encoder.manifest.name)
    return {"sweep_kept_terms": [asdict(point) for point in terms], "sweep_bits": [asdict(point) for point in bits]}
